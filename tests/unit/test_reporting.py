"""Tables, verdicts and the report page, on made-up tables."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers import ROOT
from report_project import ITEMS, RESULTS, make_results, report_job

from searchtune.errors import ConfigError, DataError
from searchtune.files import read_tsv, write_tsv
from searchtune.reporting import html, tables
from searchtune.reporting.arguments import offer_programs, report_args
from searchtune.reporting.captions import caption_of, figure_of
from searchtune.reporting.catalogue import PAPERS, TABLES
from searchtune.reporting.comparing import Judge, best_rows, comparator_of
from searchtune.reporting.layout import Cell, Sheet, footnote, long_sheet, wide_sheet
from searchtune.reporting.lineage import ancestors, times, union, versions
from searchtune.reporting.numbers import digits_for, show, show_count, show_interval, show_p, show_time
from searchtune.reporting.reading import load_table, load_tables, paper_of
from searchtune.reporting.summary import paragraph, signs_sentence
from searchtune.reporting.writers import to_html, to_markdown, to_tex
from searchtune.stage import Job, run_job

QUALITY = list(TABLES["udapdr", "quality"].required)


def quality_table(folder: Path, rows: list[dict]) -> Path:
    path = folder / "udapdr" / "tables" / "quality.tsv"
    write_tsv(path, QUALITY, rows)
    return path


def row(system: str, value: float, half: float, **more: float) -> dict:
    base = {"collection": "amazon", "system": system, "metric": "nDCG@10", "value": value, "n": 100}
    return base | {"ci_low": value - half, "ci_high": value + half} | more


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (show(-0.0004, 3), "0.000"),
        (show(-1.25, 1), "−1.2"),
        (show(None), "–"),
        (show(float("nan")), "not a number"),
        (show_interval(0.4411, 0.4, 0.4849), "0.441 [0.400, 0.485]"),
        (show_interval(0.4411, None, None), "0.441"),
        (show_p(0.00009), "<0.001"),
        (show_p(0.0456), "0.046"),
        (show_p(0.5), "0.50"),
        (show_p(None), "–"),
        (show_count(1234567), "1\u202f234\u202f567"),
        (show_time(3.21), "3.2 s"),
        (show_time(600), "10.0 min"),
        (show_time(9000), "2.5 h"),
    ],
)
def test_numbers_are_rounded_for_reading(shown, expected):
    assert shown == expected


def test_decimals_follow_the_size_of_the_numbers():
    assert [digits_for([0.4, 1.0]), digits_for([-3.1, 62.0]), digits_for([5000.0]), digits_for([])] == [3, 1, 0, 3]


def test_best_is_bold_only_where_every_other_interval_is_apart(tmp_path):
    path = quality_table(tmp_path, [row("bm25", 0.40, 0.02), row("student", 0.50, 0.02), row("dense", 0.30, 0.02)])
    table = load_table(path)
    assert best_rows(table, Judge.of([table], 1)) == {1}
    touching = load_table(quality_table(tmp_path, [row("bm25", 0.40, 0.06), row("student", 0.50, 0.06)]))
    assert best_rows(touching, Judge.of([touching], 1)) == set()


def test_best_is_bold_by_a_paired_test_only_after_holm_and_only_against_the_system_tested(tmp_path):
    rows = [row("bm25", 0.40, 0.06), row("student", 0.50, 0.06, p_vs_bm25=0.03)]
    table = load_table(quality_table(tmp_path, rows))
    assert best_rows(table, Judge.of([table], 1)) == {1}
    # a second comparison makes 0.03 an adjusted 0.06
    more = load_table(quality_table(tmp_path, [*rows, row("dense", 0.20, 0.06, p_vs_bm25=0.9)]))
    assert best_rows(more, Judge.of([more], 1)) == set()
    # tested against BM25, but the runner-up is another system whose interval overlaps
    other = load_table(quality_table(tmp_path, [*rows, row("reranked", 0.48, 0.06)]))
    assert best_rows(other, Judge.of([other], 1)) == set()


def test_one_test_that_stands_in_two_places_is_counted_once(tmp_path):
    # BM25 is the best unadapted system, and the same test is written in both rows
    rows = [row("bm25", 0.4, 0.06, p_vs_reranked=0.02), row("bm25_reranked", 0.5, 0.06, p_vs_bm25=0.02)]
    rows[1]["p_vs_best_unadapted"] = 0.02
    table = load_table(quality_table(tmp_path, rows))
    judge = Judge.of([table], 1)
    assert judge.comparisons == 1 and set(judge.p.values()) == {0.02} and len(judge.p) == 3
    assert comparator_of(table, 1, "p_vs_best_unadapted") is table.rows[0]
    assert comparator_of(table, 0, "p_vs_reranked") is table.rows[1]


def test_one_test_that_stands_in_two_tables_is_counted_once(tmp_path):
    """An ablation's table repeats the untuned and the full model of the main one under other labels."""
    place = {"base_model": "m", "category": "c", "task": "t", "dataset": "d", "metric": "F1", "ci_low": 0, "ci_high": 1}
    both = [("untuned zero-shot", 0.1, 9, "", ""), ("tuned", 0.2, 9, "untuned zero-shot", 0.01)]
    main = [place | dict(zip(("system", "value", "n", "baseline", "p_value"), row, strict=True)) for row in both]
    for row_ in main:
        row_["tuned"] = row_["system"] == "tuned"
    names = {"untuned zero-shot": "untuned", "tuned": "full"}
    rest = {
        "prompts": "same",
        "scope": "trained",
        "train_tokens": 1,
        "steps": 1,
        "instructions": 1,
        "supervised_tokens": 1,
    }
    again = [r | rest | {"system": names[r["system"]], "baseline": names.get(r["baseline"], "")} for r in main]
    again[0] |= {"baseline": "full", "p_value": 0.01, "baseline_value": 0.2}
    again[1] |= {"baseline": "", "p_value": "", "baseline_value": ""}
    tables = []
    for name, rows in (("in_domain", main), ("ablation_task_variety", again)):
        path = tmp_path / f"inters/tables/{name}.tsv"
        columns = list(read_tsv(RESULTS / f"inters/tables/{name}.tsv")[0])
        write_tsv(path, columns, [{c: r.get(c) for c in columns} for r in rows])
        tables.append(load_table(path))
    assert Judge.of(tables, 1).comparisons == 1 and set(Judge.of(tables, 1).p.values()) == {0.01}
    # another n is another test
    write_tsv(path, columns, [{c: r.get(c) for c in columns} | {"n": 8} for r in again])
    assert Judge.of([tables[0], load_table(path)], 1).comparisons == 2


