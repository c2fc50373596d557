"""One paragraph a paper, written from the numbers and their intervals; no sentence is better known than its test."""

from collections import Counter
from collections.abc import Callable

from searchtune.evaluation.claims import UNKNOWN as CANNOT_TELL
from searchtune.evaluation.significance import verdict
from searchtune.reporting.comparing import Judge, comparator_of
from searchtune.reporting.figures_inters import is_baseline, main_rows
from searchtune.reporting.figures_ranking import system_name
from searchtune.reporting.numbers import show, show_count, show_interval
from searchtune.reporting.plot import OURS, look_of, readable
from searchtune.reporting.reading import Loaded, Row, needed, number, truth
from searchtune.synthesis.udapdr_chains import HELD

Tables = dict[str, Loaded]


def score(row: Row) -> str:
    """Return a row's value with its interval."""
    value = needed(row, "value")
    return show_interval(value, number(row, "ci_low"), number(row, "ci_high"), 3 if abs(value) <= 1.5 else 1)


def judged(table: Loaded, row: Row, other: Row, column: str, judge: Judge) -> str:
    """Return better, worse or can't tell of a row against another, by the adjusted p-value in ``column``."""
    p = judge.p_of(table, table.rows.index(row), column)
    if p is None:
        return "not tested"
    return verdict(needed(row, "value") - needed(other, "value"), p, 3)


def with_seeds(text: str, judge: Judge) -> str:
    """Put the number of seeds behind a statement while there are fewer than three."""
    note = judge.note()
    return f"{text} ({note})" if note else text


def lower(name: str) -> str:
    """Return a system's readable name as it stands inside a sentence."""
    words = readable(name)
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]


def plural(count: int, noun: str) -> str:
    """Return ``1 test set`` or ``3 test sets``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def signs_sentence(tables: Tables) -> str:
    """Say how many signs of life passed and name those that did not."""
    rows = tables["signs"].rows if "signs" in tables else []
    if not rows:
        return "No sign of life was checked."
    failed = [row["sign"] for row in rows if not truth(row["passed"])]
    if failed:
        named = "; ".join(failed)
        return f"{len(failed)} of {len(rows)} signs of life failed ({named}): read the numbers with that in mind."
    return {1: "The one sign of life passed.", 2: "Both signs of life passed."}.get(
        len(rows), f"All {len(rows)} signs of life passed."
    )


def counted(verdicts: Counter, noun: str) -> str:
    """Return ``better on 8 of 11 test sets, worse on 0; on 3 we can't tell at this scale``."""
    total = sum(verdicts.values())
    if verdicts[CANNOT_TELL] == total:
        every = "both" if total == 2 else f"all {total}"
        return f"on {every} {noun}s we {CANNOT_TELL}" if total > 1 else f"we {CANNOT_TELL}"
    text = f"better on {verdicts['better']} of {plural(total, noun)}, worse on {verdicts['worse']}"
    if verdicts[CANNOT_TELL]:
        text += f"; on {verdicts[CANNOT_TELL]} we {CANNOT_TELL}"
    return text + (f"; {verdicts['not tested']} not tested" if verdicts["not tested"] else "")


def inters(tables: Tables, judge: Judge) -> list[str]:
    """Say what tuning did over all test sets, against the untuned model and against the simple baselines."""
    if "in_domain" not in tables:
        return ["No result yet."]
    table = tables["in_domain"]
    rows = main_rows(table)
    by_system: dict[str, list[Row]] = {}
    for row in rows:
        by_system.setdefault(row["system"], []).append(row)
    count = len({(row["task"], row["dataset"]) for row in rows})
    # a system that answers only some of the tasks (a variant of how labels are read) stays in the tables
    whole = {name: its for name, its in by_system.items() if len(its) == count and not is_baseline(its[0])}
    text = [
        sentence
        for its in whole.values()
        if truth(its[0]["tuned"])
        for sentence in _tuned_sentences(table, its, rows, judge)
    ]
    means = {name: sum(needed(r, "value") for r in its) / count for name, its in whole.items()}
    if means:
        base = sorted({row["base_model"] for row in rows if not is_baseline(row)})
        listed = ", ".join(f"{lower(name)} {show(value, 2)}" for name, value in means.items())
        text.append(f"Mean over {plural(count, 'test set')} with {' and '.join(base)}: {listed}.")
    return text


def _tuned_sentences(table: Loaded, its: list[Row], rows: list[Row], judge: Judge) -> list[str]:
    against: dict[str, Counter] = {}
    behind = 0
    for row in its:
        same = [r for r in rows if (r["task"], r["dataset"]) == (row["task"], row["dataset"])]
        other = _find(same, lambda r, row=row: r["system"] == row["baseline"] and r is not row)
        word = judged(table, row, other, "p_value", judge) if other else "not tested"
        against.setdefault(row["baseline"], Counter())[word] += 1
        behind += any(is_baseline(r) and needed(r, "value") > needed(row, "value") for r in same)
    name = readable(its[0]["system"])
    text = []
    for named, words in against.items():
        said = f"{name} against {lower(named) or 'no baseline'}: {counted(words, 'test set')}"
        text.append(with_seeds(said, judge) + ".")
    if behind:
        text.append(f"A baseline without a language model has the higher value on {behind} of {len(its)} test sets.")
    if shots := [r for r in rows if "untuned few" in r["system"]]:
        above = sum(_above(row, shot) for row in its for shot in shots if _place(row) == _place(shot))
        text.append(
            f"The tuned model's interval lies above that of {lower(shots[0]['system'])} on {above} of {len(its)}."
        )
    return text


def _place(row: Row) -> tuple[str, str]:
    return row["task"], row["dataset"]


