"""MANtIS (Penha et al. 2019): utterance of a Stack Exchange dialogue to its intents.

Schema: README and csearch/utils/intent_handler.py of Guzpenha/MANtIS (merged_<split>_intents.json: dialogues by id;
has_intent_labels, title, utterances: actor_type, utterance_pos, utterance, intent).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.errors import DataError
from searchtune.files import read_json
from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import Record, split_of_file
from searchtune.tasks.normalise.turns import NO_TURNS, latest

# the publisher's codes, those of MSDialog (Qu et al. 2018); other readers of the same files know these nine only
LABELS = {
    "OQ": "original question",
    "FD": "further details",
    "FQ": "follow up question",
    "IR": "information request",
    "PA": "potential answer",
    "PF": "positive feedback",
    "NF": "negative feedback",
    "GG": "greetings or gratitude",
    "O": "other",
}
# words of each earlier utterance that the context shows: posts are long, and their opening says what they are about
_OPENING = 40


def query_intent_classification(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Opening of an utterance (``max_words`` words), dialogue title (``description``) and earlier turns to intents.

    The first intent is the target, all others are references. Dialogues and utterances without labels are left out.
    """
    for path in paths:
        split, value = split_of_file(path), read_json(path)
        if not isinstance(value, dict):
            raise DataError(f"{path}: expected an object of dialogues by id, found {type(value).__name__}")
        for key, dialogue in value.items():
            if isinstance(dialogue, dict) and not dialogue.get("has_intent_labels"):
                continue
            record = Record(str(path), value).child(key)
            yield from _utterances(record, f"{split}-{key}", split, dataset, max_words)


def _labels(utterance: Record) -> list[str]:
    """Return the names of an utterance's intents, each once; DataError for an unknown code."""
    codes = utterance.texts("intent", 1)
    for code in codes:
        if code not in LABELS:
            raise utterance.fault("intent", f"has {code!r}, none of {', '.join(LABELS)}")
    return list(dict.fromkeys(LABELS[code] for code in codes))


def _utterances(dialogue: Record, name: str, split: str, dataset: str, max_words: int) -> Iterator[Example]:
    title, said = dialogue.text("title"), list[str]()
    for utterance in dialogue.children("utterances", 1):
        text = utterance.text("utterance")
        if "intent" in utterance.values:
            target, *references = _labels(utterance)
            yield Example(
                f"query_intent_classification/{dataset}/{name}-{utterance.text('utterance_pos')}",
                "query_intent_classification",
                dataset,
                f"mantis dialogue {name}",
                {
                    "query": first_words(text, max_words),
                    "description": title,
                    "context": latest(said, max_words) or NO_TURNS,
                },
                target,
                labels=tuple(LABELS.values()),
                references=tuple(references),
                split=split,
            )
        said.append(f"{utterance.one_of('actor_type', ('user', 'agent')).title()}: {first_words(text, _OPENING)}")
