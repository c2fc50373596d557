"""The released templates of INTERS under our names: 57 keys to task / data set, placeholders to our fields.

The table workflow/prompts/inters_released.yaml says what is what; nothing is guessed. Traps of the file (facts,
section 3) and what is done: literal braces stay text, since only names in braces are placeholders; misspelt keys,
placeholders and cues are entries of the table; ``cast19`` and ``cast2x`` go into one set; words for labels get our
case; a demonstration that is not its prompt plus a cue keeps its own wording (``Template.shown``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from searchtune.errors import DataError, nearest
from searchtune.prompts.templates import (
    REVERSED,
    TARGET,
    Template,
    TemplateFile,
    TemplateSet,
    lint_templates,
    placeholders,
    render,
)
from searchtune.tasks.released_source import Released, read_released

TABLE = Path(__file__).resolve().parents[2] / "prompts" / "inters_released.yaml"
FILE_NAME = "instruct_templates.py"
CHECKED = ("pairwise_check", "listwise_check", "query_generation")  # forms that no task of ours asks for


@dataclass(frozen=True)
class Place:
    """One template of the released file: where it stands and how it is read."""

    key: str
    number: int
    fields: Mapping[str, str]
    words: Mapping[str, str]
    cues: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.key}[{self.number}]"

    def translate(self, text: str, path: str) -> str:
        """Return ``text`` with our placeholders and labels; DataError names a placeholder without a mapping."""
        for name in placeholders(text):
            if name not in self.fields:
                raise DataError(
                    f"{path}, {self}: placeholder {{{name}}} has no mapping{nearest(name, self.fields)}; "
                    f"add it to workflow/prompts/{TABLE.name}"
                )
        for word, ours in self.words.items():
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", ours, text)
        values = {name: ours if "{" in ours else f"{{{ours}}}" for name, ours in self.fields.items()}
        return render(text, values, str(self))


def load_table(path: Path = TABLE) -> dict[str, Any]:
    """Return the mapping table."""
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def load_released(path: Path, table: dict[str, Any] | None = None) -> dict[str, TemplateFile]:
    """Return one template file a task, as our own YAML gives them; see the module's text. Raises DataError."""
    source, table = read_released(path), table or load_table()
    _check_keys(source, table)
    sets: dict[str, dict[str, TemplateSet]] = {}
    for key, entry in table["keys"].items():
        task, dataset = entry["pair"].split("/")
        description = _description(source, table["descriptions"].get(task, task))
        for part in _parts(entry, table["per_key"], f"{source.path}, {key}"):
            name = ".".join(filter(None, (part.get("dataset", dataset), part.get("suffix"))))
            item = _set(source, key, name, {**entry, **part}, table["cues"], description)
            known = sets.setdefault(task, {}).get(name)
            sets[task][name] = _joined(known, item) if known else item
    faults = [fault for found in sets.values() for fault in lint_templates(found)]
    if faults:
        raise DataError(f"{source.path}: " + "; ".join(faults))
    return {task: TemplateFile(source.path, found) for task, found in sets.items()}


def _check_keys(source: Released, table: dict[str, Any]) -> None:
    for key in source.patterns:
        if key not in table["keys"]:
            raise DataError(f"{source.path}: unknown key {key!r}{nearest(key, table['keys'])}")
    for key in table["keys"]:
        if key not in source.patterns:
            raise DataError(f"{source.path}: key {key!r} is missing{nearest(key, source.patterns)}")
        for what, pairs in (("prompts", source.patterns[key]), ("demonstrations", source.shown[key])):
            if len(pairs) != table["per_key"]:
                raise DataError(f"{source.path}: {key!r} has {len(pairs)} {what}, expected {table['per_key']}")


def _description(source: Released, name: str) -> str:
    if name not in source.descriptions:
        raise DataError(f"{source.path}: no description of {name!r}{nearest(name, source.descriptions)}")
    return source.descriptions[name]


def _parts(entry: dict[str, Any], per_key: int, where: str) -> list[dict[str, Any]]:
    parts = entry.get("parts") or [{"templates": list(range(per_key))}]
    places = sorted(place for part in parts for place in part["templates"])
    if places != list(range(per_key)):
        raise DataError(f"{where}: the parts of workflow/prompts/{TABLE.name} do not hold each template once")
    return parts


