"""The invented world behind the mini data: names, numbers and facts, all drawn from seeded generators."""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

PHRASES = yaml.safe_load((Path(__file__).parent / "phrases.yaml").read_text(encoding="utf-8"))

WORDS = PHRASES["names"]
STEMS, ENDINGS = WORDS["stems"], WORDS["endings"]


def join(stem: str, ending: str) -> str:
    """Join two parts of a name; three equal letters in a row become two."""
    return re.sub(r"(.)\1\1", r"\1\1", stem + ending)


class Names:
    """Hands out names: each once for entities that have an article, any for those that are only mentioned."""

    def __init__(self, seed: str, share: int = 0, shares: int = 1) -> None:
        """Take share ``share`` of ``shares`` of all names for articles, so that no two files share an article."""
        self.rng = random.Random(seed)
        self.all = {kind: [join(stem, ending) for stem in STEMS for ending in ends] for kind, ends in ENDINGS.items()}
        self.unused = {
            kind: random.Random(kind).sample(pairs, len(pairs))[share::shares] for kind, pairs in self.all.items()
        }

    def head(self, kind: str) -> str:
        """Return the name of a new entity of ``kind`` (town, stream, beast, maker, artist) that has an article."""
        if kind == "film":
            return f"The {self.rng.choice(WORDS['adjectives'])} {self.unused['surname'].pop()}"
        pool = {"artist": "surname", "maker": "brand", "stream": "river"}.get(kind, kind)
        return self._shaped(kind, self.unused[pool].pop())

    def mention(self, kind: str) -> str:
        """Return the name of something that is only mentioned."""
        pool = {"person": "surname", "maker": "brand", "stream": "river"}.get(kind, kind)
        return self._shaped(kind, self.rng.choice(self.all[pool]))

    def _shaped(self, kind: str, word: str) -> str:
        if kind in ("artist", "person"):
            return f"{self.rng.choice(WORDS['first'])} {word}"
        if kind == "maker":
            return f"{word} {self.rng.choice(['Works', 'Brothers', 'Company'])}"
        return word.lower() if kind == "beast" else word


def draw(spec: str, names: Names) -> str:
    """Return a value for a field's specification: ``number 3 9 1``, ``year 1800 1900``, ``pick a, b``, or a kind."""
    rng, (kind, _, rest) = names.rng, spec.partition(" ")
    if kind == "number":
        low, high, step = map(int, rest.split())
        return f"{rng.randrange(low, high + 1, step):,}"
    if kind == "year":
        low, high = map(int, rest.split())
        return str(rng.randint(low, high))
    if kind == "pick":
        return rng.choice(re.split(r"[;,] ", rest))
    made = {
        "hill": lambda: f"{rng.choice(['Mount', 'Old', 'High'])} {rng.choice(STEMS)}",
        "first": lambda: rng.choice(WORDS["first"]),
        "festival": lambda: rng.choice(WORDS["feasts"]),
        "work": lambda: f"The {rng.choice(WORDS['adjectives'])} {rng.choice(WORDS['nouns'])}",
        "ship": lambda: f"{rng.choice(WORDS['adjectives'])} {rng.choice(WORDS['birds'])}",
        "animal": lambda: rng.choice(["heron", "otter", "pike", "boar", "hare", "crane", "badger"]),
    }
    return made[kind]() if kind in made else names.mention(kind)


def draw_fields(fields: dict[str, str], names: Names) -> dict[str, str]:
    """Draw every field of a kind; two fields of one text never hold the same value."""
    values: dict[str, str] = {}
    for key, spec in fields.items():
        value = draw(spec, names)
        while value in values.values():
            value = draw(spec, names)
        values[key] = value
    return values


@dataclass
class Fact:
    """One stated fact: its sentence, the answer as it stands there, the character offset, and ways to ask for it."""

    field: str
    sentence: str
    answer: str
    start: int
    questions: list[str]


@dataclass
class Text:
    """A passage with the facts that it states; offsets count from its beginning."""

    context: str
    facts: list[Fact]


@dataclass
class Entity:
    """Something with an article: its kind, name, values and passages."""

    kind: str
    name: str
    values: dict[str, str]
    texts: list[Text] = field(default_factory=list)


def capital(sentence: str) -> str:
    """Return the sentence with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


def opened(pattern: str, sentence: str, names: Names, openers: list[str]) -> str:
    """Put a random opener with a random name or year before three sentences in five."""
    if not openers or sentence.startswith('"') or names.rng.random() > 0.6:
        return sentence
    opener = names.rng.choice(openers).format(
        person=names.mention("person"), town=names.mention("town"), year=names.rng.randint(1700, 1999)
    )
    # a sentence that begins with a value (a name, mostly) keeps its first letter
    return opener + (sentence if pattern.startswith("{") else sentence[:1].lower() + sentence[1:])


def last_place(value: str, text: str) -> int:
    """Return where ``value`` begins in ``text``, its last occurrence as whole words (an opener may hold it too)."""
    found = [m.start() for m in re.finditer(rf"(?<!\w){re.escape(value.lower())}(?!\w)", text.lower())]
    if not found:
        raise ValueError(f"{value!r} is not in {text!r}; mend the pattern in phrases.yaml")
    return found[-1]


def state(patterns: list[dict], values: dict[str, str], names: Names, openers: list[str], joint: str = " ") -> Text:
    """Write a passage that states one fact a pattern; the first pattern names the subject and stays first."""
    patterns = [patterns[0], *names.rng.sample(patterns[1:], len(patterns) - 1)]
    context, facts = "", []
    for number, pattern in enumerate(patterns):
        chosen = names.rng.choice(pattern["say"])
        sentence = chosen.format(**values)
        sentence = capital(opened(chosen, sentence, names, openers if number else []))
        at = last_place(values[pattern["of"]], sentence)
        answer = sentence[at : at + len(values[pattern["of"]])]
        start = len(context) + (len(joint) if context else 0) + at
        context += (joint if context else "") + sentence
        facts.append(Fact(pattern["of"], sentence, answer, start, [q.format(**values) for q in pattern["ask"]]))
    return Text(context, facts)


def entity(kind: str, names: Names, family: str = "kinds") -> Entity:
    """Invent an entity and write its passages; ``family`` is a table of kinds in phrases.yaml."""
    known = PHRASES[family][kind]
    name = names.head({"island": "river", "film": "film", "game": "brand"}.get(kind, kind))
    values = {"name": name, **draw_fields(known["fields"], names)}
    openers = PHRASES["openers"]["article" if family == "kinds" else "quiz"]
    return Entity(kind, name, values, [state(p, values, names, openers) for p in known["paragraphs"]])


def entities(count: int, names: Names, family: str = "kinds") -> list[Entity]:
    """Invent ``count`` entities, the kinds of a family in turn."""
    kinds = list(PHRASES[family])
    return [entity(kinds[n % len(kinds)], names, family) for n in range(count)]


def piece(
    kind: str, names: Names, size: int | None = None, openers: str = "", joint: str = " "
) -> tuple[dict[str, str], Text]:
    """Write a stand-alone text (review, post, news): its values, and a passage of ``size`` facts (None: all)."""
    known = PHRASES["passages"][kind]
    row = dict(zip(known["rows"]["keys"], names.rng.choice(known["rows"]["values"]), strict=True))
    values = {**row, **draw_fields(known["fields"], names)}
    patterns = known["say"]
    if size is not None:
        kept = {0, *names.rng.sample(range(1, len(patterns)), size - 1)}
        patterns = [p for n, p in enumerate(patterns) if n in kept]
    return values, state(patterns, values, names, PHRASES["openers"].get(openers, []), joint)
