"""A variant that comes to too little (no demonstration, no tuple) is a result; the chain as configured fails."""

import pytest
from helpers import ROOT

from searchtune.errors import DataError, ShortageError
from searchtune.evaluation.leakage import training_texts
from searchtune.evaluation.udapdr_ablations import ablation_rows
from searchtune.evaluation.udapdr_failures import judge_rows
from searchtune.evaluation.udapdr_runs import METRICS, Run, runs_of, shortages
from searchtune.files import write_json, write_jsonl
from searchtune.plan import plan
from searchtune.stage import provenance_path, run_job, shortage_of
from searchtune.synthesis.udapdr_arguments import prompts_args
from searchtune.synthesis.udapdr_chains import Chains

TOO_FEW = "6 demonstrations are needed .* 1 passages gave 0"


def prompts(tmp_path, **more):
    """Run stage 2 on one passage without questions, of which no prompt can be made."""
    row = {"source": "a", "passage": "the harbour", "strategy": "vanilla", "question": ""}
    write_jsonl(tmp_path / "seed" / "seeds.jsonl", [row])
    outputs = {"prompts": str(tmp_path / "prompts.jsonl"), "synthesis": str(tmp_path / "prompts.synthesis.tsv")}
    params = prompts_args(plan(ROOT, {"scale": "ci"}))
    job = {"stage": "udapdr.prompts", "inputs": {"seed": str(tmp_path / "seed")}, "outputs": outputs, "params": params}
    return run_job(job | more)


def test_the_chain_as_configured_fails_and_leaves_nothing(tmp_path):
    with pytest.raises(ShortageError, match=TOO_FEW):
        prompts(tmp_path)
    assert not (tmp_path / "prompts.jsonl").exists()
    assert issubclass(ShortageError, DataError)


def test_a_variant_goes_on_with_empty_files_that_say_why(tmp_path):
    assert prompts(tmp_path, spare=True) == {}
    made = tmp_path / "prompts.jsonl"
    assert made.read_bytes() == b"" and "1 passages gave 0" in shortage_of(made)
    # the next step passes the reason on, and reads no model
    (tmp_path / "none").mkdir()
    inputs = {name: str(tmp_path / "none") for name in ("collection", "model", "templates")}
    job = {"stage": "udapdr.scale_up", "inputs": inputs | {"prompts": str(made)}, "params": {}}
    job["outputs"] = {"queries": str(tmp_path / "queries")}
    run_job(job | {"spare": True})
    assert list((tmp_path / "queries").iterdir()) == []
    assert shortage_of(tmp_path / "queries") == shortage_of(made)
    # the audit finds nothing in it to compare
    assert list(training_texts(tmp_path / "queries")) == []
    assert judge_rows([tmp_path / "queries"], ["x"]) == []


def test_other_errors_of_a_variant_stay_errors(tmp_path):
    inputs = {"seed": str(tmp_path / "seed")}
    write_jsonl(tmp_path / "seed" / "other.jsonl", [])
    job = {
        "stage": "udapdr.prompts",
        "inputs": inputs,
        "outputs": {"prompts": str(tmp_path / "p.jsonl")},
        "spare": True,
    }
    with pytest.raises((DataError, FileNotFoundError)) as caught:
        run_job(job | {"params": prompts_args(plan(ROOT, {"scale": "ci"}))})
    assert not isinstance(caught.value, ShortageError) and not (tmp_path / "p.jsonl").exists()


def test_only_variants_are_spared():
    found = Chains(plan(ROOT, {"scale": "ci", "seeds": [13, 14], "udapdr": {"run_ablations": ["direct"]}}))
    spared = [name for name in found.names if found.is_variant(name)]
    assert spared == ["amazon.direct", "amazon.direct-s14"]


def test_a_variant_that_was_not_possible_says_so_in_its_rows(tmp_path):
    rows = [
        {"collection": "amazon", "variant": variant, "system": "student_adapted", "seed": seed}
        for variant in ("", "odd")
        for seed in (13, 14)
    ]
    paths = [tmp_path / f"{number}.run.gz" for number in range(4)]
    # of the variant's two seeds, one came to nothing
    write_json(provenance_path(paths[3]), {"shortage": "too few pairs"})
    assert shortages(paths, rows) == {"odd": "not possible (1 of 2 runs): too few pairs"}
    assert [run.variant for run in runs_of(paths, rows)] == ["", ""]

    scores = {metric: {"q1": 1.0, "q2": 0.0} for metric in METRICS}
    scored = [(Run("amazon", "", "student_adapted", seed, paths[0]), scores) for seed in (13, 14)]
    params = {"variants": {"odd": {"kind": "models", "label": "odd", "x": None}}, "axes": {}}
    params |= {"seed": 0, "permutations": 1000, "bootstrap_samples": 100, "level": 0.95}
    found = ablation_rows(scored, "amazon", params, shortages(paths, rows))
    assert [(row["variant"], row["metric"], row.get("value")) for row in found] == [
        *(("", metric, 0.5) for metric in METRICS),
        *(("odd", metric, None) for metric in METRICS),
    ]
    assert {row.get("note", "") for row in found} == {"", "not possible (1 of 2 runs): too few pairs"}
