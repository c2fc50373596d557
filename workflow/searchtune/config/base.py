"""What every section of the configuration has in common."""

import re
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from searchtune.errors import nearest

# ablations name folders and wildcards
_NAME = re.compile("[a-z][a-z0-9_]*")


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values are checked, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


def merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Return ``low`` with ``high`` laid over it: mappings merge key by key, everything else is replaced."""
    out = dict(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


def check_ablations(ablations: Iterable[str], wanted: Iterable[str], reserved: Collection[str] = ()) -> None:
    """Raise ValueError for a bad name under ``ablations``, or one in ``run_ablations`` that is not there."""
    known = list(ablations)
    for name in wanted:
        if name != "all" and name not in known:
            raise ValueError(f"run_ablations names {name!r}, which is not in ablations{nearest(name, known)}")
    besides = f", and is none of {', '.join(reserved)}" if reserved else ""
    for name in known:
        if not _NAME.fullmatch(name) or name in reserved:
            raise ValueError(f"ablations.{name}: a name has small letters, digits and _{besides}")


def chosen_ablations(ablations: Iterable[str], wanted: Collection[str]) -> list[str]:
    """Return the names under ``ablations`` that run, in the order of the configuration."""
    return [name for name in ablations if "all" in wanted or name in wanted]