def test_a_group_of_one_has_no_best(tmp_path):
    table = load_table(quality_table(tmp_path, [row("bm25", 0.4, 0.01)]))
    assert best_rows(table, Judge.of([table], 1)) == set()


def test_long_form_merges_the_interval_and_shows_adjusted_p(tmp_path):
    rows = [row("bm25", 0.4, 0.06), row("student", 0.5, 0.06, p_vs_bm25=0.03, p_vs_reranked=0.5)]
    table = load_table(quality_table(tmp_path, rows))
    sheet = long_sheet(table, Judge.of([table], 1))
    assert sheet.header[:5] == ["collection", "system", "metric", "value [95% interval]", "n"]
    assert sheet.rows[1][3] == Cell("0.500 [0.440, 0.560]", "0.5", True, False)
    assert [cell.text for cell in sheet.rows[1][5:]] == ["0.060", "–", "0.50"]


def test_p_values_over_limranks_part_are_headed_so():
    # the other papers' comparisons are in no family with them
    named = {key for key, spec in TABLES.items() if "p_holm" in (*spec.required, *spec.optional)}
    assert named == {("limrank", "rag_tests"), ("limrank", "verdicts")}
    table = load_table(RESULTS / "limrank/tables/rag_tests.tsv")
    header = long_sheet(table, Judge.of([table], 1)).header
    assert "p (Holm, LimRank's comparisons)" in header and "p (Holm, all comparisons)" not in header


