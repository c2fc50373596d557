"""`searchtune plan`: work by hand, fits on exact lines, the error of a run left out, sums, gates; no secret is printed."""

import json
import math
import re

import pytest
from helpers import ROOT
from rules import rule_texts

from searchtune.commands.planning.costs import CostModel, fit, left_out, pooled, speed_of, stage_error, typical
from searchtune.commands.planning.estimate import Estimate, longest_chain, plan_of
from searchtune.commands.planning.gates import download_of, gates_of
from searchtune.commands.planning.history import COLUMNS, Past, history_of, past_of, plausible_cpu
from searchtune.commands.planning.jobs import Graph, PlannedJob
from searchtune.commands.planning.sizes import Sizer, sizes
from searchtune.commands.planning.text import as_text, count, size, span, table
from searchtune.commands.planning.work import STAGES, Work, asked, work_of
from searchtune.registry.fetch import place_of
from searchtune.registry.table import load_registry
from searchtune.stage import STAGES as KNOWN

SECRET = "hf_planted-secret-9f3a"


def job(stage, args=None, inputs=None, outputs=None, **more):
    outputs = outputs if outputs is not None else {"out": f"results/x/{stage}"}
    return PlannedJob(rule=stage, stage=stage, args=args or {}, inputs=inputs or {}, outputs=outputs, **more)


def past(run, work, cpu_s, stage="train.student", model=True, **more):
    figures = {"threads": 1, "wall_s": cpu_s, "tokens": 0.0, "bytes": 0.0} | more
    return Past(run, f"{run}-job", stage, Work(work, model=model), cpu_s=cpu_s, **figures)


def test_work_of_a_student_is_six_operations_a_weight_and_token():
    build = job("collections.build", {"id": "squad", "max_passages": None}, outputs={"collection": "c"})
    prompts = job("udapdr.prompts", {"count": 2, "demonstrations": 1}, outputs={"prompts": "p"})
    queries = job("udapdr.scale_up", {"per_prompt": 100}, {"prompts": "p"}, {"queries": "q"})
    kept = job("udapdr.filter", {"shares": {"train": 0.6, "label": 0.25}}, {"queries": "q"}, {"queries": "f"})
    taught = job("score.teachers", {"n_tuples": 1000, "nway": 6}, {"queries": "f"}, {"tuples": "t"})
    args = {"max_tuples": 1000, "epochs": 2, "passage_length": 96, "query_length": 32}
    inputs = {"model": "resources/models/minilm-l6", "tuples": "t", "collection": "c"}
    student = job("train.student", args, inputs, {"model": "s"})
    graph = Graph([build, prompts, queries, kept, taught, student])
    # 2 prompts x 100 queries x 0.25 labelled = 50 tuples, 2 epochs, 6 passages of 96 tokens and a query of 32
    assert work_of(student, Sizer(graph)).amount == 6 * 22_713_728 * 50 * 2 * (6 * 96 + 32)


def test_work_of_tuning_counts_adapters_less_and_finds_its_tokens_two_steps_back():
    render = job("inters.render", {"total_tokens": 1000}, outputs={"train": "m/train.jsonl"})
    tokens = job("train.tokenize", {}, {"train": "m/train.jsonl"}, {"tokens": "m/tokens"})
    args = {"full": False, "fraction": 0.25, "epochs": 2.0}
    tune = job(
        "train.sft", args, {"model": "resources/models/smollm2-135m-instruct", "tokens": "m/tokens"}, {"model": "x"}
    )
    graph = Graph([render, tokens, tune])
    assert work_of(tune, Sizer(graph)) == Work(4 * 134_515_008 * 500, 500.0, 134_515_008, model=True)
    full = job("train.sft", args | {"full": True}, tune.inputs, {"model": "x"})
    assert work_of(full, Sizer(graph)).amount == 6 * 134_515_008 * 500
    assert work_of(tokens, Sizer(graph)).amount == 1000


