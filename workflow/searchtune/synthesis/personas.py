"""Personas: who asks the synthetic queries (LimRank: drawn from PersonaHub; here: any list, by default ours)."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

from searchtune.errors import DataError, malformed
from searchtune.files import numbered_jsonl, parse_yaml, read_text

KINDS = ("daily", "expert")


@dataclass(frozen=True)
class Persona:
    """One asker: ``text`` completes "the query is asked by ..."; ``kind`` is daily or expert, empty where unknown."""

    id: str
    text: str
    field: str
    kind: str


def load_personas(path: Path) -> list[Persona]:
    """Read personas in file order: YAML of ours (key ``personas``: list of id, text, field, kind), JSON lines with a
    key ``persona`` (PersonaHub's persona.jsonl), or a text file with one a line.

    Raises DataError if the file is missing, empty, has a repeated id, an unknown kind, a missing key or another ending.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"personas file {path} is missing; set limrank.personas (or --personas) to an existing file")
    if path.suffix not in _READERS:
        raise DataError(f"personas file {path} ends in {path.suffix!r}; expected one of {', '.join(_READERS)}")
    with malformed(path, "a list of personas"):
        personas = _READERS[path.suffix](path)
    seen: set[str] = set()
    for persona in personas:
        if persona.id in seen:
            raise DataError(f"{path}: persona {persona.id!r} appears twice; ids must be unique")
        seen.add(persona.id)
    return personas


def _yaml_personas(path: Path) -> list[Persona]:
    import yaml

    try:
        rows = (parse_yaml(read_text(path)) or {}).get("personas") or []
    except (yaml.YAMLError, AttributeError) as error:
        raise DataError(f"personas file {path} is no YAML mapping with the key 'personas': {error}") from error
    if not rows:
        raise DataError(f"personas file {path} holds no personas; expected a list under the key 'personas'")
    return [_persona(path, number, row) for number, row in enumerate(rows, 1)]


def _json_personas(path: Path) -> list[Persona]:
    found = []
    for number, row in numbered_jsonl(path):
        text = row.get("persona")
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}, line {number}: key 'persona' is missing, empty or no text")
        found.append(Persona(f"p{number}", phrase(text), "", ""))
    if not found:
        raise DataError(f"personas file {path} holds no personas; expected JSON lines with a key 'persona'")
    return found


def _line_personas(path: Path) -> list[Persona]:
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"personas file {path} holds no personas; expected one a line")
    return [Persona(f"p{number}", phrase(line), "", "") for number, line in lines]


_READERS = {".yaml": _yaml_personas, ".yml": _yaml_personas, ".jsonl": _json_personas, ".txt": _line_personas}


def phrase(text: str) -> str:
    """Return a persona as it stands inside a sentence: without a full stop, its article in lower case."""
    words = " ".join(text.split()).removesuffix(".").split(" ")
    return " ".join([words[0].lower() if words[0] in ("A", "An", "The") else words[0], *words[1:]])


def _persona(path: Path, number: int, row: dict) -> Persona:
    if missing := [key for key in ("id", "text", "field", "kind") if not row.get(key)]:
        raise DataError(f"{path}, persona {number}: key {missing[0]!r} is missing or empty")
    if row["kind"] not in KINDS:
        raise DataError(f"{path}, persona {number}: kind {row['kind']!r} is unknown; known: {', '.join(KINDS)}")
    return Persona(str(row["id"]), str(row["text"]), str(row["field"]), row["kind"])


def pair_seeds(seed_ids: list[str], personas: list[Persona], per_seed: int, seed: int) -> list[tuple[str, Persona]]:
    """Return ``per_seed`` different personas for each seed, each persona used about equally often.

    Personas are dealt from shuffled decks, so that none repeats before all were used (domain diversity).
    Raises DataError if there are fewer personas than ``per_seed``.
    """
    if per_seed > len(personas):
        raise DataError(f"{per_seed} personas a seed were asked for, the file holds {len(personas)}")
    rng = Random(seed)
    deck: list[Persona] = []
    pairs = []
    for seed_id in seed_ids:
        hand: list[Persona] = []
        while len(hand) < per_seed:
            if not any(persona not in hand for persona in deck):
                deck += rng.sample(personas, len(personas))
            choice = next(persona for persona in deck if persona not in hand)
            deck.remove(choice)
            hand.append(choice)
        pairs += [(seed_id, persona) for persona in hand]
    return pairs