def test_short_form_puts_metrics_side_by_side(tmp_path):
    rows = [row("bm25", 0.4, 0.06), row("bm25", 0.5, 0.06) | {"metric": "Success@5"}, row("student", 0.45, 0.06)]
    table = load_table(quality_table(tmp_path, rows))
    sheet = wide_sheet(table, Judge.of([table], 1))
    assert sheet is not None and sheet.header == ["system", "amazon · nDCG@10", "amazon · Success@5"]
    assert [cell.text for cell in sheet.rows[1]] == ["student", "0.450 [0.390, 0.510]", "–"]


def test_two_rows_for_one_cell_are_refused(tmp_path):
    table = load_table(quality_table(tmp_path, [row("bm25", 0.4, 0.06), row("bm25", 0.5, 0.06)]))
    with pytest.raises(DataError, match=r"quality.tsv: two rows for .*bm25.*stands once"):
        wide_sheet(table, Judge.of([table], 1))


def test_everything_is_escaped():
    sheet = Sheet("A & B_1", "100% <b>", ["x|y", "$z"], [[Cell("<script>*|\\"), Cell("1", "1", True, True)]])
    page, text, tex = (write(sheet, "p < 0.05") for write in (to_html, to_markdown, to_tex))
    assert "<script>" not in page and "&lt;script&gt;*|\\" in page and "<strong>1</strong>" in page
    assert r"\<script\>\*\|\\" in text and "| **1** |" in text and r"x\|y" in text
    assert r"A \& B\_1. 100\% \textless{}b\textgreater{}" in tex and r"\textbf{1}" in tex and r"\$z" in tex
    assert r"\textbackslash{}" in tex and r"\begin{tabular}{lr}" in tex


def test_an_empty_table_is_written_as_such():
    sheet = Sheet("Failures", "None.", ["step"], [])
    assert "No rows." in to_markdown(sheet, "") and r"\midrule" in to_tex(sheet, "")


def test_missing_unknown_and_repeated_columns_name_file_and_column(tmp_path):
    path = tmp_path / "udapdr" / "tables" / "latency.tsv"
    write_tsv(path, ["system", "depth", "batch", "p50_ms", "n"], [])
    with pytest.raises(DataError, match=r"latency\.tsv: column 'p95_ms' is missing; the header is: system depth"):
        load_table(path)
    write_tsv(path, ["system", "depth", "batch", "p50_ms", "p95_ms", "n", "p90_ms"], [])
    with pytest.raises(DataError, match=r"latency\.tsv: unknown column 'p90_ms'; did you mean 'p\d\d_ms'"):
        load_table(path)
    write_tsv(path, ["system", "depth", "batch", "p50_ms", "p95_ms", "n", "n"], [])
    with pytest.raises(DataError, match="column 'n' stands twice"):
        load_table(path)


def test_unknown_tables_papers_and_cells_are_refused(tmp_path):
    with pytest.raises(DataError, match="UDAPDR has no table 'qualty'; did you mean 'quality'"):
        load_tables([tmp_path / "udapdr" / "qualty.tsv"])
    with pytest.raises(DataError, match="no folder of this path names a paper"):
        paper_of(Path("results/demo/tables/quality.tsv"))
    table = load_table(quality_table(tmp_path, [row("bm25", 0.4, 0.06), row("student", 0.5, 0.06, p_vs_bm25="low")]))
    with pytest.raises(DataError, match=r"quality\.tsv: column 'p_vs_bm25' holds 'low', expected a number"):
        Judge.of([table], 1)


def test_stage_writes_each_table_three_times(tmp_path):
    for paper in PAPERS:
        out = tmp_path / paper
        job = Job("report.tables", {"tables": RESULTS / paper / "tables"}, {"rendered": out}, {"seeds": 1})
        counts = tables.run(job)
        names = {path.stem for path in (RESULTS / paper / "tables").glob("*.tsv")}
        assert {path.stem for path in out.glob("*.md")} >= names and counts["tables"] == len(names)
        assert len(list(out.iterdir())) == counts["files"]


def test_footnote_speaks_of_one_seed_below_three_seeds():
    loaded = list(load_tables([RESULTS / "limrank" / "tables"]).values())
    assert "rests on one seed" in footnote(Judge.of(loaded, 1), loaded)
    assert "rests on 2 seeds" in footnote(Judge.of(loaded, 2), loaded)
    assert "rests on" not in footnote(Judge.of(loaded, 3), loaded)


