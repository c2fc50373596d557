"""Faults of the released LimRank code (commit 92843f0): what each does, which are switches, which no number shows.

``fidelity: released`` switches all of :data:`FAULTS` on; each can also be named alone under ``faults``. Numbers L1 to
L13 follow the list of what is wrong there; L14 is our number for what happens to an answer without a verdict.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchtune.files import read_json
from searchtune.reranking.order_faults import RELEASED_DEPTH

RELEASED_WINDOW = 16_000
RELEASED_BATCH = 32
# what the name of a set adds where it holds the documents that queries exclude
EXCLUDED = ".excluded"


@dataclass(frozen=True)
class Fault:
    """``what`` the released code does; ``switch``: it can be switched on here; ``shown``: where its worth is seen, or
    why no number can show it.
    """

    what: str
    switch: bool
    shown: str


PRICED = "faults.tsv, from the scores of the corrected run"
RERUN = "by a run with the switch: other prompts or batches give other scores"
ALL = {
    "L1": Fault(f"reranks {RELEASED_DEPTH} candidates whatever was asked for", True, PRICED),
    "L2": Fault("has absolute paths, and two names for one folder of runs", False, "no number: nothing runs"),
    "L3": Fault("evaluates by a branch of mteb that may be gone", False, "no number: own measures, checked by mteb's"),
    "L4": Fault("does not pin vllm, peft and LLaMA-Factory", False, "no number: every result names its versions"),
    "L5": Fault("prefixes model ids, so that no baseline is found", False, "no number: nothing runs"),
    "L6": Fault(f"asks for {RELEASED_BATCH} pairs at a time unless the model is Rank1's", True, RERUN),
    "L7": Fault("pairs the sorted documents with the unsorted scores", True, PRICED),
    "L8": Fault("reranks the documents that a query excludes", True, PRICED + ", where a collection excludes any"),
    "L9": Fault(
        "cuts no passage, and fails on those over its window", True, RERUN + "; over the window it is an error"
    ),
    "L10": Fault("fails where a verdict is thought over once more", False, "no number: the step is off and can't run"),
    "L11": Fault("breaks ties by the order in memory, here by passage id", True, PRICED),
    "L12": Fault("has no results, tables or settings of its ablations", False, "no number: nothing to compare with"),
    "L13": Fault("names one model by several ids", False, "no number: every result names model and hash"),
    "L14": Fault(
        "gives 0.5 in silence to an answer without a verdict (at most: as if every second asking failed)",
        True,
        PRICED + ", where models reason",
    ),
}
FAULTS = tuple(name for name, fault in ALL.items() if fault.switch)


def rows() -> list[dict[str, Any]]:
    """Return every fault as a row {fault, what, switch, shown}."""
    return [
        {"fault": name, "what": fault.what, "switch": "yes" if fault.switch else "no", "shown": fault.shown}
        for name, fault in ALL.items()
    ]


def released_settings(params: dict[str, Any], model: Path) -> dict[str, Any]:
    """Return the parameters of reranking as the faults change them before anything is asked.

    ``L6``: pairs come in blocks of 32. ``L9``: passages and queries stay whole, in the released window or the model's
    own where that is smaller.
    """
    active: Iterable[str] = params["faults"]
    changed = dict(params)
    if "L6" in active:
        changed["block"] = RELEASED_BATCH
    if "L9" in active:
        own = read_json(model / "config.json").get("max_position_embeddings") or RELEASED_WINDOW
        changed |= {"max_model_len": min(RELEASED_WINDOW, own), "max_passage_tokens": None, "max_query_tokens": None}
    return changed
