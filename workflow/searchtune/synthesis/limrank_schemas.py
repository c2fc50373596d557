"""JSON forms of the synthesizer's answers: schemas for constrained decoding, and parsers that refuse anything else.

Lengths are bounded in sentences, not in characters: a grammar that counts hundreds of characters takes seconds to
compile, one that counts full stops none, and the answer ends with a whole sentence. Each stage has one schema for
all its requests. Parsers raise ValueError; the call is then counted as a parse error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from searchtune.files import parse_json

DIFFICULTIES = ("direct", "indirect", "multi-step")
DOMAINS = (
    "animals",
    "art",
    "business",
    "computing",
    "education",
    "energy",
    "finance",
    "food",
    "gardening",
    "healthcare",
    "history",
    "housing",
    "law",
    "nature",
    "science",
    "sport",
    "transport",
    "travel",
    "work",
)
# anything but what would end a JSON text, a line or a sentence
_INSIDE = r'[^"\\\n\r\t{}.!?]'
_OPENING = "(How|What|Why|When|Where|Which|Who|Can|Should|Is|Are|Do|Does)"
# without it a small model goes on with the letters of the key before it, or in French
_FIRST_WORDS = "(The|A|An|In|It|To|For|When|If|Most|Many|Some|There|You|People|One)"
_SENTENCE = rf"[A-Z]{_INSIDE}*[.!?]"


def _object(**properties: dict) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@dataclass(frozen=True)
class Forms:
    """The schemas of all stages. ``max_chars`` bounds every text in characters instead of sentences: for models that
    would never write a full stop; None for all others.
    """

    max_chars: int | None = None

    def question(self) -> dict[str, Any]:
        """Return the schema of one question: it begins with a question word and ends with its only question mark."""
        return self._bounded() or {"type": "string", "pattern": rf"^{_OPENING} {_INSIDE}+\?$"}

    def instructed(self) -> dict[str, Any]:
        """Return the schema of a question with one instruction behind it."""
        return self._bounded() or {"type": "string", "pattern": rf"^{_OPENING} {_INSIDE}+\? {_SENTENCE}$"}

    def sentences(self, least: int, most: int) -> dict[str, Any]:
        """Return the schema of a text of ``least`` to ``most`` sentences."""
        more = rf"( {_SENTENCE}){{{least - 1},{most - 1}}}" if most > 1 else ""
        return self._bounded() or {"type": "string", "pattern": rf"^{_SENTENCE}{more}$"}

    def _bounded(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^[A-Za-z ]{{1,{self.max_chars}}}$"} if self.max_chars else {}

    def expansion(self, subject: str, kinds: tuple[str, ...], band: str = "") -> dict[str, Any]:
        """Schema of ``expand_query``: the seed again (it keeps a small model on it), a query a kind, labels."""
        query = self.instructed() if band == "instruction" else self.question()
        queries = {f"{kind}_query": query for kind in kinds}
        return _object(
            subject={"type": "string", "enum": [subject]},
            **queries,
            domain={"type": "string", "enum": list(DOMAINS)},
            difficulty={"type": "string", "enum": list(DIFFICULTIES)},
        )

    def trace(self, sentences: int) -> dict[str, Any]:
        """Schema of ``reason``: one trace of at most so many sentences."""
        return _object(reasoning=self.sentences(1, sentences))

    def descriptions(self, n_positives: int, n_negatives: int, facets: list[str]) -> dict[str, Any]:
        """Schema of ``describe_passages``: so many positives and hard negatives, each negative with its failing.

        ``facets`` are what a hard negative may describe; an empty list leaves the description free.
        """
        description = {"type": "string", "enum": facets} if facets else self.sentences(1, 1)
        negative = _object(description=description, fails_because=self.sentences(1, 1))
        return _object(
            positives=_array(self.sentences(1, 1), n_positives), hard_negatives=_array(negative, n_negatives)
        )

    def passage(self, least: int, most: int) -> dict[str, Any]:
        """Schema of the writing stages: one text of ``least`` to ``most`` sentences, beginning with a common word."""
        form = self.sentences(least, most)
        if not self.max_chars:
            form["pattern"] = form["pattern"].replace("^[A-Z]", f"^{_FIRST_WORDS} ", 1)
        return _object(text=form)


def _array(items: dict, n: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": n, "maxItems": n}


def parser(required: dict[str, type]) -> Callable[[str], dict]:
    """Return a parser of one flat JSON object with these keys and types; its ValueErrors say what is wrong."""

    def parse(text: str) -> dict:
        """Return the object that the text holds; ValueError where it breaks the schema."""
        try:
            value = parse_json(text)
        except (ValueError, RecursionError) as error:  # a number of too many digits, or too many brackets
            raise ValueError(f"not JSON: {getattr(error, 'msg', error)}") from error
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, found {type(value).__name__}")
        for key, kind in required.items():
            if not isinstance(value.get(key), kind) or not value[key]:
                raise ValueError(f"key {key!r} is missing, empty or not {kind.__name__}")
        return value

    return parse


def parse_descriptions(text: str) -> dict:
    """Parse ``describe_passages``: texts and {description, fails_because} objects, none empty."""
    value = parser({"positives": list})(text)
    if not all(isinstance(item, str) and item.strip() for item in value["positives"]):
        raise ValueError("a positive description is empty or not text")
    for item in value.setdefault("hard_negatives", []):
        keys = ("description", "fails_because")
        if not isinstance(item, dict) or not all(str(item.get(key, "")).strip() for key in keys):
            raise ValueError("a hard negative lacks its description or the reason why it fails")
    return value
