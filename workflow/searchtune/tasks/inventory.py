"""The INTERS tasks of this project: category, metrics, labels and baselines, one entry a task.

Categories and scores follow the released scripts (facts: tasks and data sets); ``main`` is the one
metric that enters the category mean. Query generation is no evaluation task of the paper (its
templates turn reranking data around); it stands here because later steps need its query writer.
"""

from dataclasses import dataclass, replace
from typing import Any

from searchtune.errors import ConfigError, nearest

CATEGORIES = {"QU": "query understanding", "DU": "document understanding", "QDU": "query–document relationship"}
# tasks that only a control trains on, by title: outside the 21, never tested, in no count or mean of tasks
CONTROL = "control, no search task"
CONTROLS = {"general_instructions": "general instructions"}


@dataclass(frozen=True)
class TaskSpec:
    """What scoring and rendering need to know about a task.

    ``kind``: text (free answer), label (classification), list (numbered items) or ranking (yes/no).
    ``baseline``: copy, majority or bm25; ``copied``: the field that the copy baseline returns (its
    first sentence where ``copy_sentence``). ``max_tokens`` bounds an answer.
    """

    name: str
    title: str
    category: str
    kind: str
    main: str
    metrics: tuple[str, ...]
    baseline: str
    copied: str = ""
    copy_sentence: bool = False
    max_tokens: int = 32


_OVERLAP = ("ROUGE-L", "BLEU-1", "BLEU-2")
_LABEL = ("accuracy", "weighted F1")
_TASKS = (
    TaskSpec(
        "query_description", "query description", "QU", "text", "ROUGE-L", _OVERLAP, "copy", "title", max_tokens=80
    ),
    TaskSpec("query_expansion", "query expansion", "QU", "text", "ROUGE-L", _OVERLAP, "copy", "title", max_tokens=32),
    TaskSpec(
        "query_intent_classification",
        "intent classification",
        "QU",
        "label",
        "accuracy",
        _LABEL,
        "majority",
        max_tokens=8,
    ),
    TaskSpec(
        "query_subtopic_generation",
        "subtopic generation",
        "QU",
        "list",
        "F1",
        ("F1", "precision", "recall", "ROUGE-L"),
        "copy",
        "description",
        max_tokens=112,
    ),
    TaskSpec(
        "query_reformulation", "query reformulation", "QU", "text", "ROUGE-L", _OVERLAP, "copy", "query", max_tokens=32
    ),
    TaskSpec(
        "query_clarification", "query clarification", "QU", "text", "ROUGE-L", _OVERLAP, "copy", "query", max_tokens=32
    ),
    TaskSpec("query_matching", "query matching", "QU", "label", "accuracy", _LABEL, "majority", max_tokens=4),
    TaskSpec("query_suggestion", "query suggestion", "QU", "text", "ROUGE-L", _OVERLAP, "copy", "query", max_tokens=16),
    TaskSpec("fact_verification", "fact verification", "DU", "label", "accuracy", _LABEL, "majority", max_tokens=8),
    TaskSpec(
        "summarization",
        "summarization",
        "DU",
        "text",
        "ROUGE-L",
        ("ROUGE-L", "ROUGE-1", "ROUGE-2"),
        "copy",
        "article",
        copy_sentence=True,
        max_tokens=48,
    ),
    TaskSpec(
        "reading_comprehension",
        "reading comprehension",
        "DU",
        "text",
        "token F1",
        ("token F1", "EM"),
        "copy",
        "passage",
        copy_sentence=True,
        max_tokens=16,
    ),
    TaskSpec(
        "conversational_qa",
        "conversational QA",
        "DU",
        "text",
        "token F1",
        ("token F1", "EM"),
        "copy",
        "passage",
        copy_sentence=True,
        max_tokens=16,
    ),
    TaskSpec(
        "query_generation",
        "query generation",
        "QDU",
        "text",
        "ROUGE-L",
        _OVERLAP,
        "copy",
        "passage",
        copy_sentence=True,
        max_tokens=24,
    ),
    *(
        TaskSpec(name, title, "QDU", "ranking", "nDCG@10", ("nDCG@10", "RR@10"), "bm25", max_tokens=4)
        for name, title in (
            ("passage_reranking", "passage reranking"),
            ("argument_retrieval", "argument retrieval"),
            ("biomedical_retrieval", "bio-medical retrieval"),
            ("question_answering", "question answering"),
            ("duplicate_question_retrieval", "duplicate question retrieval"),
            ("entity_retrieval", "entity retrieval"),
            ("citation_prediction", "citation prediction"),
            ("fact_checking", "fact checking"),
        )
    ),
)
TASKS = {task.name: task for task in _TASKS}
# data sets whose answers have another form than their task's: what differs from the task's entry
_LIST: dict[str, Any] = {"kind": "list", "main": "F1", "metrics": ("F1", "precision", "recall")}
_PAIRS: dict[tuple[str, str], dict[str, Any]] = {
    ("query_reformulation", "codec"): _LIST | {"max_tokens": 112},
    ("query_clarification", "mimics"): _LIST | {"max_tokens": 48},
    ("query_clarification", "mimics_duo"): _LIST | {"max_tokens": 48},
    # an utterance may have several intents: the one predicted must be among them
    ("query_intent_classification", "mantis"): {"main": "P@1", "metrics": ("P@1",)},
    ("summarization", "cnn_dm"): {"max_tokens": 112},
    ("summarization", "wikisum"): {"max_tokens": 160},
    ("summarization", "multi_news"): {"max_tokens": 256},
    ("reading_comprehension", "msmarco"): {"max_tokens": 48},
    # closed book has no passage to copy from
    ("reading_comprehension", "triviaqa_closed"): {"copied": "question", "copy_sentence": False},
    ("reading_comprehension", "boolq"): {
        **{"kind": "label", "main": "accuracy", "metrics": _LABEL, "baseline": "majority"},
        **{"copied": "", "copy_sentence": False, "max_tokens": 8},
    },
    ("reading_comprehension", "webglm_qa"): {"main": "ROUGE-L", "metrics": _OVERLAP, "max_tokens": 256},
    ("conversational_qa", "quac"): {"max_tokens": 48},
}
YES, NO = "yes", "no"


def category_of(task: str) -> str:
    """Return the category of a task: one of CATEGORIES, or CONTROL for a control's."""
    return CONTROL if task in CONTROLS else task_of(task).category


def title_of(task: str) -> str:
    """Return the title of a task, or of a control's."""
    return CONTROLS[task] if task in CONTROLS else task_of(task).title


def task_of(name: str) -> TaskSpec:
    """Return a task's entry; ConfigError with the nearest name if there is none."""
    if name not in TASKS:
        raise ConfigError(f"unknown INTERS task {name!r}{nearest(name, TASKS)}")
    return TASKS[name]


def spec_of(task: str, dataset: str) -> TaskSpec:
    """Return the entry of a task / data set pair: the task's, with what differs for the data set."""
    return replace(task_of(task), **_PAIRS.get((task, dataset), {}))
