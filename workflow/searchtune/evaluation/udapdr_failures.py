"""Answers of language models that gave nothing usable, by step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from searchtune.files import read_tsv
from searchtune.stage import shortage_of

FAILURE_COLUMNS = ["step", "calls", "failed", "share"]
# counts of a judge's verdicts that were not given freely
JUDGED = {"forced": "reasoning cut off, verdict forced", "empty": "no reasoning", "fallback": "silent 0.5"}


def failure_rows(synthesis: Sequence[Mapping[str, str]]) -> list[dict]:
    """Return how many answers of each writing step gave no usable question."""
    steps = {"seed": ("seed",), "scale_up": ("scale_up", "clean")}
    rows = []
    for step, stages in steps.items():
        calls = sum(int(r["in"]) for r in synthesis if r["stage"] == stages[0])
        usable = sum(int(r["out"]) for r in synthesis if r["stage"] == stages[-1])
        rows.append(
            {
                "step": step,
                "calls": calls,
                "failed": calls - usable,
                "share": (calls - usable) / calls if calls else None,
            }
        )
    return rows


def judge_rows(folders: Sequence[Path], names: Sequence[str]) -> list[dict]:
    """Return how many verdicts of each language model that labelled tuples were forced, empty or replaced."""
    rows = []
    for folder, name in zip(folders, names, strict=True):
        # a variant that came to too few tuples asked nothing
        for counts in [] if shortage_of(folder) else read_tsv(folder / "counts.tsv"):
            pairs = int(counts["pairs"])
            for kind, what in JUDGED.items():
                failed = int(counts[kind])
                row = {"step": f"judge {name}, {counts['mode']}: {what}", "calls": pairs}
                rows.append(row | {"failed": failed, "share": failed / pairs if pairs else None})
    return rows
