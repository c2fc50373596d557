"""Stage ``report.html``: one offline file with figures, verdicts, tables, costs and where every number comes from."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.files import read_tsv, write_text
from searchtune.reporting.captions import OPENING, OPENING_TABLE, caption_of, figure_of, order_of
from searchtune.reporting.catalogue import PAPERS
from searchtune.reporting.comparing import Judge
from searchtune.reporting.layout import Sheet, footnote, long_sheet, wide_sheet
from searchtune.reporting.lineage import Step, ancestors, times, union, versions
from searchtune.reporting.numbers import show_time
from searchtune.reporting.reading import Loaded, Row, load_tables, tables_in, truth
from searchtune.reporting.summary import paragraph
from searchtune.stage import Job

TEMPLATES = Path(__file__).parents[2] / "report"
ITEM_COLUMNS = ("paper", "item", "what", "our_file", "why_none")


@dataclass(frozen=True)
class Picture:
    """A figure ready for the page: its bytes as a data URI."""

    title: str
    caption: str
    uri: str
    opening: bool


@dataclass(frozen=True)
class View:
    """A table ready for the page: short form (if it has one) and long form, and the anchor of its lineage."""

    anchor: str
    name: str
    short: Sheet | None
    long: Sheet
    main: bool


@dataclass(frozen=True)
class Part:
    """One paper's part of the page."""

    paper: str
    name: str
    verdict: str
    text: str
    figures: list[Picture]
    tables: list[View]


def as_list(value: Any) -> list[Path]:
    """Return an input of the job as a list of paths."""
    return value if isinstance(value, list) else [value]


def pictures(folders: list[Path], paper: str) -> list[Picture]:
    """Read a paper's svg files as data URIs, in the order of their captions."""
    files = [svg for folder in folders if paper in folder.parts for svg in folder.glob("*.svg")]
    found = []
    for svg in sorted(files, key=lambda file: order_of(paper, file.stem)):
        title, caption = caption_of(paper, svg.stem)
        data = base64.b64encode(svg.read_bytes()).decode()
        found.append(
            Picture(title, caption, f"data:image/svg+xml;base64,{data}", figure_of(paper, svg.stem) == OPENING[paper])
        )
    return found


def items_not_run(items: Path, results: Path, papers: list[str]) -> list[Row]:
    """Return the papers' tables and figures that have no file here, each with the reason."""
    missing = []
    for row in read_items(items):
        if row["our_file"] and row["paper"] in papers and (results / row["our_file"]).exists():
            continue
        reason = row["why_none"]
        if row["our_file"]:
            chosen = "" if row["paper"] in papers else ": the paper is not chosen"
            reason = f"{row['our_file']} is not made in this run{chosen}"
        missing.append({"paper": PAPERS[row["paper"]], "item": row["item"], "what": row["what"], "why": reason})
    return missing


def read_items(path: Path) -> list[Row]:
    """Read items.tsv; DataError for a wrong header, an unknown paper, or a row with neither file nor reason."""
    rows = read_tsv(path)
    for number, row in enumerate(rows, 2):
        if tuple(row) != ITEM_COLUMNS:
            raise DataError(f"{path}: the header is {list(row)}, expected {list(ITEM_COLUMNS)}")
        if row["paper"] not in PAPERS:
            raise DataError(f"{path}, line {number}: unknown paper {row['paper']!r}; known: {', '.join(PAPERS)}")
        if not row["our_file"] and not row["why_none"]:
            raise DataError(f"{path}, line {number}: item {row['item']!r} has neither our_file nor why_none")
    return rows


def _view(table: Loaded, judge: Judge) -> View:
    short = wide_sheet(table, judge) if table.rows else None
    return View(
        f"lineage-{table.spec.paper}-{table.spec.name}",
        table.spec.name,
        short,
        long_sheet(table, judge),
        table.spec.main,
    )


def _lineage(table: Loaded) -> dict[str, Any]:
    """Return what a table was made from, grouped by kind; the table's own step first."""
    steps = ancestors([table.path])
    own = next(iter(steps.values()))
    kinds: dict[str, list[Step]] = {}
    for step in list(steps.values())[1:]:
        kinds.setdefault(step.kind, []).append(step)
    order = ("run", "model", "data", "result", "source")
    return {
        "anchor": f"lineage-{table.spec.paper}-{table.spec.name}",
        "table": table,
        "own": own,
        "kinds": [(kind, sorted(kinds[kind], key=lambda s: s.path)) for kind in order if kind in kinds],
    }


