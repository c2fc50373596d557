"""Which licences let something leave this machine: one table, read by every export.

The rule. Whatever was made from data or models may be passed on only if each licence that its provenance records lets
anybody pass on works derived from it. Whether a model or a generated text is such a work is disputed; here it counts as
one, so that no export rests on that dispute. A licence that forbids it, ties it to a purpose (non-commercial,
research) or to an agreement of each receiver, or leaves it open ("not stated", "see note"), bars; so does one that
this table doesn't know. Share-alike and attribution don't bar: the card names every licence and what brings it.

A model that others trained and released comes with the licence that its publisher gives it. What it saw before
(``trained_on``: MS MARCO behind a MiniLM, say) is told on the card and bars nothing: the bar is about the licences
recorded, and to judge the terms of what others trained on is their publisher's business. Texts of the user's own
that state no licence carry no mark; they are the user's to release.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from searchtune.errors import nearest


@dataclass(frozen=True)
class Terms:
    """What a licence means here: may what it covers be passed on, why, and how hubs call it (empty: no name)."""

    allowed: bool
    why: str
    hub: str = ""


_NAMING, _ALIKE, _NOTICE = "free with attribution", "free with attribution, share-alike", "free with its notice"
_NC = "non-commercial use only"
_SECOND_HAND = "stated at second hand, and not what the publisher's own words say"
_OPEN = "its publisher states no terms, so nothing is permitted"
_AUTHORS = "the passages belong to their authors, who permitted nothing"
_NEWS = "the texts belong to newspapers or a broadcaster"
_SEE = "the terms differ by source or stay the publisher's; see the note in config/datasets.tsv"
_AGREED = "each receiver signs an agreement of its own"
_RESEARCH = "for research use only"
_LLAMA = "may be passed on only with the agreement, its notice and use policy (3.1: and Llama in the name); by hand"

# licence as registries, configuration and users write it -> (name on hubs, why)
_FREE = {
    "Apache-2.0": ("apache-2.0", _NOTICE),
    "MIT": ("mit", _NOTICE),
    "BSD-2-Clause": ("bsd-2-clause", _NOTICE),
    "BSD-3-Clause": ("bsd-3-clause", _NOTICE),
    "CC0-1.0": ("cc0-1.0", "free"),
    "CC BY 3.0": ("cc-by-3.0", _NAMING),
    "CC BY 4.0": ("cc-by-4.0", _NAMING),
    "CC BY-SA 3.0": ("cc-by-sa-3.0", _ALIKE),
    "CC BY-SA 4.0": ("cc-by-sa-4.0", _ALIKE),
    "ODC-By 1.0": ("odc-by", _NAMING),
    "public domain": ("", "free"),
    "own": ("", "yours: say on the hub under which licence you release it"),
    "MIT (stated, no licence file)": ("mit", "free as its publisher's card states, though no file repeats it"),
    "NIST (no copyright claimed in the United States)": ("", "topics of the United States' government, free there"),
    "NIST topics": ("", "topics of the United States' government, free there"),
    "Apache-2.0; texts CC BY-SA": ("", _ALIKE),
    "Apache-2.0; texts CC BY-SA (Stack Exchange)": ("", _ALIKE),
    "CC BY 4.0 (claims), ODC-By 1.0 (abstracts)": ("", _NAMING),
    "CC BY 4.0; definitions Apache-2.0": ("", _NAMING),
    "CC BY-SA 3.0 (Wikipedia); questions CC BY 4.0": ("", _ALIKE),
    "CC BY-SA 3.0 (questions); MIT (sentences)": ("", _ALIKE),
    "CC BY-SA 3.0 (questions); expansions MIT": ("", _ALIKE),
}
# licence -> why
_BARRED = {
    "CC BY-NC 2.0": _NC,
    "CC BY-NC 4.0": _NC,
    "CC BY-NC-SA 3.0": _NC,
    "CC BY-NC-SA 4.0": _NC,
    "CC BY-ND 4.0": "no derivatives",
    "CC BY-NC-ND 4.0": "no derivatives, non-commercial use only",
    "CC BY-SA 3.0 (Wikipedia); DPR's data CC BY-NC 4.0": _NC,
    "CC BY-SA 3.0 (Wikipedia, NQ); DPR's data CC BY-NC 4.0": _NC,
    "CC BY-SA 3.0 (Wikipedia); questions CC BY-SA 4.0; DPR's data CC BY-NC 4.0": _NC,
    "CC BY-SA 4.0; queries (GooAQ) for non-commercial research": _NC,
    "CC BY-SA 4.0; search queries for non-commercial research": _NC,
    "MS MARCO terms, non-commercial research": _NC,
    "non-commercial research (MS MARCO)": _NC,
    "non-commercial, the platform's terms": _NC,
    "academic use": _RESEARCH,
    "FIRE (research use)": _RESEARCH,
    "FIRE topics": _RESEARCH,
    "not stated; research use": _RESEARCH,
    "publisher's own, as the Newsroom data set's (research use)": _RESEARCH,
    "CORD-19 terms": "each article keeps its own terms, many for research only",
    "Microsoft Research shared source licence": "no redistribution beyond research, by the shared source terms",
    "FIRE, by agreement": _AGREED,
    "LDC, by agreement": _AGREED,
    "NIST, by agreement": _AGREED,
    "CC BY 4.0 (gated)": "its publisher asks that no example appears in the open",
    "CC BY 4.0 (gated); documents their publishers'": "its publisher asks that no example appears in the open",
    "CC BY 4.0 (questions); passages New York Times": _NEWS,
    "CC BY 4.0 (questions); passages their authors": _AUTHORS,
    "questions CC BY 4.0; passages authors', see note": _AUTHORS,
    "questions CC BY 4.0; passages publisher's, see note": _NEWS,
    "MIT (annotations); newswire under its own terms": _NEWS,
    "not stated by its publisher; the articles are the BBC's": _NEWS,
    "not stated; the stories are the newspapers'": _NEWS,
    "CC BY-SA 4.0 (as labelled; sources keep their terms)": _SEE,
    "by source, from CC BY-SA 4.0 to research use": _SEE,
    "publisher's": _SEE,
    "publisher's, see note": _SEE,
    "not stated": _OPEN,
    "withdrawn by its publisher": "withdrawn",
    "withdrawn by its publisher; non-commercial research only": "withdrawn",
    "MIT (as the hub's script states)": _SECOND_HAND,
    "Apache-2.0 (as labelled)": "distilled from a Llama 2, whose terms bind it whatever its label says",
    "Apache-2.0 (base)": "its base's licence; whoever tuned it states none",
    "Llama 2 Community": _LLAMA,
    "Llama 3.1 Community": _LLAMA,
}
LICENCES = {name: Terms(True, why, hub) for name, (hub, why) in _FREE.items()} | {
    name: Terms(False, why) for name, why in _BARRED.items()
}
PLACE = "workflow/searchtune/release/licences.py"


def terms_of(licence: str) -> Terms:
    """Return the terms of a licence; one that the table doesn't know is barred, and says where to enter it."""
    unknown = f"this licence is not in {PLACE}: read it, and enter it there as free or barred"
    return LICENCES.get(licence, Terms(False, unknown))


def warning(licence: str, option: str = "--licence") -> str:
    """Return what a user is told whose own texts have a licence under which the result must stay; else an empty text.

    An empty licence states none: texts of the user's own.
    """
    if not licence or (terms := terms_of(licence)).allowed:
        return ""
    free = [name for name, entry in LICENCES.items() if entry.allowed]
    hint = "" if licence in LICENCES else nearest(licence, free)
    return f"WARNING: {option} {licence!r}: `searchtune export` will not pass the result on ({terms.why}){hint}"


def hub_licence(licences: Iterable[str]) -> str:
    """Return the one name that hubs have for all of these licences, else ``other``: the card then names each."""
    names = {terms_of(licence).hub for licence in licences}
    return names.pop() or "other" if len(names) == 1 else "other"