def limrank_graph(faults=(), **more):
    """Two rerankers (one with two modes), a collection of 50 test queries and a question set, answers, verdicts."""
    args = {"n_queries": 4, "faults": list(faults)}
    rerankers = [
        job("rerank.reasoning", args | {"modes": modes}, outputs={"reranked": f"r{len(modes)}"})
        for modes in (["direct", "reasoning"], ["direct"])
    ]
    sets = [
        job("collections.build", {"id": "nq", "n_test": 50}, outputs={"collection": "c/nq"}),
        job("limrank.questions", outputs={"questions": "q/gpqa"}),
    ]
    args = {"top_k": [2, 1], "more_questions": 6, "n_samples": 3, "price_faults": True, "max_passage_tokens": 50}
    args |= {"short_tokens": 10, "choice_tokens": 70, "max_model_len": 260} | more
    inputs = {"model": "resources/models/smollm2-135m-instruct", "sets": ["c/nq", "q/gpqa"], "reranked": ["r2", "r1"]}
    answer = job("limrank.answer", args, inputs, {"answers": "a"})
    judge = job("limrank.judge_answers", {"max_model_len": 150}, {"model": inputs["model"], "answers": "a"})
    return answer, judge, Sizer(Graph([*rerankers, *sets, answer, judge]))


def test_work_of_answers_counts_every_system_set_and_sample():
    answer, judge, sizer = limrank_graph()
    # 4 reranked questions and 6 more; 3 modes, each with its own order and the faulty one: 10 + 6 * 4 prompts for each k
    assert asked(answer, sizer) == [
        *((10, 0, 10), (10, 1, 10), (34, 2, 10), (34, 1, 10)),
        *((10, 0, 70), (34, 2, 70), (34, 1, 70)),
    ]
    # 100 tokens a question, 50 a passage, and the answer, at most 260 in all
    read = 10 * 110 + 10 * 160 + 34 * 210 + 34 * 160 + 10 * 170 + 34 * 260 + 34 * 220
    assert work_of(answer, sizer) == Work(2 * 134_515_008 * 3 * read, 3 * read, 3 * read, model=True)
    # 100 a question, the answer, and 8 for yes or no, at most 150 in all
    judged = 3 * (88 * 118 + 78 * 150)
    assert work_of(judge, sizer).tokens == judged and not sizer.guesses


def test_work_of_answers_follows_faults_that_a_run_was_made_with():
    priced, _, sizer = limrank_graph(faults=["L7"])  # such a run has no right order left to compare with
    assert (22, 2, 10) in asked(priced, sizer)
    every, _, sizer = limrank_graph(price_faults=False)
    assert (22, 2, 10) in asked(every, sizer)


def test_work_of_baselines_is_that_of_their_kind():
    args = {"n_queries": 5, "depth": 20, "max_query_tokens": 40, "max_passage_tokens": 80, "max_reasoning_tokens": 100}
    inputs = {"model": "resources/models/tiny-lm", "collections": ["a", "b"]}

    def work(kind):
        rank = job("rerank.baseline", args | {"kind": kind}, inputs)
        return work_of(rank, Sizer(Graph([rank])))

    # 2 sets of 5 queries, 20 passages each; a prompt's own 40 tokens, half a query's and a passage's
    assert work("seq2seq") == work("direct") == Work(2 * 139_584 * 200 * 140, 200 * 140, 200 * 140, model=True)
    assert work("reasoning").tokens == 200 * 240
    assert work("scalar") == work("cross_encoder") == Work(2 * 139_584 * 200 * 140, 0.0, 200, model=True)


