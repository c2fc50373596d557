"""Prompt templates as data: a YAML file of template sets, checked on loading, filled by plain substitution.

A file looks like this::

    about: what these prompts are for
    sets:
      query_generation:
        description: optional text that all templates of the set share
        fields: [passage, query]      # every placeholder that a template may use
        required: [passage]           # placeholders that every prompt must use (optional)
        labels: [yes, no]             # the answers of a classification task (optional)
        templates:
          - {id: ask, prompt: "Write a question about: {passage}", completion: "{query}"}
    constants: {...}                  # optional: anything else, such as worked examples

A placeholder is a name of lower-case letters, digits and underscores in single braces. Any other brace is
ordinary text, in templates as in the data.

A template whose id begins with ``reversed_`` asks for the input and shows the answer (INTERS has two of them in each
set of query description, query expansion and summarization): ``required`` then binds its completion, and its prompt
must use ``{target}``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.errors import DataError, malformed, nearest
from searchtune.files import parse_yaml, read_text

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
FILE_KEYS = ("about", "sets", "constants")
SET_KEYS = ("description", "fields", "required", "labels", "templates")
TEMPLATE_KEYS = ("id", "prompt", "completion", "cue", "note")
REVERSED, TARGET = "reversed_", "target"


@dataclass(frozen=True)
class Template:
    """One wording: ``prompt`` and ``completion`` hold placeholders; ``cue`` closes a demonstration.

    ``shown`` is the prompt inside demonstrations where that is another wording (some released templates).
    """

    id: str
    prompt: str
    completion: str = ""
    cue: str = ""
    note: str = ""
    shown: str = ""

    @property
    def is_reversed(self) -> bool:
        """Say whether the prompt shows the answer and asks for the input."""
        return self.id.startswith(REVERSED)


@dataclass(frozen=True)
class TemplateSet:
    """The wordings of one task or step, with the placeholders that they may and must use."""

    name: str
    fields: tuple[str, ...]
    templates: tuple[Template, ...]
    description: str = ""
    required: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __getitem__(self, template_id: str) -> Template:
        """Return the template of that id; raise DataError with the nearest id."""
        for template in self.templates:
            if template.id == template_id:
                return template
        raise DataError(
            f"template set {self.name!r} has no template {template_id!r}"
            f"{nearest(template_id, [t.id for t in self.templates])}"
        )


@dataclass(frozen=True)
class TemplateFile(Mapping[str, TemplateSet]):
    """The sets of one file by name; ``constants`` is the file's free part."""

    path: str
    sets: dict[str, TemplateSet]
    constants: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> TemplateSet:
        if name not in self.sets:
            raise DataError(f"{self.path} has no template set {name!r}{nearest(name, self.sets)}")
        return self.sets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sets)

    def __len__(self) -> int:
        return len(self.sets)


def placeholders(template: str) -> list[str]:
    """Return the names of a template's placeholders, each once, in order of appearance."""
    return list(dict.fromkeys(PLACEHOLDER.findall(template)))


def render(template: str, fields: Mapping[str, str], name: str = "template") -> str:
    """Replace each ``{field}`` of ``template`` by its value, once: braces inside values stay as they are.

    Raises DataError, naming template and field, if a placeholder has no value or a value is no string.
    """

    def value(match: re.Match) -> str:
        """Return the text of one placeholder."""
        key = match.group(1)
        if key not in fields:
            raise DataError(
                f"{name}: placeholder {{{key}}} has no value{nearest(key, fields)} (template: {template[:80]!r})"
            )
        if not isinstance(fields[key], str):
            raise DataError(f"{name}: field {key!r} is {type(fields[key]).__name__}, expected text")
        return fields[key]

    return PLACEHOLDER.sub(value, template)


def load_templates(path: Path) -> TemplateFile:
    """Read and check a template file (form: see the module's text). Raises DataError with every fault found."""
    import yaml

    path = Path(path)
    with malformed(path, "a file of templates"):
        try:
            raw = parse_yaml(read_text(path))
        except yaml.YAMLError as error:
            raise DataError(f"{path} is not valid YAML: {error}") from error
        return _template_file(path, raw)