def check_opening(paper: str, tables: dict[str, Loaded], given: list[Path]) -> None:
    """Raise DataError if the table that a paper's part opens with is not there."""
    if OPENING_TABLE[paper] not in tables:
        places = ", ".join(str(path) for path in given if paper in path.parts) or "no folder"
        found = ", ".join(path.name for path in tables_in([p for p in given if paper in p.parts])) or "no table"
        raise DataError(
            f"{places}: {OPENING_TABLE[paper]}.tsv is missing, found {found}; run the target {paper!r} again"
        )


def context(job: Job) -> dict[str, Any]:
    """Collect everything that the page shows. Params: scale, seeds, papers, results, config."""
    params, given = job.params, as_list(job.inputs["tables"])
    by_paper = {paper: load_tables([path for path in given if paper in path.parts]) for paper in params["papers"]}
    for paper, tables in by_paper.items():
        check_opening(paper, tables, given)
    loaded = [table for tables in by_paper.values() for table in tables.values()]
    judge = Judge.of(loaded, len(params["seeds"]))
    folders = as_list(job.inputs["figures"])
    parts = [
        Part(
            paper,
            PAPERS[paper],
            *paragraph(paper, tables, judge),
            pictures(folders, paper),
            [_view(table, judge) for name, table in tables.items() if name not in ("signs", "parse_failures")],
        )
        for paper, tables in by_paper.items()
    ]
    steps = ancestors([*given, *folders])
    return {
        "params": params,
        "parts": parts,
        "note": footnote(judge, loaded),
        "judge": judge,
        "signs": _stacked(by_paper, "signs"),
        "failures": _stacked(by_paper, "parse_failures"),
        "missing": items_not_run(job.inputs["inventory"], Path(params["results"]), params["papers"]),
        "audit": read_tsv(job.inputs["audit"]) if "audit" in job.inputs else [],
        "times": times(steps),
        "versions": versions(steps),
        "licences": union(steps, "licences"),
        "canary": union(steps, "canary"),
        "lineage": [_lineage(table) for table in loaded],
        "marked_models": sorted(s.path for s in steps.values() if s.kind == "model" and s.canary),
    }


def _stacked(by_paper: dict[str, dict[str, Loaded]], name: str) -> list[Row]:
    return [
        {"paper": PAPERS[paper]} | row
        for paper, tables in by_paper.items()
        if name in tables
        for row in tables[name].rows
    ]


def brief(text: str) -> str:
    """Return a cell with its number in three significant digits; other text as it is."""
    try:
        return f"{float(text):.3g}" if "." in text else text
    except ValueError:
        return text


def render(values: dict[str, Any]) -> str:
    """Fill the page's template; autoescape is on, styles and script are read from beside it."""
    import yaml
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": show_time,
        "truth": truth,
        "short": lambda text: text[:12] or "not recorded",
        "brief": brief,
        "yaml": lambda value: yaml.safe_dump(value, sort_keys=False, allow_unicode=True),
    }
    assets = {
        "style": (TEMPLATES / "report.css").read_text(encoding="utf-8"),
        "script": (TEMPLATES / "report.js").read_text(encoding="utf-8"),
    }
    return environment.get_template("report.html.j2").render(**values, **assets)


def run(job: Job) -> dict:
    """Write the report.

    Inputs: ``tables`` and ``figures`` (folders or files below ``<paper>/``), ``inventory`` (items.tsv),
    ``audit`` (leakage table, optional).
    Params: scale, seeds, papers, results (folder that our_file is relative to), seen (by model), config (as used).
    Output ``report``: the html file.
    """
    values = context(job)
    write_text(job.outputs["report"], render(values))
    signs = values["signs"]
    return {
        "papers": len(values["parts"]),
        "comparisons": values["judge"].comparisons,
        "not_run": len(values["missing"]),
        "signs": len(signs),
        "signs_passed": sum(truth(row["passed"]) for row in signs),
    }