def test_work_of_reranking_counts_every_set():
    """A collection of 4 queries, 7 passages each; 2 instruction queries in two forms, 5 passages each; FollowIR's Core17
    with its 40 queries; and held-out queries of 3 seeds, 2 each.
    """
    made = {"reader": "followir", "max_passages": None, "n_test": None}
    core = job(
        "collections.build",
        made | {"id": "followir_core17"},
        {"raw": ["r"]},
        {"o": "results/p/collections/followir_core17"},
    )
    follow = job("limrank.followir", {}, {"collections": ["results/p/collections/followir_core17"]}, {"followir": "f"})
    asks = job("limrank.instructions", {"n_queries": 2, "n_changed": 1, "n_unchanged": 2, "n_other": 2}, {}, {"o": "i"})
    write = job("limrank.synthesize", {"n_seeds": 10, "dev_share": 0.3, "personas_per_seed": 1}, {}, {"synthesis": "s"})
    held = job("limrank.pack", {}, {"synthesis": "s"}, {"heldout": "h"})
    args = {"n_queries": 4, "depth": 7, "followir": ["followir_core17"], "modes": ["direct"], "max_query_tokens": 40,
            "max_passage_tokens": 80, "max_reasoning_tokens": 100}  # fmt: skip
    inputs = {
        "model": "resources/models/tiny-lm",
        "collections": ["a"],
        "followir": ["f"],
        "instructions": "i",
        "heldout": "h",
    }
    rank = job("rerank.reasoning", args, inputs)
    sizer = Sizer(Graph([core, follow, asks, write, held, rank]))
    pairs = 4 * 7 + 2 * 2 * 5 + 40 * 7 + 6 * 7
    assert work_of(rank, sizer).tokens == pairs * 140 and not sizer.guesses


def test_work_of_rows_from_elsewhere_is_their_reasoning():
    made = {"n_seeds": 10, "personas_per_seed": 2, "n_positives": 1, "n_hard": 1, "n_random": 1}
    synthesis = job("limrank.synthesize", made, outputs={"synthesis": "s"})
    pack = job("limrank.pack", {}, {"synthesis": "s"}, {"direct_train": "p/direct.train.jsonl"})
    plain = job("limrank.source", {}, {"like": "p/direct.train.jsonl"})
    told = job(
        "limrank.source",
        {"judge_tokens": 30, "planted_words": 50},
        {"like": "p/direct.train.jsonl", "judge": "resources/models/tiny-lm"},
    )
    sizer = Sizer(Graph([synthesis, pack, plain, told]))
    assert work_of(plain, sizer) == Work(size=60, model=True)
    assert work_of(told, sizer).tokens == pytest.approx(60 * (30 + 50 * 1.4)) and work_of(told, sizer).size == 60
    # measured without a judge alone: the others' rate, far beyond what was measured, and the bound of its tokens
    rows = [past("a", work, 5 + work * 2e-12) for work in (0.0, 1e13, 1e14)] + [past("a", 0, 0.2, "limrank.source")]
    model = CostModel.of(rows)
    much = Work(1e15, tokens=77.0, model=True)
    assert model.predict("limrank.source", much, "cpu_s") == pytest.approx(2000, rel=0.01)
    assert model.beyond("limrank.source", much) == 1000 and model.beyond("limrank.source", Work(model=True)) == 0
    assert Estimate(told, much, model, 1e14).tokens == 77


def test_work_of_plaids_loss_is_an_exact_search_and_an_index_for_each_number_of_bits():
    build = job("collections.build", {"id": "squad", "max_passages": 100, "n_test": 10}, outputs={"collection": "c"})
    student = job("train.student", {"passage_length": 100, "query_length": 32, "dim": 128}, outputs={"model": "s"})

    def work(bits):
        loss = job("udapdr.plaid_loss", {"splits": ["test"], "nbits": bits}, {"collection": "c", "student": "s"})
        return work_of(loss, Sizer(Graph([build, student, loss])))

    # 10 queries of 32 tokens against 10,000 vectors of 128; 1,600 centroids
    search = 2 * 10 * 32 * 128 * 10_000
    assert work([]) == Work(search, model=True)
    assert work([2, 4]).amount == pytest.approx(search + 2 * (2 * 128 * 10_000 * 1600 + 0.01 * search))


