"""The function that makes the examples of each task / data set pair."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from searchtune.collections.beir import Collection
from searchtune.config.inters_pairs import CONTROL_SOURCES, TREC, sources_of, split_pair
from searchtune.tasks.example import Example
from searchtune.tasks.normalise import (
    aol,
    boolq,
    canard,
    clariq,
    climate_fever,
    cnn_dm,
    codec,
    coqa,
    disfl_qa,
    fever,
    gar,
    gecor,
    hotpotqa,
    mantis,
    mimics,
    msmarco_qa,
    msrp,
    multi_news,
    natural_instructions,
    orcas_i,
    qrecc,
    quac,
    query2doc,
    raocq,
    scifact,
    squad,
    trec_cast,
    trec_topics,
    trec_web,
    triviaqa,
    vitaminc,
    webglm_qa,
    wikisum,
    xsum,
)

FromFiles = Callable[[Sequence[Path], str, int], Iterator[Example]]
FromCollection = Callable[[Collection, str, int], Iterator[Example]]

FILE_NORMALISERS: dict[str, dict[str, FromFiles]] = {
    "query_description": dict.fromkeys(TREC, trec_topics.query_description),
    "query_expansion": dict.fromkeys(TREC, trec_topics.query_expansion),
    "query_intent_classification": {"trec_web": trec_web.query_type, "trec_web_subtopics": trec_web.subtopic_type},
    "query_subtopic_generation": {"trec_web": trec_web.subtopics},
    "query_reformulation": {"disfl_qa": disfl_qa.query_reformulation},
    "fact_verification": {
        "vitaminc": vitaminc.fact_verification,
        "fever": fever.fact_verification,
        "scifact": scifact.fact_verification,
        "climate_fever": climate_fever.fact_verification,
    },
    "summarization": {
        "xsum": xsum.summarization,
        "cnn_dm": cnn_dm.summarization,
        "wikisum": wikisum.summarization,
        "multi_news": multi_news.summarization,
    },
    "reading_comprehension": {
        "hotpotqa": hotpotqa.reading_comprehension,
        "msmarco": msmarco_qa.reading_comprehension,
        "triviaqa": triviaqa.reading_comprehension,
        "triviaqa_closed": triviaqa.closed_book,
        "boolq": boolq.reading_comprehension,
        "webglm_qa": webglm_qa.reading_comprehension,
    },
    "conversational_qa": {"coqa": coqa.conversational_qa, "quac": quac.conversational_qa},
    "query_generation": {
        **dict.fromkeys(TREC, trec_topics.query_generation),
        "gar_nq": gar.query_generation,
    },
}
# query understanding
FILE_NORMALISERS["query_expansion"] |= {
    "query2doc": query2doc.query_expansion,
    "trec_cast": trec_cast.query_expansion,
    "trec_web": trec_topics.query_expansion,
}
FILE_NORMALISERS["query_reformulation"] |= {
    "codec": codec.query_reformulation,
    "qrecc": qrecc.query_reformulation,
    "canard": canard.query_reformulation,
    "trec_cast": trec_cast.query_reformulation,
    "gecor": gecor.query_reformulation,
}
FILE_NORMALISERS["query_intent_classification"] |= {
    "orcas_i": orcas_i.query_intent_classification,
    "mantis": mantis.query_intent_classification,
}
FILE_NORMALISERS["query_clarification"] = {
    "mimics": mimics.mimics,
    "mimics_duo": mimics.mimics_duo,
    "clariq_fkw": clariq.query_clarification,
    "raocq": raocq.query_clarification,
}
FILE_NORMALISERS["query_matching"] = {"msrp": msrp.query_matching}
FILE_NORMALISERS["query_suggestion"] = {"aol": aol.query_suggestion}
# what controls train on, apart from the tasks
CONTROL_NORMALISERS: dict[str, dict[str, FromFiles]] = {
    task: dict.fromkeys(sets, natural_instructions.general_instructions) for task, sets in CONTROL_SOURCES.items()
}
COLLECTION_NORMALISERS: dict[str, FromCollection] = {
    "query_generation": squad.query_generation,
    "reading_comprehension": squad.reading_comprehension,
}


def examples_from_files(pair: str, files: dict[str, list[Path]], max_words: int) -> Iterator[Example]:
    """Return the examples of a pair that reads files; ``files`` maps each source to its paths."""
    task, dataset = split_pair(pair)
    paths = [path for source in sources_of(pair) for path in files[source]]
    normalise = (CONTROL_NORMALISERS if task in CONTROL_NORMALISERS else FILE_NORMALISERS)[task][dataset]
    return normalise(paths, dataset, max_words)