def _template_file(path: Path, raw: Any) -> TemplateFile:
    faults = _shape_faults(raw)
    if not faults:
        sets = {name: _template_set(name, value) for name, value in raw["sets"].items()}
        faults = lint_templates(sets)
    if faults:
        raise DataError(f"{path}: " + "; ".join(faults))
    return TemplateFile(str(path), sets, raw.get("constants") or {})


def lint_templates(sets: Mapping[str, TemplateSet], minimum: int = 1) -> list[str]:
    """Return the faults of template sets as sentences; an empty list means that they are sound.

    Checked: at least ``minimum`` templates a set; ids and prompts not repeated within a set; every placeholder
    declared in ``fields``; every ``required`` field used by every prompt; every declared field used somewhere.
    """
    faults: list[str] = []
    for name, item in sets.items():
        if len(item.templates) < minimum:
            faults.append(f"{name}: {len(item.templates)} templates, at least {minimum} expected")
        faults += _repeats(name, "id", [t.id for t in item.templates])
        faults += _repeats(name, "prompt", [" ".join(t.prompt.lower().split()) for t in item.templates])
        faults += [fault for template in item.templates for fault in _template_faults(item, template)]
        used = {p for t in item.templates for p in placeholders(_texts(item, t))}
        faults += [f"{name}: field {f!r} is declared but never used" for f in item.fields if f not in used]
    return faults


def _template_faults(item: TemplateSet, template: Template) -> list[str]:
    where = f"{item.name}/{template.id}"
    faults = [] if template.prompt.strip() else [f"{where}: the prompt is empty"]
    for key in placeholders(_texts(item, template)):
        if key not in item.fields:
            faults.append(f"{where}: unknown placeholder {{{key}}}{nearest(key, item.fields)}")
    if template.is_reversed:
        return faults + _reversed_faults(item, template, where)
    missing = [key for key in item.required if key not in placeholders(template.prompt)]
    return faults + [f"{where}: the prompt lacks the required placeholder {{{key}}}" for key in missing]


def _reversed_faults(item: TemplateSet, template: Template, where: str) -> list[str]:
    faults = [] if TARGET in placeholders(template.prompt) else [f"{where}: a reversed prompt must show {{{TARGET}}}"]
    missing = [key for key in item.required if key not in placeholders(template.completion)]
    return faults + [f"{where}: the reversed completion lacks the required placeholder {{{key}}}" for key in missing]


def _texts(item: TemplateSet, template: Template) -> str:
    return f"{item.description} {template.prompt} {template.completion} {template.cue} {template.shown}"


def _repeats(name: str, what: str, values: list[str]) -> list[str]:
    repeated = sorted({value for value in values if values.count(value) > 1})
    return [f"{name}: {what} {value[:60]!r} appears {values.count(value)} times" for value in repeated]


def _unknown(where: str, value: Any, known: tuple[str, ...]) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: expected a mapping, found {type(value).__name__}"]
    return [f"{where}: unknown key {key!r}{nearest(str(key), known)}" for key in value if key not in known]


def _shape_faults(raw: Any) -> list[str]:
    """Return what keeps a parsed YAML file from being read as template sets."""
    faults = _unknown("file", raw, FILE_KEYS)
    if faults:
        return faults
    if not isinstance(raw.get("sets"), dict) or not raw["sets"]:
        return ["file: key 'sets' with at least one set is missing"]
    for name, value in raw["sets"].items():
        faults += _unknown(name, value, SET_KEYS)
        if faults:
            continue
        for key in ("fields", "templates", *({"labels"} & set(value))):
            if not isinstance(value.get(key), list):
                faults.append(f"{name}: key {key!r} must be a list")
        for number, template in enumerate(value.get("templates") or [], 1):
            faults += _unknown(f"{name}, template {number}", template, TEMPLATE_KEYS)
            if isinstance(template, dict):
                faults += [
                    f"{name}, template {number}: key {key!r} must be text"
                    for key in ("id", "prompt")
                    if not isinstance(template.get(key), str)
                ]
    return faults


def _template_set(name: str, value: dict) -> TemplateSet:
    templates = tuple(Template(**{key: str(text) for key, text in item.items()}) for item in value["templates"])
    return TemplateSet(
        name,
        tuple(value["fields"]),
        templates,
        str(value.get("description", "")),
        tuple(value.get("required", ())),
        tuple(map(str, value.get("labels", ()))),
    )