def test_every_model_rule_has_its_work():
    models = {name: text for name, text in rule_texts().items() if "gpu=" in text}
    stages = {name: re.search(r'stage="([\w.]+)"', text).group(1) for name, text in models.items()}
    assert {"limrank_source": "limrank.source", "limrank_tune_change": "train.sft"}.items() <= stages.items()
    assert not {name: stage for name, stage in stages.items() if stage not in STAGES}


def test_what_is_not_known_is_said():
    unknown = job("models.prepare", outputs={"model": "resources/models/no-such-model"})
    sizer = Sizer(Graph([unknown]))
    assert work_of(unknown, sizer).amount == 1e9
    assert sizer.guesses == {"model of no-such-model: not known, taken as 1,000,000,000"}
    broken = job("train.sft", {})
    assert work_of(broken, sizer) == Work() and any("work of train.sft" in guess for guess in sizer.guesses)
    assert work_of(job("report.tables"), sizer) == Work()


def test_every_model_of_the_registry_has_its_weights_and_every_stage_is_one():
    models = [row.id for row in load_registry().rows.values() if row.kind == "model"]
    assert not [name for name in models if ("model", name) not in sizes()]
    assert set(STAGES) <= set(KNOWN)


def test_fit_finds_an_exact_line_and_holds_out_an_outlier():
    line = fit([0, 10, 100, 1000], [5, 7, 25, 205])
    assert line.start == pytest.approx(5, rel=1e-3) and line.rate == pytest.approx(0.2, rel=1e-3)
    assert (line.largest, line.jobs) == (1000, 4)
    disturbed = fit([0, 10, 100, 200, 400, 1000], [5, 7, 25, 450, 85, 205])
    assert disturbed.at(1000) == pytest.approx(205, rel=0.15)
    one_size = fit([10, 10], [4, 9])  # the middle of logarithms is 6: half start, half rate
    assert one_size.start == pytest.approx(3) and one_size.rate == pytest.approx(0.3)
    assert fit([0, 0, 0], [1, 2, 4]).at(99) == pytest.approx(2)


def test_a_scale_left_out_is_predicted_by_the_others():
    rows = [past(run, work, 5 + work * 1e-12) for run in ("a-1", "a-2", "b-1") for work in (0.0, 1e13, 1e14)]
    rows += [past("slow", work, 2 * (5 + work * 1e-12)) for work in (0.0, 1e13, 1e14)]
    left = {one.scale: one for one in left_out(rows)}
    assert sorted(left) == ["a", "b", "slow"]  # not a run by its twin
    assert left["slow"].taken_s == pytest.approx(250) and left["slow"].ratio == pytest.approx(0.5, rel=1e-2)
    assert typical(left["slow"].factors) == pytest.approx(2, rel=1e-2)  # half and twice are both a factor of 2
    # a is predicted by one like it and one twice as slow: their middle, the root of 2; b rather by the two of a
    assert typical(left["a"].factors) == pytest.approx(math.sqrt(2), rel=1e-2)
    assert left_out(rows[:6]) == [] and stage_error([], "train.student") is None
    # what a stage's smaller scales tell of its largest, which takes twice as long as they say
    larger = past("slow", 1e15, 2 * (5 + 1e15 * 1e-12))
    assert stage_error(left_out([*rows, larger]), "train.student") == pytest.approx(2, rel=1e-2)
    assert stage_error(left_out([*rows, larger]), "train.sft") is None


def test_tiny_models_borrow_the_rate_of_the_others():
    rows = [past("a", work, 5 + work * 2e-12) for work in (0.0, 1e13, 1e14)]
    rows += [past("a", 1e9, 4.0, stage="score.judge")]
    model = CostModel.of(rows)
    assert model.predict("score.judge", Work(1e13, model=True), "cpu_s") == pytest.approx(4 + 20, rel=1e-2)
    assert model.lines["score.judge", "cpu_s"].runs == 0
    assert pooled({("score.judge", "cpu_s"): fit([1e9], [4])}, rows[-1:]) == {}
    assert model.predict("no.stage", Work(), "cpu_s") is None


