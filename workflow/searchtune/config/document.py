"""Generate config/README.md and config/schema.json from the schema: ``python -m searchtune.config.document``."""

import json
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from searchtune.config.load import section_of
from searchtune.config.schema import Config
from searchtune.files import write_text

INTRODUCTION = """# Configuration

`config.yaml` is yours: it names the scale, the papers and the seeds. Every other key has a default and can be set
there too. Layers, from low to high: the schema's defaults, `papers/*.yaml` (what a paper fixes), `collections.yaml`
and `models.yaml` (what lies where), `scales/<scale>.yaml` (sizes), `config.yaml`, and `--config key=value`.
A key that does not exist, a value out of range or an unknown id stops the run before any job starts.

This page is generated from the schema by `make docs`; `schema.json` is the same for editors.

| key | type | default | what it is |
|---|---|---|---|
"""


def type_name(annotation: Any) -> str:
    """Return a short name of a type for the documentation (``list[int]``, ``ci \\| demo``, ``int, may be empty``)."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " \\| ".join(str(a) for a in arguments)
    if origin in (Union, types.UnionType):
        inner = " or ".join(type_name(a) for a in arguments if a is not type(None))
        return inner + (", may be empty" if type(None) in arguments else "")
    if origin in (list, dict, tuple, set):
        return f"{origin.__name__}[{', '.join(type_name(a) for a in arguments)}]"
    if origin is not None and arguments:  # Annotated
        return type_name(arguments[0])
    return getattr(annotation, "__name__", str(annotation))


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [f"{sign} {getattr(m, name)}" for m in field.metadata for name, sign in signs.items() if hasattr(m, name)]
    return f" ({', '.join(found)})" if found else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def rows_of(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return one table row for every key below ``model``, sections opened up."""
    rows = []
    for name, field in model.model_fields.items():
        key, inner = f"{prefix}{name}", section_of(field.annotation)
        if inner and get_origin(field.annotation) is not dict:
            rows += rows_of(inner, f"{key}.")
            continue
        text = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{key}` | {type_name(field.annotation)}{_bounds(field)} | {_default(field)} | {text} |")
        container = get_args(field.annotation)[-1] if get_origin(field.annotation) in (dict, list) else None
        if container is not None and (inner := section_of(container)):
            rows += rows_of(inner, f"{key}.<{'id' if get_origin(field.annotation) is dict else 'n'}>.")
    return rows


def texts() -> dict[str, str]:
    """Return {file name in config/: text} of the generated files."""
    schema = json.dumps(Config.model_json_schema(), indent=1, ensure_ascii=False, sort_keys=True)
    return {"README.md": INTRODUCTION + "\n".join(rows_of(Config)) + "\n", "schema.json": schema + "\n"}


def main() -> None:
    """Write the generated files into config/."""
    for name, text in texts().items():
        write_text(Path("config") / name, text)
        print(f"written: config/{name}")


if __name__ == "__main__":
    main()
