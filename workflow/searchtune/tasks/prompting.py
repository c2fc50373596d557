"""From an example and a template to a prompt: description, demonstrations, filled template."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from searchtune.errors import ConfigError, DataError, nearest
from searchtune.prompts.templates import (
    TARGET,
    Template,
    TemplateFile,
    TemplateSet,
    load_templates,
    placeholders,
    render,
)

Row = dict[str, Any]
DRAWS = 256  # candidates drawn for demonstrations before the whole pool is looked at


@dataclass(frozen=True)
class TemplateBook:
    """The template files of all tasks, by task name."""

    files: dict[str, TemplateFile]

    @classmethod
    def load(cls, paths: Sequence[Path]) -> "TemplateBook":
        """Read one file a task, named after the task."""
        return cls({path.stem: load_templates(path) for path in paths})

    def set_of(self, row: Row) -> TemplateSet:
        """Return the set of the row's data set, else the set named after its task; ConfigError without a file."""
        if row["task"] not in self.files:
            raise ConfigError(f"no template file for task {row['task']!r}{nearest(row['task'], self.files)}")
        file = self.files[row["task"]]
        return file[row["dataset"]] if row["dataset"] in file.sets else file[row["task"]]


def shuffled(items: Sequence[Any], *key: Any) -> list[Any]:
    """Return items in an order that ``key`` alone fixes."""
    order = list(items)
    random.Random("\x1f".join(map(str, key))).shuffle(order)
    return order


def pick_template(templates: TemplateSet, *key: Any, use: int = 0) -> Template:
    """Return the template of the ``use``-th rendering of an example: each one once before any comes back."""
    order = shuffled(templates.templates, "template", *key)
    return order[use % len(order)]


def first_templates(templates: TemplateSet, n: int | None) -> TemplateSet:
    """Return the set with its first ``n`` templates; all of them for None (ablation of template diversity)."""
    return replace(templates, templates=templates.templates[:n])


def forward_templates(templates: TemplateSet) -> TemplateSet:
    """Return the set without reversed templates: those that ask for the target, as a test has to."""
    kept = tuple(template for template in templates.templates if not template.is_reversed)
    if not kept:
        raise ConfigError(f"template set {templates.name!r} has reversed templates only; none can test")
    return replace(templates, templates=kept)


def bare_templates(templates: TemplateSet) -> TemplateSet:
    """Return a set whose one prompt is the field values, one a line, and nothing else (ablation of instructions)."""
    fields = [name for name in templates.fields if name != TARGET]
    lines = "\n".join(f"{{{name}}}" for name in fields)
    template = Template("bare", lines, f"{{{TARGET}}}", "\n")
    return TemplateSet(templates.name, (*fields, TARGET), (template,), labels=templates.labels)


def _shown(template: Template) -> str:
    """Return the wording of a template where demonstrations stand: with the cue that closes it."""
    return (template.shown or template.prompt) + template.cue


def demonstration(template: Template, row: Row, where: str) -> str:
    """Return a solved instance: the filled template, its closing cue and the target."""
    fields = row["fields"] | {TARGET: row["target"]}
    return render(_shown(template) + template.completion, fields, where)


def description_of(templates: TemplateSet, row: Row) -> str:
    """Return the description of a set, filled where it names fields of the row (a control's is its row's own)."""
    text = templates.description
    known = set(placeholders(text)) <= set(row["fields"])
    return render(text, row["fields"], templates.name) if known else text


def compose(
    templates: TemplateSet, template: Template, row: Row, demos: Sequence[Row] = (), with_description: bool = True
) -> str:
    """Return the prompt of an example, in the form of INTERS: description, demonstrations, instance.

    With demonstrations the instance ends with the same cue as they do. Raises DataError where a
    template asks for a field that the example lacks, or shows the target without being a reversed one.
    """
    where = f"{templates.name}/{template.id}"
    fields = row["fields"] | ({TARGET: row["target"]} if template.is_reversed else {})
    instance = render(_shown(template).rstrip() if demos else template.prompt, fields, where)
    parts = [description_of(templates, row)] if with_description and templates.description else []
    parts += [demonstration(template, demo, where) for demo in demos]
    return "\n\n".join([*parts, instance])


def completion(template: Template, row: Row) -> str:
    """Return the text that a tuned model is to answer with."""
    return render(template.completion, row["fields"] | {TARGET: row["target"]}, template.id)


def demonstrations(pool: Sequence[Row], row: Row, n: int, *key: Any) -> list[Row]:
    """Draw ``n`` solved examples for ``row`` from ``pool``, in an order that ``key`` alone fixes.

    Never the row itself, its group (the same query) or its article. For tasks with labels every
    label is shown before any is shown twice. Fewer than ``n`` where the pool is small.
    """
    group = row["meta"].get("group")

    def usable(other: Row) -> bool:
        """Say whether an example shares neither article nor group with the one asked."""
        return (
            other["id"] != row["id"]
            and other["article"] != row["article"]
            and (group is None or other["meta"].get("group") != group)
        )

    # some draws nearly always suffice: a pool of a hundred thousand is not shuffled for two examples
    for draws in (min(DRAWS, len(pool)), len(pool)):
        rng = random.Random("\x1f".join(map(str, ("demonstrations", *key))))
        order = [other for i in rng.sample(range(len(pool)), draws) if usable(other := pool[i])]
        if len(order) >= n:
            break
    if not row["labels"]:
        return order[:n]
    seen: dict[str, int] = {}
    ranks = []
    for place, other in enumerate(order):
        ranks.append((seen.setdefault(other["target"], 0), place))
        seen[other["target"]] += 1
    return [order[place] for _, place in sorted(ranks)[:n]]


def check_rows(rows: Sequence[Row], where: Path) -> None:
    """Raise DataError for example rows that lack what rendering needs."""
    for number, row in enumerate(rows, 1):
        missing = [key for key in ("id", "task", "dataset", "fields", "target") if key not in row]
        if missing:
            raise DataError(f"{where}, row {number}: no key {missing[0]!r}; run inters.examples again")