def test_this_machines_own_jobs_set_its_speed():
    model = CostModel.of([past("a", work, 5 + work * 1e-12) for work in (0.0, 1e13, 1e14)])
    own = [past("own", 1e13, 45.0) for _ in range(5)]
    assert speed_of(model, own) == pytest.approx(3, rel=1e-2)
    assert speed_of(model, own[:4]) == 1.0  # too few to tell


def test_longest_chain_by_hand():
    a, b, c = job("a", outputs={"o": "a"}), job("b", inputs={"i": "a"}, outputs={"o": "b"}), job("c", inputs={"i": "a"})
    assert longest_chain(Graph([a, b, c]), {id(a): 10.0, id(b): 5.0, id(c): 7.0}) == 17.0


def fetch(source="hub", version="unpinned", licences=("MIT",), size=0, name="org/model", **more):
    parts = [{"archive": "", "sha256": "", "bytes": size, "members": ["*"]}]
    args = {"artefact": f"{name.replace('/', '--')}-{version}", "source": source, "name": name, "version": version}
    return job("fetch.artefact", args | {"parts": parts, "licences": list(licences)}, outputs={"raw": "raw"}, **more)


def test_gates_name_the_fix_and_who_waits(tmp_path):
    reader = job("models.prepare", inputs={"raw": "raw"}, outputs={"model": "m"})
    tuner = job("train.sft", inputs={"model": "m"})
    graph = Graph([fetch(licences=["Llama 2 Community"]), reader, tuner])
    found = gates_of(graph, {}, {"HOME": str(tmp_path)}, tmp_path)
    assert [(gate.kind, gate.stops) for gate in found] == [
        ("gated model", True),
        ("not pinned", True),
        ("no hub token", False),
    ]
    assert found[0].stages == ("models.prepare", "train.sft")
    with_token = gates_of(graph, {}, {"HOME": str(tmp_path), "HF_TOKEN": SECRET}, tmp_path)
    assert [gate.kind for gate in with_token] == ["not pinned"]
    assert SECRET not in repr(with_token)
    licensed = job(
        "fetch.artefact",
        {"artefact": "Llama-2-7b-hf-1", "source": "licensed", "version": "1", "name": "l", "parts": [], "licences": []},
    )
    (gate,) = gates_of(Graph([licensed]), {}, {}, tmp_path)
    assert gate.kind == "licensed file" and "Accept the terms of meta-llama/Llama-2-7b-hf" in gate.fix and gate.stops
    (tmp_path / "resources/raw/Llama-2-7b-hf-1").mkdir(parents=True)
    (tmp_path / "resources/raw/Llama-2-7b-hf-1/a.safetensors").touch()
    assert gates_of(Graph([licensed]), {}, {}, tmp_path) == []


def test_an_endpoints_key_is_asked_for_by_name_alone(tmp_path):
    config = {"models": {"gpt": {"source": "endpoint", "endpoint": {"key_env": "MY_KEY"}}}}
    graph = Graph([job("udapdr.seed", inputs={"model": "resources/models/gpt"})])
    (gate,) = gates_of(graph, config, {}, tmp_path)
    assert (gate.kind, gate.id, gate.stages) == ("key", "gpt", ("udapdr.seed",)) and "MY_KEY" in gate.fix
    assert gates_of(graph, config, {"MY_KEY": SECRET}, tmp_path) == []


def test_downloads_know_what_is_kept_and_what_is_unknown(tmp_path):
    assert download_of(fetch(size=0), tmp_path).bytes is None
    assert download_of(fetch(source="local", size=7), tmp_path).bytes == 0
    kept = fetch(source="pypi", version="1", size=3)
    kept.args["parts"][0]["archive"] = "a.whl"
    assert download_of(kept, tmp_path).bytes == 3
    (tmp_path / "resources/downloads").mkdir(parents=True)
    (tmp_path / "resources/downloads/a.whl").write_text("abc")
    assert download_of(kept, tmp_path).bytes == 0