def test_paragraphs_follow_the_tests_not_the_values():
    loaded = load_tables([RESULTS / "udapdr" / "tables"])
    verdict, text = paragraph("udapdr", loaded, Judge.of(loaded.values(), 1))
    # the student lies below both, but no test shows it
    assert verdict == (
        "Amazon: the adapted student against BM25, the best unadapted system: can't tell at this scale; "
        "against BM25 reranked: can't tell at this scale (one seed)."
    )
    assert "student 0.425 [0.386, 0.464]" in text and "One query takes 36 ms with the student and 290 ms" in text
    assert "1 of 3 signs of life failed (shuffled teachers hurt the student)" in text


def test_base_models_are_named_in_the_caption_as_what_they_are(tmp_path):
    path = tmp_path / "inters/tables/ablation_base_model.tsv"
    notes = {"tiny-lm": "random weights", "tiny-lm-2": "1 layer of tiny-lm, healed on 900 tokens"}
    rows = read_tsv(RESULTS / "inters/tables/ablation_base_model.tsv")
    write_tsv(path, [*rows[0], "note"], [r | {"note": notes[r["base_model"]]} for r in rows])
    table = load_table(path)
    for sheet in (long_sheet(table, Judge.of([table], 1)), wide_sheet(table, Judge.of([table], 1))):
        assert sheet.caption.endswith("tiny-lm: random weights. tiny-lm-2: 1 layer of tiny-lm, healed on 900 tokens.")
        assert "note" not in sheet.header
    bare = load_table(RESULTS / "inters/tables/ablation_base_model.tsv")
    assert long_sheet(bare, Judge.of([bare], 1)).caption == bare.spec.caption


def test_a_significant_difference_has_its_direction(tmp_path):
    rows = [row("bm25", 0.5, 0.01), row("student_adapted", 0.4, 0.01, p_vs_bm25=0.001, p_vs_best_unadapted=0.001)]
    loaded = {"quality": load_table(quality_table(tmp_path, rows))}
    verdict, _ = paragraph("udapdr", loaded, Judge.of(loaded.values(), 1))
    assert verdict == "Amazon: the adapted student against BM25, the best unadapted system: worse (one seed)."


def test_inters_counts_verdicts_over_test_sets():
    loaded = load_tables([RESULTS / "inters" / "tables"])
    verdict, text = paragraph("inters", loaded, Judge.of(loaded.values(), 3))
    assert verdict == (
        "Tuned against untuned zero-shot: better on 8 of 11 test sets, worse on 0; on 3 we can't tell at this scale."
    )
    assert "A baseline without a language model has the higher value on 1 of 11 test sets." in text


def test_limrank_says_when_nothing_can_be_told():
    loaded = load_tables([RESULTS / "limrank" / "tables"])
    verdict, _ = paragraph("limrank", loaded, Judge.of(loaded.values(), 1))
    assert verdict.count("on all 4 comparisons we can't tell at this scale") == 2 and verdict.endswith("(one seed).")


def test_no_table_is_no_result():
    judge = Judge.of([], 1)
    assert all(paragraph(paper, {}, judge) == ("No result yet.", signs_sentence({})) for paper in PAPERS)
    assert signs_sentence({}) == "No sign of life was checked."


def test_figure_files_have_captions():
    assert figure_of("udapdr", "quality_latency_amazon") == "quality_latency"
    assert caption_of("udapdr", "quality_nq_swapped")[0] == "Ranking quality: nq swapped"
    with pytest.raises(DataError, match="figure 'losses' of inters has no caption"):
        figure_of("inters", "losses")


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """A results folder with tables, figures and provenance, as the workflow leaves it, seen from its root."""
    monkeypatch.chdir(tmp_path)
    make_results()
    return tmp_path


