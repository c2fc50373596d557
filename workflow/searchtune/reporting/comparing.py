"""Which differences a table supports: Holm over all its p-values, and when a best value may be bold."""

from collections.abc import Iterable
from dataclasses import dataclass

from searchtune.evaluation.significance import holm
from searchtune.evaluation.udapdr import UNADAPTED
from searchtune.reporting.catalogue import LESS_IS_BETTER
from searchtune.reporting.reading import Loaded, Row, number

ALPHA = 0.05
# one comparison of the report: paper, table, row number, p-value column
Key = tuple[str, str, int, str]
# what was tested: paper, table and group, and the two sides
Test = tuple[tuple[str, ...], tuple]
ONE_SEED = "one seed"


def is_p(column: str) -> bool:
    """Say whether a column holds p-values of paired tests."""
    return column == "p_value" or column.startswith("p_vs_")


def comparator_of(table: Loaded, index: int, column: str) -> Row | None:
    """Return the row that a row's p-value compares it with, None if the table does not hold it.

    ``p_value``: the system named under baseline. ``p_vs_best_unadapted``: the unadapted system with the
    highest value. ``p_vs_reranked``, ``p_vs_untuned``: the system so named, in the same mode if it has
    modes. ``p_vs_<system>``: that system.
    """
    row = table.rows[index]
    same = [table.rows[i] for i in groups(table)[group_of(table, row)]]
    if column == "p_value":
        wanted = [r for r in same if r[table.spec.system] == row["baseline"]]
    elif column == "p_vs_best_unadapted":
        wanted = sorted((r for r in same if r["system"] in UNADAPTED), key=lambda r: -(number(r, "value") or 0.0))
    else:
        name = column.removeprefix("p_vs_")
        wanted = [r for r in same if r["system"] == name] or [r for r in same if name in r["system"]]
        wanted.sort(key=lambda r: r.get("mode") != row.get("mode"))
    return next((r for r in wanted if r is not row), None)


def _test_of(table: Loaded, index: int, column: str) -> Test:
    """Name the test behind a p-value: a difference has no direction, so one test may stand in two rows or columns."""
    row, other = table.rows[index], comparator_of(table, index, column)
    sides = [(r[table.spec.system], r.get("mode", "")) for r in (row, other) if r is not None]
    place = (table.spec.paper, table.spec.name, *group_of(table, row))
    return place, tuple(sorted(sides)) if other is not None else (str(index), column)


def _measured(table: Loaded, index: int, column: str) -> tuple[str, ...] | None:
    """Return what a test has in every table that shows it: test set, metric, n, both values and p; None without both.

    An ablation's table repeats rows of the main one under other labels (INTERS' untuned and full model).
    """
    row, other = table.rows[index], comparator_of(table, index, column)
    if other is None:
        return None
    place = (row.get(name, "") for name in ("collection", "task", "dataset", "mode", "metric", "n"))
    return (table.spec.paper, *place, *sorted((row["value"], other["value"])), row[column])


def p_values(tables: Iterable[Loaded]) -> dict[Key, tuple[Test, float]]:
    """Return every p-value of the tables with the test that it belongs to, keyed by where it stands."""
    found: dict[Key, tuple[Test, float]] = {}
    first: dict[tuple[str, ...], Test] = {}
    for table in tables:
        for index, row in enumerate(table.rows):
            for column in filter(is_p, table.columns):
                if (value := number(row, column, table.path)) is None:
                    continue
                test, measured = _test_of(table, index, column), _measured(table, index, column)
                known = first.setdefault(measured, test) if measured else test
                # within a table the names of both sides tell tests apart
                test = known if known[0][:2] != test[0][:2] else test
                found[(table.spec.paper, table.spec.name, index, column)] = (test, value)
    return found


@dataclass(frozen=True)
class Judge:
    """The adjusted p-values of a set of tables, and the number of seeds behind them."""

    p: dict[Key, float]
    seeds: int
    comparisons: int

    @classmethod
    def of(cls, tables: Iterable[Loaded], seeds: int) -> "Judge":
        """Adjust over all comparisons of ``tables``, each test counted once (rules of evidence, 10)."""
        raw = p_values(tables)
        # where a test stands twice with two values the larger one counts
        tests = {test: max(p for t, p in raw.values() if t == test) for test, _ in raw.values()}
        adjusted = holm(tests)
        return cls({key: adjusted[test] for key, (test, _) in raw.items()}, seeds, len(tests))

    def p_of(self, table: Loaded, index: int, column: str) -> float | None:
        """Return the adjusted p-value of a row's column, None if the row has none."""
        return self.p.get((table.spec.paper, table.spec.name, index, column))

    def note(self) -> str:
        """Return ``one seed`` (or how many) while there are fewer than three seeds behind the tables, else nothing."""
        return "" if self.seeds >= 3 else ONE_SEED if self.seeds == 1 else f"{self.seeds} seeds"


def group_of(table: Loaded, row: Row) -> tuple[str, ...]:
    """Return the values that make a row comparable with others."""
    return tuple(row[column] for column in table.spec.group)


def groups(table: Loaded) -> dict[tuple[str, ...], list[int]]:
    """Return the row numbers of every group of comparable rows."""
    found: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(table.rows):
        found.setdefault(group_of(table, row), []).append(index)
    return found


def best_rows(table: Loaded, judge: Judge) -> set[int]:
    """Return the rows whose value is the best of its group and is shown to be.

    Shown means: against every other system of the group, either the two intervals are apart, or the
    row's paired test against that very system is significant after Holm.
    """
    if not table.spec.group:
        return set()
    winners = (_winner(table, rows, judge) for rows in groups(table).values())
    return {row for row in winners if row is not None}


def _winner(table: Loaded, indices: list[int], judge: Judge) -> int | None:
    scored = [(number(table.rows[i], "value", table.path), i) for i in indices]
    ranked = [(value, i) for value, i in scored if value is not None]
    if len(ranked) < 2:
        return None
    sign = -1 if table.rows[indices[0]].get("metric") in LESS_IS_BETTER else 1
    ranked.sort(key=lambda pair: -sign * pair[0])
    best = ranked[0][1]
    shown = all(_apart(table.rows[best], table.rows[i], sign) or _tested(table, best, i, judge) for _, i in ranked[1:])
    return best if shown else None


def _apart(best: Row, other: Row, sign: int) -> bool:
    """Say whether the interval of the best row lies wholly on the better side of the other's."""
    mine, its = ("ci_low", "ci_high") if sign > 0 else ("ci_high", "ci_low")
    near, far = number(best, mine), number(other, its)
    return near is not None and far is not None and sign * (near - far) > 0


def _tested(table: Loaded, best: int, other: int, judge: Judge) -> bool:
    """Say whether a significant paired test of the best row is against the other row."""
    for column in filter(is_p, table.columns):
        p = judge.p_of(table, best, column)
        if p is not None and p < ALPHA and comparator_of(table, best, column) is table.rows[other]:
            return True
    return False