@pytest.mark.parametrize("source", ["pypi", "url"])
def test_a_kept_download_is_looked_for_where_fetching_keeps_it(tmp_path, source):
    """A file of an address lies in its unit's folder; an archive within an archive is kept as the outer one."""
    job = fetch(source=source, version="1", size=3)
    job.args["parts"][0]["archive"] = "https://x.org/a.zip!/in/b.jar" if source == "url" else "a.whl!/in/b.jar"
    place = tmp_path / "resources/downloads" / place_of(source, job.args["artefact"], job.args["parts"][0]["archive"])
    assert place.name == ("a.zip" if source == "url" else "a.whl")
    assert place.parent.name == ("org--model-1" if source == "url" else "downloads")
    place.parent.mkdir(parents=True)
    place.write_text("abc")
    assert download_of(job, tmp_path).bytes == 0


def test_a_plan_sums_its_jobs_and_prints_no_secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    model = CostModel.of([past(run, w, 5 + w * 1e-12, tokens=1, bytes=9) for run in "ab" for w in (0.0, 1e13, 1e14)])
    args = {"heal": {"tokens": 1000}}
    tiny = job("train.student", reason="Missing output files: x", threads=2)
    done = job("report.html", runs=False, outputs={"o": "report"})
    odd = job("models.prune", args, {"full": "resources/models/tiny-lm"}, {"model": "resources/models/tiny-lm-half"})
    plan = plan_of([tiny, done, odd], {"scale": "ci"}, model, 2, 100.0)
    assert (plan["jobs_in_all"], plan["jobs_done"], plan["all"]["jobs"]) == (3, 1, 2)
    assert plan["all"]["cpu_s"] == pytest.approx(5, rel=0.01)
    assert plan["wall_s"] == pytest.approx(2.5, rel=0.01)  # 5 s on the two threads of the only job
    assert plan["not_measured"] == ["models.prune"]
    assert {one["job"]: one["reason"] for one in plan["why"]}["train.student"] == "Missing output files: x"
    text = as_text(plan, every=True)
    assert "train.student: Missing output files: x" in text and "x1.00" in text
    assert SECRET not in text and SECRET not in json.dumps(plan)


def test_shipped_rows_are_read_and_tell_their_error():
    rows = past_of()
    assert {row.stage for row in rows} >= {"train.sft", "udapdr.scale_up", "rerank.reasoning"}
    assert len({row.run for row in rows}) > 1
    whole = {one.scale: one.ratio for one in left_out(rows)}
    # ci alone is told badly: of the seconds in which a job of a tiny model starts larger ones know nothing
    assert all(0.5 < whole[scale] < 2 for scale in ("adapt", "demo", "laptop"))


def test_no_shipped_row_misleads_the_fit():
    for row in past_of():
        # measured by the job itself; Snakemake's clock begins and ends with the process
        assert row.cpu_s <= 1.2 * row.wall_s * row.threads, f"{row.run} {row.job}"
        assert row.work.amount or row.work.model or row.stage not in STAGES, f"{row.run} {row.job}"
    assert [plausible_cpu(*given) for given in ((148, 4, 1), (0, 4, 1), (3, 4, 1), (7, 4, 2))] == [4, 4, 3, 7]


