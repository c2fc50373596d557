"""Write a sheet as Markdown, LaTeX (booktabs) or HTML, with everything escaped."""

import re
from html import escape

from searchtune.reporting.layout import Cell, Sheet

_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": r"\ensuremath{-}",
    "\u202f": r"\,",
    "·": r"\textperiodcentered{}",
    "–": "--",
}


def escape_tex(text: str) -> str:
    """Return ``text`` so that LaTeX prints it as it stands."""
    return "".join(_TEX.get(character, character) for character in text)


def escape_markdown(text: str) -> str:
    """Return ``text`` so that a Markdown table prints it as it stands, in one cell."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", text)


def to_markdown(sheet: Sheet, note: str) -> str:
    """Return a GitHub-flavoured Markdown table with its title, caption and footnote."""

    def cell(item: Cell) -> str:
        """Return a cell, the best one bold."""
        text = escape_markdown(item.text)
        return f"**{text}**" if item.bold else text

    lines = [f"**{escape_markdown(sheet.title)}.** {escape_markdown(sheet.caption)}", ""]
    lines += [
        "| " + " | ".join(map(escape_markdown, sheet.header)) + " |",
        "|" + "|".join("---:" if numeric else "---" for numeric in _numeric(sheet)) + "|",
    ]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in sheet.rows] or ["", "No rows."]
    return "\n".join([*lines, "", escape_markdown(note)]) + "\n"


def to_tex(sheet: Sheet, note: str) -> str:
    """Return a LaTeX table environment that needs the package booktabs."""

    def cell(item: Cell) -> str:
        """Return a cell, the best one bold."""
        text = escape_tex(item.text)
        return rf"\textbf{{{text}}}" if item.bold else text

    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\small",
        rf"\caption{{{escape_tex(f'{sheet.title}. {sheet.caption}')}}}",
        rf"\begin{{tabular}}{{{''.join('r' if numeric else 'l' for numeric in _numeric(sheet))}}}",
        r"\toprule",
        " & ".join(map(escape_tex, sheet.header)) + r" \\",
        r"\midrule",
    ]
    lines += [" & ".join(map(cell, row)) + r" \\" for row in sheet.rows]
    lines += [r"\bottomrule", r"\end{tabular}", "", rf"{{\footnotesize {escape_tex(note)}\par}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def to_html(sheet: Sheet, note: str) -> str:
    """Return an HTML fragment: a table with a caption; ``data-sort`` holds the unrounded number."""

    def cell(item: Cell) -> str:
        """Return a cell that sorts by its unrounded number."""
        text = escape(item.text)
        attributes = f' data-sort="{escape(item.sort)}"' + (' class="number"' if item.numeric else "")
        return f"<td{attributes}>{f'<strong>{text}</strong>' if item.bold else text}</td>"

    heads = "".join(
        f'<th scope="col"{" class=number" if numeric else ""}>{escape(text)}</th>'
        for text, numeric in zip(sheet.header, _numeric(sheet), strict=True)
    )
    rows = "\n".join("<tr>" + "".join(map(cell, row)) + "</tr>" for row in sheet.rows)
    return (
        f"<table>\n<caption>{escape(sheet.title)}. {escape(sheet.caption)}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n<p>{escape(note)}</p>\n"
    )


def _numeric(sheet: Sheet) -> list[bool]:
    """Say for every column whether its cells are numbers."""
    return [any(row[i].numeric for row in sheet.rows) for i in range(len(sheet.header))]
