"""Which task / data set pairs INTERS' part knows, and which data each one reads: names only, no code."""

from searchtune.errors import ConfigError, nearest

# tasks that order the passages found for a query, each with any collection: INTERS' eight, passage retrieval first
RANKING_TASKS = (
    *("passage_reranking", "argument_retrieval", "biomedical_retrieval", "question_answering"),
    *("duplicate_question_retrieval", "entity_retrieval", "citation_prediction", "fact_checking"),
)
# topic tracks with title, description and narrative
TREC = ("gov2", "trec_robust", "trec_covid", "fire", "trec_adhoc")
# task -> data set -> sources whose files it reads, in order
FILE_SOURCES: dict[str, dict[str, tuple[str, ...]]] = {
    "query_description": {name: (name,) for name in TREC},
    "query_expansion": {name: (name,) for name in TREC},
    "query_intent_classification": {"trec_web": ("trec_web",), "trec_web_subtopics": ("trec_web",)},
    "query_subtopic_generation": {"trec_web": ("trec_web",)},
    "query_reformulation": {"disfl_qa": ("disfl_qa", "squad_dev")},
    "fact_verification": {name: (name,) for name in ("vitaminc", "fever", "scifact", "climate_fever")},
    "summarization": {name: (name,) for name in ("xsum", "cnn_dm", "wikisum", "multi_news")},
    "reading_comprehension": {
        name: (name,) for name in ("hotpotqa", "msmarco", "triviaqa", "triviaqa_closed", "boolq", "webglm_qa")
    },
    "conversational_qa": {name: (name,) for name in ("coqa", "quac")},
    "query_generation": {name: (name,) for name in (*TREC, "gar_nq")},
}
# query understanding: data sets as their publishers give them, one source each but for CAsT
_QUERY_SOURCES: dict[str, tuple[str, ...]] = {
    "query_expansion": ("query2doc", "trec_cast", "trec_web"),
    "query_reformulation": ("codec", "qrecc", "canard", "trec_cast", "gecor"),
    "query_intent_classification": ("orcas_i", "mantis"),
    "query_clarification": ("mimics", "mimics_duo", "clariq_fkw", "raocq"),
    "query_matching": ("msrp",),
    "query_suggestion": ("aol",),
}
for _task, _names in _QUERY_SOURCES.items():
    FILE_SOURCES.setdefault(_task, {}).update({_name: (_name,) for _name in _names})
# titles and descriptions come from the topics of 2019 alone
FILE_SOURCES["query_expansion"]["trec_cast"] = ("trec_cast_2019",)
# Tasks of Natural Instructions, by number, that a control trains on in place of INTERS' tasks. Of the 61 that the
# package holds those stay out that are search tasks or close to one:
# - question generation, of questions with a blank too (001, 003, 006, 009, 012, 015, 023, 026, 029-032, 040, 048, 060),
#   and the change of questions (034, 035, 053)
# - answers, right or wrong, to questions (002, 004, 005, 007, 008, 010, 011, 013, 014, 016, 017, 024, 025, 028, 033,
#   041-043, 047, 051, 054-058, 061); what answers a question, and whether (020, 049, 050)
# - kind, quality and terms of questions (018, 019, 021, 027, 044, 046, 052)
# - topic words of a text (036), paraphrases (045)
GENERAL = (
    "ni_022",  # is a text inappropriate or nonsense?
    "ni_037",  # a fact and a topic to a related fact
    "ni_038",  # two facts to what follows from them
    "ni_039",  # a word that two sentences share
    "ni_059",  # a background text to a story
)
# pairs of open questions that a target collection may ask, too: what it asks is left out of them
OPEN_QUESTIONS = ("query_generation/gar_nq",)
# no search task: never tested, in no mixture but the control's own, counted with no task
CONTROL_SOURCES: dict[str, dict[str, tuple[str, ...]]] = {"general_instructions": {name: (name,) for name in GENERAL}}
# tasks whose data set is a collection of the workflow, by its id
COLLECTION_TASKS = ("query_generation", "reading_comprehension", *RANKING_TASKS)


def split_pair(pair: str) -> tuple[str, str]:
    """Return (task, data set) of ``task/dataset``; ConfigError for another form or an unknown task."""
    task, _, dataset = pair.partition("/")
    if not dataset or "/" in dataset:
        raise ConfigError(f"inters.pairs has {pair!r}; expected task/dataset")
    known = {*FILE_SOURCES, *COLLECTION_TASKS, *CONTROL_SOURCES}
    if task not in known:
        raise ConfigError(f"inters.pairs has {pair!r}: unknown task {task!r}{nearest(task, known)}")
    return task, dataset


def is_control(pair: str) -> bool:
    """Say whether a pair belongs to a control: it trains nothing else and is never tested."""
    return split_pair(pair)[0] in CONTROL_SOURCES


def _reads(task: str) -> dict[str, tuple[str, ...]]:
    """Return the data sets of a task that are files -> their sources."""
    return FILE_SOURCES.get(task) or CONTROL_SOURCES.get(task, {})


def sources_of(pair: str) -> tuple[str, ...]:
    """Return the file sources of a pair; empty where its data set is a collection."""
    task, dataset = split_pair(pair)
    return _reads(task).get(dataset, ())


def collection_of(pair: str) -> str | None:
    """Return the collection that a pair reads; None where it reads files. ConfigError if there is no such pair."""
    task, dataset = split_pair(pair)
    if dataset in _reads(task):
        return None
    if task not in COLLECTION_TASKS:
        raise ConfigError(
            f"inters.pairs has {pair!r}: task {task!r} has no data set {dataset!r}{nearest(dataset, _reads(task))}"
        )
    return dataset


def known_pairs(rankings: dict[str, dict[str, list[str]]]) -> list[str]:
    """Return every pair of INTERS' inventory: those of files, the ranking tasks with their data sets, no control's."""
    files = [f"{task}/{dataset}" for task, found in FILE_SOURCES.items() for dataset in found]
    return files + [f"{task}/{dataset}" for task, found in rankings.items() for dataset in found]