def test_history_needs_benchmark_job_and_provenance(tmp_path):
    results = tmp_path / "results" / "ci"
    spec = {
        **{"stage": "report.tables", "inputs": {}, "outputs": {"rendered": "results/ci/inters/rendered"}},
        **{"params": {}, "threads": 1, "log": "results/ci/logs/report_tables.inters.log"},
    }
    (results / "inters").mkdir(parents=True)
    (results / "benchmarks").mkdir()
    (results / "inters/rendered.job.json").write_text(json.dumps(spec))
    assert history_of(results) == []
    head = "s\th:m:s\tcpu_time"
    (results / "benchmarks/report_tables.inters.tsv").write_text(f"{head}\n7.5\t0:00:07\t3\n")
    assert history_of(results) == []
    record = {"counts": {"prompt_tokens": 4, "completion_tokens": 3}, "execution": {"cpu_s": 6.5}}
    record["output"] = {"fingerprint": {"bytes": 12}}
    (results / "inters/rendered.prov.json").write_text(json.dumps(record))
    (row,) = history_of(results, "mine")
    assert (row.run, row.job, row.wall_s, row.cpu_s, row.tokens, row.bytes) == (
        "mine",
        "report_tables.inters",
        7.5,
        6.5,
        7,
        12,
    )
    assert list(row.row()) == COLUMNS
    (results / "benchmarks/report_notebook.inters.tsv").write_text(f"{head}\n3.5\t0:00:03\t112.7\n")
    assert {row.stage: row.cpu_s for row in history_of(results)} == {"report.tables": 6.5, "report_notebook": 3.5}


def test_units_by_hand():
    assert (span(89), span(90), span(5400), size(999), size(1500), count(1_500_000)) == (
        *("89 s", "2 min", "1.5 h", "999 B", "1.5 kB", "1.5M"),
    )
    assert table([["a", "bb"], ["ccc", "d"]]) == ["a    bb", "ccc   d"]


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["ci", "demo", "laptop", "paper"])
def test_every_scale_is_planned_by_the_command(scale, capsys, monkeypatch):
    from searchtune import cli

    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.chdir(ROOT)
    code = cli.main(["plan", "--json", "--config", f"scale={scale}"])
    printed = capsys.readouterr()
    plan = json.loads(printed.out)
    assert code == (3 if any(gate["stops"] for gate in plan["gates"]) else 0)
    assert (
        plan["scale"] == scale and plan["all"]["jobs"] == len(plan["why"]) and SECRET not in printed.out + printed.err
    )
    assert all(one["reason"] for one in plan["why"])
    assert not [guess for guess in plan["guesses"] if guess.startswith("work of")]
    stages = {row["stage"]: row for row in plan["stages"]}
    assert stages["limrank.answer"]["tokens"] and stages["limrank.answer"]["gpu_s"]
    assert "rerank.baseline" not in stages or stages["rerank.baseline"]["gpu_s"]
    if scale == "paper":
        far = ("limrank.answer", "rerank.baseline", "limrank.source", "rerank.reasoning")
        assert all(stages[name]["times_beyond_measured"] > 1000 for name in far)
        assert {gate["kind"] for gate in plan["gates"]} >= {"licensed file", "not pinned"} and plan["unknown_downloads"]
    else:
        assert plan["all"]["download_unknown"] == 0


@pytest.mark.slow
def test_a_wrong_configuration_is_told_not_raised(capsys):
    from searchtune import cli

    assert cli.main(["plan", "--config", "scale=dmeo"]) == 2
    assert "did you mean 'demo'" in capsys.readouterr().err
    assert cli.main(["plan", "no_such_rule", "--config", "scale=ci"]) == 2
    assert "no_such_rule" in capsys.readouterr().err


@pytest.mark.slow
def test_settings_are_looked_for_where_plan_is_called(tmp_path, monkeypatch, capsys):
    """The project has a config/config.yaml, too."""
    from searchtune import cli

    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("scale: ci\n")
    (tmp_path / "bad.yaml").write_text("scale: [\n")
    monkeypatch.chdir(tmp_path)
    cli.main(["plan", "--configfile", "config/config.yaml"])
    assert capsys.readouterr().out.startswith("scale ci")
    assert cli.main(["plan", "--configfile", "bad.yaml"]) == 2
    assert "bad.yaml is not valid YAML" in capsys.readouterr().err
    assert cli.main(["plan", "--config", "=1"]) == 2