def _set(
    source: Released, key: str, name: str, entry: dict[str, Any], cues: Mapping[str, str], description: str
) -> TemplateSet:
    places = [Place(key, n, entry["fields"], entry.get("words", {}), cues) for n in entry["templates"]]
    templates = tuple(_template(source, place, entry) for place in places)
    used = dict.fromkeys(p for t in templates for p in placeholders(f"{t.prompt} {t.completion} {t.shown}"))
    return TemplateSet(name, tuple(used), templates, description, (), tuple(entry.get("labels", ())))


def _template(source: Released, place: Place, entry: dict[str, Any]) -> Template:
    (prompt, output), (shown, shown_output) = (
        source.patterns[place.key][place.number],
        source.shown[place.key][place.number],
    )
    if output != shown_output:
        raise DataError(f"{source.path}, {place}: prompt and demonstration have different outputs")
    prompt, shown, completion = (place.translate(text, source.path) for text in (prompt, shown, output))
    turned = TARGET in placeholders(prompt)
    if turned and place.number not in source.reversed_at[place.key]:
        raise DataError(f"{source.path}, {place}: shows its output but is not listed in HAS_REVERSE")
    if place.number in source.reversed_at[place.key] and not turned and "dataset" not in entry:
        raise DataError(f"{source.path}, {place}: listed in HAS_REVERSE but does not show the output")
    cue, own = demonstration_form(prompt, shown, place.cues)
    note = "offers labels that the data do not have" if place.number in entry.get("other_labels", ()) else ""
    name = f"{REVERSED if turned else ''}{place.key.rsplit('-', 1)[-1]}_{place.number}"
    return Template(name, prompt, completion, cue, note, own)


def demonstration_form(prompt: str, shown: str, aliases: Mapping[str, str]) -> tuple[str, str]:
    """Return (cue, wording) of a demonstration: the cue after its prompt, and the wording where that is another.

    ``aliases`` corrects misspelt cues. Where nothing stands between prompt and answer a blank does, so that the
    two do not run into one word.
    """
    body = shown.rstrip()
    if not body.startswith(prompt.rstrip()):
        return shown[len(body) :] or " ", body
    cue = shown[len(prompt.rstrip()) :]
    for word, right in aliases.items():
        cue = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", right, cue)
    if prompt != prompt.rstrip():
        return cue or " ", prompt.rstrip()
    return cue or " ", ""


def _joined(first: TemplateSet, second: TemplateSet) -> TemplateSet:
    """Return one set with the templates of both (two keys of the same data set)."""
    fields = tuple(dict.fromkeys([*first.fields, *second.fields]))
    return replace(first, fields=fields, templates=first.templates + second.templates)


def usable(item: TemplateSet, contract: TemplateSet) -> tuple[TemplateSet | None, str]:
    """Return the part of a released set that our rows can fill, and why the rest is left out (empty if none is).

    ``contract`` is our own set of the same data set: the fields that its rows have, and their labels.
    """
    if set(item.labels) != set(contract.labels):
        return None, f"labels {', '.join(item.labels) or 'none'}; ours: {', '.join(contract.labels) or 'none'}"
    lacking: dict[str, int] = {}
    kept = []
    for template in item.templates:
        texts = f"{template.prompt} {template.completion} {template.shown}"
        missing = [name for name in placeholders(texts) if name not in contract.fields]
        for reason in [f"no field {name}" for name in missing] or ([template.note] if template.note else []):
            lacking[reason] = lacking.get(reason, 0) + 1
        if not missing and not template.note:
            kept.append(template)
    why = "; ".join(f"{reason} ({number})" for reason, number in lacking.items())
    return (replace(item, templates=tuple(kept), fields=contract.fields) if kept else None), why


def overlay(
    own: Mapping[str, TemplateFile], released: Mapping[str, TemplateFile]
) -> tuple[dict[str, TemplateFile], list[dict[str, Any]]]:
    """Return our files with the usable released sets laid over them, and what was used: one row a released set.

    A row holds task, set, templates (in the file), used, reason. Data sets that INTERS does not have, or whose
    released templates cannot be filled, keep our own wordings.
    """
    found, report = {}, []
    for task, file in own.items():
        sets = dict(file.sets)
        for name, item in (released[task].sets if task in released else {}).items():
            dataset, _, form = name.partition(".")
            if form in CHECKED:
                continue
            contract = next((s for n in (name, f"{task}.{form}" if form else task) if (s := file.sets.get(n))), None)
            part, why = usable(item, contract) if contract else (None, f"{dataset} has no fields of its own here")
            if part:
                sets[name] = part
            counts = {"templates": len(item.templates), "used": len(part.templates) if part else 0}
            report.append({"task": task, "set": name, **counts, "reason": why})
        found[task] = replace(file, sets=sets)
    return found, report
