"""Read, check and merge the configuration: schema < papers < scale < the user's file.

Every layer is checked alone first, so that an error names the file that holds it.
"""

from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from searchtune.config.base import merge
from searchtune.config.schema import Config
from searchtune.errors import ConfigError, malformed, nearest
from searchtune.files import parse_yaml

Layer = tuple[str, dict[str, Any]]
USER_FILE = "config/config.yaml"


def read_yaml(path: Path, shown: str) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader; an empty file is an empty mapping."""
    try:
        with malformed(shown, "valid YAML", ConfigError):
            data = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{shown} is missing; restore it from the repository") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown} is not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{shown} must hold keys and values, found {type(data).__name__}")
    return data


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section class that an annotation is, or that is a branch of its union, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((m for a in get_args(annotation) if (m := section_of(a))), None)
    return None


def check_keys(data: dict[str, Any], model: type[BaseModel], shown: str, prefix: str = "") -> None:
    """Raise ConfigError for the first key of ``data`` that ``model`` does not have."""
    for key, value in data.items():
        if key not in model.model_fields:
            raise ConfigError(
                f"{shown}: unknown key {prefix + str(key)!r} (value {value!r}){nearest(str(key), model.model_fields)}"
            )
        annotation = model.model_fields[key].annotation
        inner = section_of(annotation)
        if inner and isinstance(value, dict):
            check_keys(value, inner, shown, f"{prefix}{key}.")
        elif get_origin(annotation) is dict and isinstance(value, dict):
            inner = section_of(get_args(annotation)[1])
            for name, item in value.items():
                if inner and isinstance(item, dict):
                    check_keys(item, inner, shown, f"{prefix}{key}.{name}.")


def _holds(data: Any, location: tuple) -> bool:
    """Say whether a layer sets the value at ``location`` (mapping keys and list positions)."""
    for part in location:
        if not isinstance(data, dict | list):
            break  # pydantic's location goes on into a union's branch
        position = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if not position and not (isinstance(data, dict) and part in data):
            return False
        data = data[part]
    return True


def _explain(error: ValidationError, layers: list[Layer]) -> str:
    """Turn pydantic's first error into one line: file, key, value, what was expected, nearest name."""
    first = error.errors()[0]
    location = tuple(first["loc"])
    shown = file_of(layers, *location)
    value = first.get("input")
    hint = ""
    if first["type"] == "literal_error":
        known = [part.strip(" '") for part in first["ctx"]["expected"].replace(" or ", ", ").split(",")]
        hint = nearest(str(value), known)
    text = value if not isinstance(value, dict) else "{...}"
    key = ".".join(str(part) for part in location) or "(whole file)"
    return f"{shown}: key {key!r} has value {text!r}: {first['msg']}{hint}"


def check_values(data: dict[str, Any], shown: str) -> None:
    """Check a layer's values alone, over the schema's defaults; errors that lie elsewhere wait for the merge."""
    try:
        Config.model_validate(data)
    except ValidationError as error:
        mine = [
            e
            for e in error.errors()
            if e["loc"] and e["type"] != "missing" and _holds(data, tuple(e["loc"])) and e["type"] != "value_error"
        ]
        if mine:
            raise ConfigError(_explain(error.from_exception_data("", [_line(mine[0])]), [(shown, data)])) from error


def _line(error: Any) -> Any:
    """Rebuild one pydantic error so that it can be shown alone."""
    from pydantic_core import InitErrorDetails

    return InitErrorDetails(type=error["type"], loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))


def layers_of(root: Path, user: dict[str, Any], user_name: str) -> list[Layer]:
    """Return the layers from low to high, each checked alone; the user's file is checked first."""
    check_keys(user, Config, user_name)
    user = {key: value for key, value in user.items() if value is not None}  # null: as the scale has it
    check_values(user, user_name)
    scale = user.get("scale", Config.model_fields["scale"].default)
    files = [f"config/papers/{paper}.yaml" for paper in ("inters", "udapdr", "limrank")]
    files += ["config/collections.yaml", "config/models.yaml", f"config/scales/{scale}.yaml"]
    layers = []
    for name in files:
        data = read_yaml(root / name, name)
        check_keys(data, Config, name)
        layers.append((name, data))
    return [*layers, (user_name, user)]


def file_of(layers: list[Layer], *location: Any) -> str:
    """Return the name of the highest layer that sets the value at ``location`` (mapping keys, list positions)."""
    return next((name for name, data in reversed(layers) if _holds(data, location)), layers[-1][0])


def load_config(root: Path, user: dict[str, Any], user_name: str = USER_FILE) -> Config:
    """Merge all layers below ``root`` under the user's mapping and validate the whole.

    Raises ConfigError that names file, key, value and the nearest valid name.
    """
    layers = layers_of(root, user, user_name)
    merged: dict[str, Any] = {}
    for _, data in layers:
        merged = merge(merged, data)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, layers)) from error
