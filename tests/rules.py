"""The rules of the workflow as text: what tests ask of every rule without planning a run."""

import re

from helpers import ROOT

_RULE = re.compile(
    r"^(?:rule (?P<own>\w+)|use rule (?P<of>\w+) as (?P<made>\w+) with):\n(?P<body>(?:(?: .*)?\n)*)", re.M
)


def rule_texts() -> dict[str, str]:
    """Return name -> text of every rule. One that is made from another (``use rule``) has that one's resources, too,
    unless it names its own."""
    paths = [*(ROOT / "workflow/rules").glob("*.smk"), ROOT / "workflow/Snakefile"]
    found = [match for path in paths for match in _RULE.finditer(path.read_text())]
    texts = {match["own"] or match["made"]: match["body"] for match in found}
    for match in found:
        if match["of"] and "resources:" not in match["body"]:
            inherited = re.search(r"^    resources:\n(?:        .*\n)*", texts[match["of"]], re.M)
            texts[match["made"]] += inherited.group() if inherited else ""
    return texts
