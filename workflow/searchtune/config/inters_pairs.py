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
    "query_generation": {name: (name,) for name in TREC},
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
# tasks whose data set is a collection of the workflow, by its id
COLLECTION_TASKS = ("query_generation", "reading_comprehension", *RANKING_TASKS)


def split_pair(pair: str) -> tuple[str, str]:
    """Return (task, data set) of ``task/dataset``; ConfigError for another form or an unknown task."""
    task, _, dataset = pair.partition("/")
    if not dataset or "/" in dataset:
        raise ConfigError(f"inters.pairs has {pair!r}; expected task/dataset")
    known = {*FILE_SOURCES, *COLLECTION_TASKS}
    if task not in known:
        raise ConfigError(f"inters.pairs has {pair!r}: unknown task {task!r}{nearest(task, known)}")
    return task, dataset


def sources_of(pair: str) -> tuple[str, ...]:
    """Return the file sources of a pair; empty where its data set is a collection."""
    task, dataset = split_pair(pair)
    return FILE_SOURCES.get(task, {}).get(dataset, ())


def collection_of(pair: str) -> str | None:
    """Return the collection that a pair reads; None where it reads files. ConfigError if there is no such pair."""
    task, dataset = split_pair(pair)
    if dataset in FILE_SOURCES.get(task, {}):
        return None
    if task not in COLLECTION_TASKS:
        raise ConfigError(
            f"inters.pairs has {pair!r}: task {task!r} has no data set {dataset!r}"
            f"{nearest(dataset, FILE_SOURCES[task])}"
        )
    return dataset


def known_pairs(rankings: dict[str, dict[str, list[str]]]) -> list[str]:
    """Return every pair of INTERS' inventory: those of files, and the ranking tasks with their data sets."""
    files = [f"{task}/{dataset}" for task, found in FILE_SOURCES.items() for dataset in found]
    return files + [f"{task}/{dataset}" for task, found in rankings.items() for dataset in found]