def _above(row: Row, other: Row) -> bool:
    low, high = number(row, "ci_low"), number(other, "ci_high")
    return low is not None and high is not None and low > high


def _find(rows: list[Row], wanted: Callable[..., bool]) -> Row | None:
    return next((row for row in rows if wanted(row)), None)


def adapted_row(rows: list[Row]) -> Row | None:
    """Return the row of the adapted student: the one tested against the best unadapted system."""
    return _find(rows, lambda r: look_of(r["system"]) == OURS and r["p_vs_best_unadapted"] != "") or _find(
        rows, lambda r: look_of(r["system"]) == OURS
    )


def comparators(table: Loaded, student: Row) -> dict[str, Row]:
    """Return p-value column -> the row that it compares the student with; one system stands once."""
    found: dict[str, Row] = {}
    for column in ("p_vs_bm25", "p_vs_best_unadapted", "p_vs_reranked"):
        other = comparator_of(table, table.rows.index(student), column)
        if other is not None and all(other is not row for row in found.values()):
            found[column] = other
    return found


def udapdr(tables: Tables, judge: Judge) -> list[str]:
    """Say where the adapted student stands against BM25, the best unadapted system and BM25 + reranker."""
    if "quality" not in tables:
        return ["No result yet."]
    table, leads, text = tables["quality"], [], []
    for collection in dict.fromkeys(row["collection"] for row in table.rows):
        rows = [r for r in table.rows if r["collection"] == collection and r["metric"] == "nDCG@10"]
        student = adapted_row(rows)
        if student is None:
            continue
        others = comparators(table, student)
        best = comparator_of(table, table.rows.index(student), "p_vs_best_unadapted")
        words = {}
        for column, other in others.items():
            also = ", the best unadapted system," if other is best else ""
            words[readable(other["system"]) + also] = judged(table, student, other, column, judge)
        leads.append(
            f"{readable(collection)}: the adapted student against "
            + with_seeds("; against ".join(f"{name}: {word}" for name, word in words.items()).replace(",:", ":"), judge)
            + "."
        )
        scores = ", ".join(f"{readable(row['system'])} {score(row)}" for row in others.values())
        text.append(
            f"nDCG@10 on {show_count(needed(student, 'n'))} {queries_of(collection)}: student "
            f"{score(student)}, {scores}."
        )
    return [*leads, *text, *_latency_sentence(tables)]


def queries_of(collection: str) -> str:
    """Say what kind of queries a target was scored on."""
    if collection.endswith(HELD):
        return f"held-out synthetic queries (weaker evidence than human ones) of {readable(collection)}"
    return f"human queries of {readable(collection)}"


def _latency_sentence(tables: Tables) -> list[str]:
    rows = [r for r in tables["latency"].rows if r["batch"] == "1"] if "latency" in tables else []
    student = _find(rows, lambda r: look_of(r["system"]) == OURS)
    reranked = _find(rows, lambda r: "rerank" in r["system"])
    if not student or not reranked:
        return []
    depth = f" at depth {reranked['depth']}" if reranked["depth"] else ""
    return [
        f"One query takes {show(needed(student, 'p50_ms'), 0)} ms with the student and "
        f"{show(needed(reranked, 'p50_ms'), 0)} ms with {readable(reranked['system'])}{depth} (median)."
    ]


def limrank(tables: Tables, judge: Judge) -> list[str]:
    """Say what tuning on the synthesised examples did to reranking, against BM25 and the untuned model."""
    if "rerank" not in tables:
        return ["No result yet."]
    table = tables["rerank"]
    rows = [row for row in table.rows if row["metric"] == "nDCG@10"]
    tuned: dict[str, list[Row]] = {}
    for row in rows:
        if look_of(row["system"]) == OURS:
            tuned.setdefault(readable(row["system"]), []).append(row)
    leads, text = [], []
    for name, its in tuned.items():
        against = {
            "BM25": _verdicts(table, its, rows, "p_vs_bm25", judge),
            "the untuned model": _verdicts(table, its, rows, "p_vs_untuned", judge),
        }
        said = [f"against {label}: {counted(words, 'comparison')}" for label, words in against.items() if words]
        leads.append(f"{name} {'; '.join(said)}")
    for place in dict.fromkeys((row["collection"], row["depth"]) for row in rows):
        mine = [row for row in rows if (row["collection"], row["depth"]) == place]
        text.append(
            f"nDCG@10 on {show_count(needed(mine[0], 'n'))} queries of {readable(place[0])}, top {place[1]}: "
            + "; ".join(f"{system_name(row)} {score(row)}" for row in mine if "untuned" not in row["system"])
            + "."
        )
    return [with_seeds("; ".join(leads), judge) + ".", *text] if leads else text


def _verdicts(table: Loaded, its: list[Row], rows: list[Row], column: str, judge: Judge) -> Counter:
    """Count the verdicts of a reranker's rows against BM25, or against the untuned model in the same mode."""
    words: Counter = Counter()
    for row in its:
        same = [r for r in rows if (r["collection"], r["depth"]) == (row["collection"], row["depth"])]
        if column == "p_vs_bm25":
            other = _find(same, lambda r: r["system"] == "bm25")
        else:
            other = _find(same, lambda r, row=row: "untuned" in r["system"] and r["mode"] == row["mode"])
        if other is not None:
            words[judged(table, row, other, column, judge)] += 1
    return words


_WRITERS = {"inters": inters, "udapdr": udapdr, "limrank": limrank}


def paragraph(paper: str, tables: Tables, judge: Judge) -> tuple[str, str]:
    """Return the first sentence (the verdict) and the rest of the paragraph that opens a paper's part of the report."""
    first, *rest = _WRITERS[paper](tables, judge) or ["No result yet."]
    return first, " ".join([*rest, signs_sentence(tables)])
