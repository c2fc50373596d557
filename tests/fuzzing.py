"""Inputs for fuzzing: sound files with a few wounds, nested values, hostile texts; how many of them, and the verdict.

``FUZZ_INPUTS`` sets the number over all targets (10,000 where it is not set; then the inputs are the same in every run).
``make test-long`` asks for a million, drawn anew; hypothesis prints what is needed to repeat a failure.
"""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

LONG = "FUZZ_INPUTS" in os.environ
INPUTS = int(os.environ.get("FUZZ_INPUTS", "10000"))

# what readers and parsers trip over: depth, huge numbers, lone surrogates, wrong quotes, other line ends, marks
HOSTILE = ["[" * 5000, '{"a":' * 3000, "9" * 5000, "9" * 400, "-1e999", "NaN", "Infinity", "\\ud800", "\ufeff", "\u2028", "\x00", "\x85",
           '"', "'", "\t", "\t\t", "\n", "\r", "\r\n", "\n\n", "{", "}", "[", "]", "{}", "[]", "null", "true", "0", "-1", "1.5",
           "<top>", "</top>", "<topic number=", "&#x110000;", "&lt;", "<!ENTITY a 'b'>", "</think>", "<think>", " true",
           "{passage}", "{0}", "{", "%s", "!!python/object:x", "&a [*a]", "? ", ": ", "- ", "#", "```", "١", "🦜", "1.",
           "1)", "Question:", "GOOD QUESTION:", "É" * 300, "(" * 400, "1_0", "0x10", "²"]  # fmt: skip
TEXT = st.one_of(st.text(max_size=80), st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)), max_size=6).map("".join))  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


@st.composite
def wounded(draw, sound: bytes) -> bytes:
    """Return a sound file's bytes with up to four wounds: cut, dropped, doubled, overwritten, something hostile put in."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        wound = draw(st.sampled_from(["cut", "drop", "double", "hostile", "flip", "noise"]))
        if wound == "cut":
            del data[start:]
        elif wound == "drop":
            del data[start:end]
        elif wound == "double":
            data[start:start] = data[start:end]
        elif wound == "hostile":
            data[start:end] = draw(st.sampled_from(HOSTILE)).encode()
        elif wound == "flip" and start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
        else:
            data[start:end] = draw(st.binary(max_size=8))
    return bytes(data)


def dealt(weights: dict[str, float]) -> dict[str, settings]:
    """Return target -> hypothesis' settings: all ``INPUTS`` are dealt out by weight, to the last one (at least one each)."""
    total, running, given, found = sum(weights.values()), 0.0, 0, {}
    for target, weight in weights.items():
        running += weight
        count = max(1, round(INPUTS * running / total) - given)
        given += count
        found[target] = _settings(count)
    return found


def _settings(inputs: int) -> settings:
    return settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        derandomize=not LONG,
        print_blob=True,
        # a failure of the fast mode is told as it was found; to make it small takes minutes
        phases=tuple(Phase) if LONG else (Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