class Page(HTMLParser):
    """Collects ids, addresses and unclosed elements of a page."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.addresses += [found[k] or "" for k in ("src", "href", "srcset") if k in found]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_is_one_offline_file(results):
    job = report_job()
    counts = html.run(job)
    text = job.outputs["report"].read_text()
    page = Page()
    page.feed(text)
    assert page.open == [] and len(page.ids) == len(set(page.ids))
    assert all(a.startswith(("#", "data:")) for a in page.addresses)
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)
    assert not re.search(r"https?://(?!www\.w3\.org)|url\(|@import", text)
    assert str(results) not in text and "/root" not in text and "/home" not in text
    assert "default-src 'none'" in text
    assert counts == {
        "papers": 3,
        "comparisons": counts["comparisons"],
        "not_run": counts["not_run"],
        "signs": 8,
        "signs_passed": 7,
    }


def test_report_shows_verdicts_signs_failures_times_and_lineage(results):
    job = report_job()
    html.run(job)
    text = job.outputs["report"].read_text()
    order = [
        text.index(f'id="{part}"')
        for part in (
            "inters",
            "udapdr",
            "limrank",
            "signs",
            "tables",
            "not-run",
            "failures",
            "times",
            "origins",
            "config",
            "lineage",
        )
    ]
    assert order == sorted(order)
    assert "can&#39;t tell at this scale (one seed)" in text and text.count("✗ fail") == 1
    assert "Apache-2.0 &amp; &lt;own&gt;" in text and "<own>" not in text
    assert "<code>bigbench</code>" in text and "<code>results/demo/limrank/models/tuned</code>" in text
    assert "predict/untuned zero-shot" in text and "train.sft" in text and "torch 2.13.0" in text
    assert 'href="#lineage-udapdr-quality"' in text and "resources/raw/x.json" in text and "cdcdcdcdcdcd" in text


def test_files_beside_the_tables_are_left_alone_but_the_main_table_is_needed(results):
    folder = Path("results/demo/udapdr/tables")
    write_tsv(folder / "per_query.tsv", ["query-id", "value"], [{"query-id": "q", "value": 1}])
    html.run(report_job())
    (folder / "quality.tsv").rename(folder / "qualty.tsv")
    with pytest.raises(
        DataError, match=r"udapdr/tables: quality.tsv is missing, found .*qualty.tsv.*; run the target 'udapdr' again"
    ):
        html.run(report_job())


def test_a_paper_that_was_not_chosen_is_named_under_not_run(results):
    job = report_job(papers=["udapdr"])
    html.run(job)
    text = job.outputs["report"].read_text()
    assert 'id="inters"' not in text and "inters/tables/in_domain.tsv is not made in this run: the paper" in text


def test_lineage_is_followed_to_the_sources(results):
    steps = ancestors([Path("results/demo/inters/tables/in_domain.tsv")])
    assert list(steps) == ["results/demo/inters/tables", "results/demo/inters/models/tuned", "resources/raw/x.json"]
    assert [step.kind for step in steps.values()] == ["result", "model", "source"]
    assert [(t.stage, t.jobs, t.seconds) for t in times(steps)] == [("inters.evaluate", 1, 2.0), ("train.sft", 1, 2.0)]
    assert union(steps, "canary") == ["bigbench"] and versions(steps) == {"torch": "2.13.0"}


def test_report_runs_as_a_stage_and_counts_signs(results):
    Path("config/expected").mkdir(parents=True)
    shutil.copy2(ITEMS, "config/expected/items.tsv")
    inputs = {kind: [f"results/demo/{p}/{kind}" for p in PAPERS] for kind in ("tables", "figures")}
    for paper in PAPERS:  # the made-up records hold no true hashes
        for kind in ("tables", "figures"):
            Path(f"results/demo/{paper}/{kind}.prov.json").unlink()
    stats = run_job(
        {
            "stage": "report.html",
            "inputs": inputs | {"inventory": "config/expected/items.tsv"},
            "outputs": {"report": "results/demo/report.html"},
            "params": report_job().params,
        }
    )
    assert stats["signs_passed"] == 7 and Path("results/demo/report.html.prov.json").is_file()


def test_items_have_a_file_that_a_rule_makes_or_a_reason():
    rules = (ROOT / "workflow/rules/report.smk").read_text()
    assert '"<results>/{paper}/figures"' in rules and '"<results>/{paper}/tables"' in rules
    rows = html.read_items(ITEMS)
    assert {item["paper"] for item in rows} == set(PAPERS)
    for item in rows:
        if not item["our_file"]:
            assert len(item["why_none"]) > 10, item
            continue
        assert not item["why_none"], item
        paper, kind, name = item["our_file"].split("/")
        assert paper == item["paper"], item
        if kind == "tables":
            assert (paper, name.removesuffix(".tsv")) in TABLES and name.endswith(".tsv"), item
        else:
            assert kind == "figures" and name.endswith(".svg") and figure_of(paper, name.removesuffix(".svg")), item


def test_items_without_file_and_reason_are_refused(tmp_path):
    path = tmp_path / "items.tsv"
    write_tsv(path, list(html.ITEM_COLUMNS), [{"paper": "inters", "item": "table 1", "what": "x"}])
    with pytest.raises(DataError, match=r"items.tsv, line 2: item 'table 1' has neither our_file nor why_none"):
        html.read_items(path)
    write_tsv(path, ["paper", "item"], [{"paper": "inters", "item": "table 1"}])
    with pytest.raises(DataError, match=r"the header is \['paper', 'item'\], expected"):
        html.read_items(path)


def test_fixture_tables_cover_the_catalogue():
    assert {(p.parts[-3], p.stem) for p in RESULTS.glob("*/tables/*.tsv")} == set(TABLES)
    assert all(read_tsv(path) for path in RESULTS.glob("*/tables/*.tsv"))


def test_arguments_leave_out_the_plan():
    config = {
        "scale": "ci",
        "name": "",
        "seeds": [1],
        "papers": ["inters"],
        "inters": {},
        "models": {},
        "plan": {"artefacts": []},
    }
    found = report_args(config)
    assert found["results"] == "results/ci" and "plan" not in found["config"]


def test_a_pruned_model_is_told_where_it_is_used():
    heal = {"tokens": 100, "max_length": 30}
    half = {"source": "pruned", "of": "m", "layers": 2, "heal": heal, "seen": "our texts"}
    config = {
        "scale": "ci",
        "name": "",
        "seeds": [1],
        "papers": ["inters"],
        "models": {"m": {"seen": "nothing"}, "half": half},
    }
    assert report_args(config | {"inters": {"base": "m"}})["seen"] == {"m": "nothing"}
    said = {"m": "nothing", "half": "2 layers of m, healed on 90 tokens of our texts; m: nothing"}
    assert report_args(config | {"inters": {"base": "m", "bases": ["half"]}})["seen"] == said


def test_programs_of_this_python_come_last_on_path(monkeypatch):
    import os
    import sys

    monkeypatch.setenv("PATH", "/first")
    offer_programs()
    offer_programs()
    assert os.environ["PATH"].split(os.pathsep) == ["/first", str(Path(sys.executable).parent)]


def test_unknown_paper_is_a_config_error():
    from searchtune.reporting.catalogue import tables_of

    with pytest.raises(ConfigError, match="unknown paper 'inter'; did you mean 'inters'"):
        tables_of("inter")


def test_notebooks_name_their_kernel_and_hold_no_output():
    import json

    for paper in PAPERS:
        notebook = json.loads((ROOT / "notebooks" / f"{paper}.ipynb").read_text())
        assert {"kernelspec", "language_info"} <= set(notebook["metadata"])
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_notebooks_draw_their_plot(tmp_path, monkeypatch):
    """Runs the cells as plain Python, with what Snakemake would hand over."""
    import json
    from types import SimpleNamespace

    pytest.importorskip("IPython")
    monkeypatch.chdir(ROOT)
    for paper in PAPERS:
        plot = tmp_path / f"{paper}.svg"
        given = SimpleNamespace(
            input=SimpleNamespace(tables=RESULTS / paper / "tables"),
            output=SimpleNamespace(plot=plot),
            params=SimpleNamespace(seeds=1),
        )
        notebook = json.loads((ROOT / "notebooks" / f"{paper}.ipynb").read_text())
        code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
        exec(compile(code, f"{paper}.ipynb", "exec"), {"snakemake": given})
        assert plot.read_text().startswith("<?xml")
