"""`searchtune compare`: rows and cells by hand, exact paired tests with Holm, what differs in the making, exit codes."""

import json
import shutil

import pytest

from searchtune import cli
from searchtune.commands.comparing.making import differences, flattened, making
from searchtune.commands.comparing.paired import paired, scores_of
from searchtune.commands.comparing.tables import compare_rows, key_columns
from searchtune.errors import DataError
from searchtune.files import read_json, write_json, write_tsv


def run_of(folder, shift=0.0, queries=8, extra=False, lr=0.1, code="c1"):
    """Write a results folder with one table, per-query values and a provenance record."""
    values = [round(0.1 * i + shift, 3) for i in range(queries)]
    rows = [{"system": "bm25", "metric": "nDCG@10", "value": f"{sum(values) / queries:.4f}", "n": queries}]
    write_tsv(folder / "udapdr/tables/quality.tsv", ["system", "metric", "value", "n"], rows)
    if extra:
        write_tsv(folder / "udapdr/tables/filter.tsv", ["retriever", "rate"], [{"retriever": "late", "rate": 1}])
    write_tsv(folder / "udapdr/tables/latency.tsv", ["system", "p50_ms"], [{"system": "bm25", "p50_ms": 1 + shift}])
    details = [{"system": "bm25", "variant": "", "query-id": f"q{i}", "value": v} for i, v in enumerate(values)]
    details += [{"system": "same", "variant": "", "query-id": f"q{i}", "value": 0.5} for i in range(queries)]
    write_tsv(folder / "udapdr/details/per_query.tsv", ["system", "variant", "query-id", "value"], details)
    inputs = [
        {"name": "raw", "path": "resources/raw/x", "sha256": "aa"},
        {"name": "r", "path": "results/ci/y", "sha256": str(lr)},
    ]
    record = {
        "output": {"path": "results/ci/udapdr/tables", "sha256": "bb"},
        "recipe": {
            "stage": "train.student",
            "code": code,
            "params": {"train": {"lr": lr}},
            "inputs": inputs,
            "key": "k",
        },
        "execution": {"versions": {"torch": "2.13.0"}, "machine": "x86_64", "host": "some-host"},
    }
    (folder / "udapdr/tables.prov.json").write_text(json.dumps(record))
    return folder


def test_rows_are_matched_by_text_and_settings():
    rows = [
        {"system": "bm25", "k": "5", "value": "0.1", "note": "a"},
        {"system": "bm25", "k": "10", "value": "0.2", "note": ""},
    ]
    assert key_columns(rows) == ["system", "k"]
    other = [
        {"system": "bm25", "k": "5", "value": "0.3", "note": "a"},
        {"system": "late", "k": "5", "value": "1", "note": ""},
    ]
    found = compare_rows("udapdr", "filter", rows, other)
    assert found.different == [{"row": "bm25 / 5", "column": "value", "a": "0.1", "b": "0.3"}]
    assert (found.equal_cells, found.only_a, found.only_b) == (1, ["bm25 / 10"], ["late / 5"])
    twice = [{"system": "bm25", "value": "1"}, {"system": "bm25", "value": "2"}]
    assert compare_rows("udapdr", "x", twice, twice).equal
    wider = [{**row, "p": "1"} for row in twice]
    assert [cell["a"] for cell in compare_rows("udapdr", "x", twice, wider).different] == [None, None]


def test_paired_tests_are_exact_and_adjusted_over_all():
    queries = [f"q{i}" for i in range(6)]
    a = {
        ("udapdr", "x"): dict.fromkeys(queries, 0.0),
        ("udapdr", "y"): dict.fromkeys(queries, 0.5),
        ("udapdr", "z"): {"q": 1.0},
    }
    b = {
        ("udapdr", "x"): dict.fromkeys(queries, 1.0),
        ("udapdr", "y"): dict.fromkeys([*queries, "more"], 0.5),
        ("udapdr", "z"): {"q": 0.0},
    }
    tests, few = paired(a, b)
    first, second = tests
    # six differences of one sign: 2 of 2**6 sign patterns are as extreme; Holm: times 2
    assert first["p_value"] == pytest.approx(2 / 64) and first["p_holm"] == pytest.approx(4 / 64)
    assert (first["difference"], first["mean_a"], first["mean_b"], first["verdict"]) == (1.0, 0.0, 1.0, "can't tell")
    assert (second["p_value"], second["queries_only_b"], second["verdict"]) == (1.0, 1, "can't tell")
    assert few == ["udapdr / z"]
    long = [f"q{i}" for i in range(10)]
    (test,), _ = paired({("u", "x"): dict.fromkeys(long, 1.0)}, {("u", "x"): dict.fromkeys(long, 0.0)})
    assert test["p_holm"] == pytest.approx(2 / 1024) and test["verdict"] == "b lower"
    (same,), _ = paired({("u", "x"): dict.fromkeys(long, 1.0)}, {("u", "x"): dict.fromkeys(long, 1.0)})
    assert same["verdict"] == "equal"


def test_making_tells_settings_code_and_data_apart(tmp_path):
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b", lr=0.2, code="c2")
    told = making(a, b)
    assert told["config"] == [{"key": "udapdr/tables: train.lr", "a": 0.1, "b": 0.2}]
    assert told["code"] == [{"key": "train.student", "a": "c1", "b": "c2"}]
    assert told["data"] == [] and told["packages"] == []  # an input among the results differs with what made it
    assert "some-host" not in json.dumps(told)
    assert list(flattened({"a": {"b": 1}, "c": [1], "d": {}})) == [("a.b", 1), ("c", [1]), ("d", {})]
    assert differences({"x": 1, "y": 1}, {"y": 2, "z": 1}) == [
        *({"key": "y", "a": 1, "b": 2}, {"key": "x", "a": 1, "b": None}, {"key": "z", "a": None, "b": 1}),
    ]


