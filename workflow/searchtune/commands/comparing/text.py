"""The comparison of two runs in words, for the eye."""

from collections.abc import Mapping
from typing import Any

from searchtune.commands.planning.text import table

SHOWN, WIDE = 12, 60


def _cut(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"


def _more(lines: list[str], number: int, limit: int) -> list[str]:
    left = number - limit
    return [*lines, f"  and {left} more (--json and --all have them)"] if left > 0 else lines


def _making(result: Mapping[str, Any], limit: int) -> list[str]:
    lines = []
    for kind, rows in result["making"].items():
        if not rows:
            lines.append(f"{kind}: the same")
            continue
        alone = sum(row["a"] is None or row["b"] is None for row in rows)
        lines.append(f"{kind}: {len(rows) - alone} differ" + (f", {alone} are in one run only" if alone else ""))
        lines += _more(
            [f"  {row['key']}: {_cut(row['a'])} | {_cut(row['b'])}" for row in rows[:limit]], len(rows), limit
        )
    return lines


def _tables(result: Mapping[str, Any], limit: int) -> list[str]:
    lines = [f"table in {side} only: {name}" for side in ("a", "b") for name in result[f"tables_only_{side}"]]
    same = [one["table"] for one in result["tables"] if one["equal"]]
    if same:
        lines.append(f"equal in every cell: {', '.join(same)}")
    for one in result["tables"]:
        if one["equal"]:
            continue
        cells, times = one["different"], " (times: not part of the verdict)" if one["times"] else ""
        lines.append(f"{one['table']}{times}: {len(cells)} cells differ, {one['equal_cells']} are equal")
        for side in ("a", "b"):
            rows = one[f"rows_only_{side}"]
            lines += [f"  {len(rows)} rows in {side} only: {_cut('; '.join(rows))}"] if rows else []
        body = [["  row", "column", "a", "b"]]
        body += [[f"  {_cut(cell['row'])}", cell["column"], _cut(cell["a"]), _cut(cell["b"])] for cell in cells[:limit]]
        lines += _more(table(body), len(cells), limit) if cells else []
    return lines


def _tests(result: Mapping[str, Any], limit: int) -> list[str]:
    tests = sorted(result["tests"], key=lambda test: (test["p_holm"], test["p_value"]))
    equal = sum(test["verdict"] == "equal" for test in tests)
    lines = [
        f"paired tests (b minus a): {len(tests)}, of these {equal} equal on every query; Holm over all {len(tests)}"
    ]
    seeds = [result["seeds_a"], result["seeds_b"]]
    if any(seeds):
        named = [", ".join(given) or "none" for given in seeds]
        told = f"seeds: a {named[0]}; b {named[1]}; a value is the mean over them"
        few = seeds[0] != seeds[1] and min(map(len, seeds)) < 2
        lines.append(told + (" (one seed alone: what differs may be the seed's doing)" if few else ""))
    body = [["  what", "n", "a", "b", "difference", "95% interval", "p", "p (Holm)", "verdict"]]
    rest = [test for test in tests if test["verdict"] != "equal"]
    for test in rest[:limit]:
        figures = [f"{test[name]:.4f}" for name in ("mean_a", "mean_b", "difference")]
        interval = f"{test['ci_low']:.4f} to {test['ci_high']:.4f}"
        p = [f"{test[name]:.4g}" for name in ("p_value", "p_holm")]
        body.append([f"  {test['what']}", str(test["n"]), *figures, interval, *p, test["verdict"]])
    lines += _more(table(body), len(rest), limit) if rest else []
    for side in ("a", "b"):
        if only := result[f"scored_only_{side}"]:
            lines.append(f"scored in {side} only: {_cut('; '.join(only))} ({len(only)})")
    partly = sum(bool(test["queries_only_a"] or test["queries_only_b"]) for test in tests)
    lines += [f"{partly} tests leave out queries that one run alone has"] if partly else []
    lines += (
        [f"fewer than two shared queries, not tested: {_cut('; '.join(result['too_few']))}"]
        if result["too_few"]
        else []
    )
    return lines


def as_text(result: Mapping[str, Any], every: bool = False) -> str:
    """Return the comparison in words; ``every`` leaves nothing out."""
    limit = 10**9 if every else SHOWN
    verdict = "equal: every number but times" if result["equal"] else "the runs differ"
    return "\n".join(
        [
            f"a: {result['a']}",
            f"b: {result['b']}",
            "",
            *_making(result, limit),
            "",
            *_tables(result, limit),
            "",
            *_tests(result, limit),
            "",
            verdict,
        ]
    )
