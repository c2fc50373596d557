"""Faults of UDAPDR's released code (primeqa/primeqa at 4ae1b456, extensions/udapdr): which are switches, which are not.

``fidelity: released`` switches all of :data:`FAULTS` on; each can also be named alone under ``faults``. A stage of a
chain is told of its own faults only, so that a switch reruns nothing before the stage that it touches.

Not rebuilt, since a number here cannot show them:

=== ===================================================================================================================
U1  Flags of the command line read "False" as true, and the documented command ends in a missing import. Settings here
    are typed values of a file.
U2  The list of devices is split into characters, and prompts are paired with devices, so that Y is at most 5. Here Y
    has nothing to do with devices.
U6  Queries for labelling are those after the first 1,000,000 pairs; with fewer than about 10,000 queries there are
    none, and the run ends in a division by zero. The border was set by hand for each run: udapdr.filter.shares.
U8  Training a student returns no path, so that the second teacher has no student to go on from, and a run of fewer
    than 2,000 steps leaves no checkpoint. Both end the run.
U11 The evaluation on BEIR lacks an argument. It ends in a TypeError.
=== ===================================================================================================================

Parts of rebuilt faults that end the run instead of changing it are left out, too: the endless search for pairs of U12
(here a DataError) and the order of the queue of U15, which differs from run to run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EVALUATE = "evaluate"


@dataclass(frozen=True)
class Fault:
    """What a fault does, and the stages of a chain that it touches (``evaluate``: scoring alone)."""

    what: str
    stages: tuple[str, ...]


FAULTS = {
    "U3": Fault("queries whose source stands at rank 1, and the last one, get no tuple; ranks 2 to 5 do", ("tuples",)),
    "U4": Fault("the source stands twice in its tuple, tuples follow the file unshuffled", ("tuples", "students")),
    "U5": Fault("rerankers label with dropout", ("tuples",)),
    "U7": Fault("every candidate list is read as if it were full", ("filtered",)),
    "U9": Fault("ideal ranking taken from the retrieved passages only", (EVALUATE,)),
    "U10": Fault("the last query of a reranker's evaluation is not scored", (EVALUATE,)),
    "U12": Fault("pairs hardly checked, the good question from a fixed column", ("prompts",)),
    "U13": Fault("the rate's schedule counts pairs, not steps; queries unshuffled, the last step lost", ("rerankers",)),
    "U14": Fault("several processes read the same n-th part of the tuples", ("students",)),
    "U15": Fault("all rerankers start from one seed", ("rerankers",)),
}


def active_faults(config: Mapping[str, Any]) -> list[str]:
    """Return the faults that are switched on."""
    return [fault for fault in FAULTS if config["fidelity"] == "released" or fault in config["faults"]]


def faults_of(config: Mapping[str, Any], stage: str) -> list[str]:
    """Return the faults that are switched on and touch a stage."""
    return [fault for fault in active_faults(config) if stage in FAULTS[fault].stages]
