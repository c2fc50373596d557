"""Stage ``report.tables``: the tables of one paper as Markdown, LaTeX and HTML, rounded for reading."""

from searchtune.files import write_text
from searchtune.reporting.comparing import Judge
from searchtune.reporting.layout import footnote, sheets
from searchtune.reporting.reading import load_tables
from searchtune.reporting.writers import to_html, to_markdown, to_tex
from searchtune.stage import Job

_WRITERS = {".md": to_markdown, ".tex": to_tex, ".html": to_html}


def run(job: Job) -> dict:
    """Render every table of ``job.inputs['tables']`` (tsv files or folders of one paper).

    Params: ``seeds`` (number of seeds behind the numbers). Output ``rendered``: a folder with
    ``<table>.{md,tex,html}`` and, where systems can stand side by side, ``<table>_wide.*``.
    """
    given = job.inputs["tables"]
    tables = load_tables(given if isinstance(given, list) else [given])
    judge = Judge.of(tables.values(), job.params["seeds"])
    note = footnote(judge, list(tables.values()))
    written = 0
    for table in tables.values():
        for stem, sheet in sheets(table, judge).items():
            for ending, writer in _WRITERS.items():
                write_text(job.outputs["rendered"] / f"{stem}{ending}", writer(sheet, note))
                written += 1
    return {"tables": len(tables), "files": written, "comparisons": judge.comparisons}
