"""What a task's template file must offer beyond being sound: enough wordings, short ones, with the set's own labels.

The counts follow INTERS (12 templates a data set; two reversed ones for description, expansion and summarization);
the length limit is ours, because the default model reads 512 tokens.
"""

import re
from collections.abc import Mapping

from searchtune.prompts.templates import TARGET, TemplateFile, TemplateSet, lint_templates, placeholders, render

OWN, DATASET, POINTWISE, FORM = 12, 4, 6, 3  # fewest templates: task, a data set's set, ranking sets by form
MOST_WORDS = 40  # of a prompt without its fields
REVERSIBLE = ("query_description", "query_expansion", "summarization")
FIELDS = {
    *("title", "query", "history", "domain", "guidelines", "description", "subtopic", "context", "first", "second"),
    *("claim", "evidence", "article", "passage", "question", "passages", "count", TARGET),
}
FORMS = {"pairwise": ("query", "first", "second"), "listwise": ("query", "passages")}


def distinct(sets: Mapping[str, TemplateSet]) -> dict[str, TemplateSet]:
    """Return the sets without those that are another one under a second name (YAML aliases)."""
    seen: dict[tuple, str] = {}
    return {name: item for name, item in sets.items() if seen.setdefault(item.templates, name) == name}


def lint_task(task: str, file: TemplateFile, ranking: bool) -> list[str]:
    """Return the faults of a task's file as sentences; an empty list means that there are none."""
    sets = distinct(file.sets)
    faults = lint_templates(sets) + _counts(task, sets, ranking)
    for item in sets.values():
        faults += [f"{item.name}: unknown field {field!r}" for field in item.fields if field not in FIELDS]
        faults += _description(item) + _wordings(task, item) + _labels(item, _foreign(item, sets))
    return faults + _repeated(task, sets)


def _counts(task: str, sets: Mapping[str, TemplateSet], ranking: bool) -> list[str]:
    least = dict.fromkeys(sets, DATASET)
    if task in sets:
        least[task] = POINTWISE if ranking else OWN
    if ranking:
        least |= {f"{task}.{form}": FORM for form in FORMS}
    faults = [
        f"{name}: {len(sets[name].templates) if name in sets else 0} templates, at least {number} expected"
        for name, number in least.items()
        if name not in sets or len(sets[name].templates) < number
    ]
    total = sum(len(item.templates) for item in sets.values())
    if total < OWN:
        faults.append(f"{task}: {total} templates in all, at least {OWN} expected")
    turned = sum(template.is_reversed for template in sets[task].templates) if task in sets else 0
    expected = 2 if task in REVERSIBLE else 0
    if turned != expected:
        faults.append(f"{task}: {turned} reversed templates, {expected} expected")
    return faults


def _description(item: TemplateSet) -> list[str]:
    number = len(re.findall(r"[.!?](?:\s|$)", item.description))
    return [] if number in (1, 2) else [f"{item.name}: the description has {number} sentences, one or two expected"]


def _wordings(task: str, item: TemplateSet) -> list[str]:
    faults = [] if TARGET in item.fields else [f"{item.name}: fields lack {TARGET!r}"]
    for template in item.templates:
        where = f"{item.name}/{template.id}"
        words = len(render(template.prompt, dict.fromkeys(item.fields, "")).split())
        if words > MOST_WORDS:
            faults.append(f"{where}: {words} words, at most {MOST_WORDS}")
        if not template.cue:
            faults.append(f"{where}: no cue for demonstrations")
        if template.is_reversed:
            faults += [] if task in REVERSIBLE else [f"{where}: {task} has no reversed templates"]
            continue
        if template.completion != f"{{{TARGET}}}":
            faults.append(f"{where}: the completion is {template.completion!r}, expected '{{{TARGET}}}'")
        if TARGET in placeholders(template.prompt + template.cue):
            faults.append(f"{where}: the prompt shows its own answer")
    return faults


def named(labels: tuple[str, ...], text: str) -> list[str]:
    """Return those labels that ``text`` names as whole words, in any case."""
    return [label for label in labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE)]


def _foreign(item: TemplateSet, sets: Mapping[str, TemplateSet]) -> tuple[str, ...]:
    return tuple({label for other in sets.values() if other.labels for label in other.labels} - set(item.labels))


def _labels(item: TemplateSet, foreign: tuple[str, ...]) -> list[str]:
    """A prompt names all labels of its set or none of them; none of another set of the task; some prompt names them."""
    if not item.labels:
        return []
    faults, listing = [], 0
    for template in item.templates:
        found = named(item.labels, template.prompt)
        listing += len(found) == len(item.labels)
        missing = [label for label in item.labels if label not in found]
        if found and missing:
            faults.append(f"{item.name}/{template.id}: names {found[0]!r} but not {missing[0]!r}")
        faults += [
            f"{item.name}/{template.id}: names {label!r}, a label of another set"
            for label in named(foreign, template.prompt)
        ]
    return faults if listing else [*faults, f"{item.name}: no prompt names the labels"]


def _repeated(task: str, sets: Mapping[str, TemplateSet]) -> list[str]:
    seen: dict[str, str] = {}
    faults = []
    for item in sets.values():
        for template in item.templates:
            where, wording = f"{item.name}/{template.id}", " ".join(template.prompt.lower().split())
            if seen.setdefault(wording, where) != where:
                faults.append(f"{task}: {where} repeats the wording of {seen[wording]}")
    return faults