def test_equal_runs_are_zero_and_times_are_no_difference(tmp_path, capsys):
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b")
    write_tsv(b / "udapdr/tables/latency.tsv", ["system", "p50_ms"], [{"system": "bm25", "p50_ms": 99}])
    assert cli.main(["compare", str(a), str(b)]) == 0
    text = capsys.readouterr().out
    assert "equal in every cell: udapdr/quality" in text and "times: not part of the verdict" in text


def test_runs_that_differ_are_three_and_json_has_all(tmp_path, capsys):
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b", shift=0.2, extra=True)
    assert cli.main(["compare", str(a), str(b), "--json"]) == 3
    result = json.loads(capsys.readouterr().out)
    assert result["tables_only_b"] == ["udapdr/filter"] and not result["equal"]
    changed = next(one for one in result["tables"] if one["table"] == "udapdr/quality")
    # the mean of 0, 0.1 ... 0.7 is 0.35
    assert changed["different"] == [{"row": "bm25 / nDCG@10", "column": "value", "a": "0.3500", "b": "0.5500"}]
    verdicts = {test["what"]: test["verdict"] for test in result["tests"]}
    # eight differences of one sign: p = 2 / 256, Holm over two tests 4 / 256
    assert verdicts == {"udapdr / bm25": "b higher", "udapdr / same": "equal"}
    assert cli.main(["compare", str(a), str(b), "--all"]) == 3
    assert "table in b only: udapdr/filter" in capsys.readouterr().out


def test_answers_and_engines_are_compared_too(tmp_path, capsys):
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b")
    columns = ["system", "sample", "question", "metric", "value"]
    for run, last in ((a, 1), (b, 0)):
        rows = [dict(zip(columns, ("x", 0, f"q{n}", "accuracy", 0 if n else last), strict=True)) for n in range(9)]
        write_tsv(run / "limrank/details/rag_per_question.tsv", columns, rows)
    assert cli.main(["compare", str(a), str(b), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    (test,) = [test for test in told["tests"] if "accuracy" in test["what"]]
    assert (test["n"], test["verdict"]) == (9, "can't tell") and round(test["difference"], 4) == -0.1111
    shutil.copytree(a / "limrank", b / "limrank", dirs_exist_ok=True)
    assert cli.main(["compare", str(a), str(b)]) == 0
    write_tsv(a / "first_stage/engines.tsv", ["collection", "bm25s"], [{"collection": "x", "bm25s": 0.5}])
    assert cli.main(["compare", str(a), str(b)]) == 3


def test_a_record_that_is_none_is_named(tmp_path, capsys):
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b")
    (b / "udapdr/x.prov.json").write_text("{}")
    assert cli.main(["compare", str(a), str(b)]) == 2
    assert "x.prov.json is no provenance file" in capsys.readouterr().err


def test_runs_of_other_seeds_are_compared_by_their_means(tmp_path, capsys):
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b")
    rows = {"a": [("13", 0.0), ("14", 1.0)], "b": [("15", 1.0)]}
    for name, run in (("a", a), ("b", b)):
        lines = [f"bm25\t\tq{i}\t0.5" for i in range(9)]
        lines += [f"student\t{seed}\tq{i}\t{value}" for seed, value in rows[name] for i in range(9)]
        (run / "udapdr/details/per_query.tsv").write_text("\n".join(["system\tseed\tquery-id\tvalue", *lines]) + "\n")
    assert scores_of(a)["udapdr", "student"] == {f"q{i}": 0.5 for i in range(9)}
    tests, few = paired(scores_of(a), scores_of(b))
    assert [(test["what"], test["difference"]) for test in tests] == [("udapdr / bm25", 0), ("udapdr / student", 0.5)]
    assert not few and cli.main(["compare", str(a), str(b)]) == 3
    told = capsys.readouterr().out
    assert "seeds: a 13, 14; b 15; a value is the mean over them (one seed alone" in told and "scored in" not in told


def test_a_run_without_a_report_is_compared_by_what_its_stages_were_given(tmp_path):
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b")
    table = read_json(b / "udapdr/tables.prov.json")
    table["recipe"]["params"] = {"config": {"scale": "ci"}}
    write_json(b / "report.html.prov.json", table)
    assert making(a, b)["config"] == []


@pytest.mark.parametrize("part", [{"inputs": None}, {"inputs": [3]}])
def test_a_broken_part_of_a_record_is_an_error_of_one_line(tmp_path, capsys, part):
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b")
    record = read_json(b / "udapdr/tables.prov.json")
    write_json(b / "udapdr/tables.prov.json", record | {"recipe": record["recipe"] | part})
    assert cli.main(["compare", str(a), str(b)]) == 2
    assert "is not one of a step" in capsys.readouterr().err


def test_an_added_column_changes_no_key_and_bad_files_are_named(tmp_path, capsys):
    a = run_of(tmp_path / "a")
    (key, *_), path = scores_of(a), a / "udapdr/details/per_query.tsv"
    assert key == ("udapdr", "bm25")
    path.write_text("system\tquery-id\tvalue\nbm25\tq1\tmuch\n")
    with pytest.raises(DataError, match=r"'q1' has value 'much'"):
        scores_of(a)
    path.write_text("system\tvalue\nbm25\t1\n")
    with pytest.raises(DataError, match="expected query-id or example_id"):
        scores_of(a)
    assert cli.main(["compare", str(tmp_path / "none"), str(a)]) == 2
    assert "is no folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.main(["compare", str(tmp_path / "empty"), str(a)]) == 2
    assert "has no <paper>/tables" in capsys.readouterr().err
