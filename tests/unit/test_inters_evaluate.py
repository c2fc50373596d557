"""``inters.evaluate`` on answers written by hand: scores, baselines, tests, round trip, signs, faults."""

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.errors import DataError
from searchtune.files import read_tsv, write_json, write_jsonl
from searchtune.stage import Job
from searchtune.tasks.ablation_tables import weighted
from searchtune.tasks.evaluate import Evaluation, run
from searchtune.tasks.scoring import copied, is_copy, majority, round_trips, yes_run
from searchtune.tasks.tabulate import Statistics, fall_of, loss_rows

LABELS = ["supported", "refuted", "not enough information"]
TOPICS = ["moss", "fern", "heron", "otter"]


def example(task, dataset, number, fields, target, labels=(), references=(), **meta):
    return {
        "id": f"{task}/{dataset}/{number}",
        "task": task,
        "dataset": dataset,
        "category": "",
        "split": "test",
        "article": str(number),
        "fields": fields,
        "target": target,
        "labels": list(labels),
        "references": list(references),
        "meta": meta,
    }


def examples():
    rows = [example("query_expansion", "gov2", n, {"title": word}, f"what is {word}") for n, word in enumerate(TOPICS)]
    rows += [
        example("fact_verification", "vitaminc", n, {"claim": "c", "evidence": "e"}, LABELS[n % 2], LABELS)
        for n in range(4)
    ]
    rows += [
        example("reading_comprehension", "squad", n, {"question": "q", "passage": "A listen. B."}, "silent")
        for n in range(2)
    ]
    rows += [
        example(
            "query_subtopic_generation", "trec_web", n, {"query": "q", "description": "find a"}, "1. find a\n2. find b"
        )
        for n in range(2)
    ]
    rows += [
        example(
            "query_generation", "squad", n, {"passage": f"{w} grows. It is {w}."}, f"where is {w}", passage_id=f"p{n}"
        )
        for n, w in enumerate(TOPICS)
    ]
    for q in range(2):
        rows += [
            example(
                "passage_reranking",
                "squad",
                f"q{q}/p{n}",
                {"query": "q", "passage": "p"},
                "yes" if n == q else "no",
                ["yes", "no"],
                group=f"q{q}",
                passage_id=f"p{n}",
                rank=4 - n,
                grade=int(n == q),
            )
            for n in (3, 2, 1, 0)
        ]
    return rows


def answer(row, good, how):
    """Return a call record: right if ``good``, else wrong."""
    record = {"id": f"zero_shot/{row['id']}#{how}", "text": None, "scores": None, "n_completion": 3}
    if how == "generate":
        return record | {"text": row["target"] if good else "listen"}
    best = row["target"] if good else next(x for x in row["labels"] if x != row["target"])
    return record | {
        "scores": [{"text": x, "logprob": -1.0 if x == best else -9.0, "n_tokens": 1} for x in row["labels"]]
    }


def answers(good):
    how = {"fact_verification": ("score", "generate"), "passage_reranking": ("score",)}
    return [answer(row, good, kind) for row in examples() for kind in how.get(row["task"], ("generate",))]


def forgetful(task):
    """Answers of a model that knows every task but one."""
    good, bad = ({r["id"]: r for r in answers(known)} for known in (True, False))
    return [bad[key] if f"{task}" in key else record for key, record in good.items()]


def prompts():
    """One prompt an answer; every second one is longer than the released code allows."""
    ids = [record["id"].split("/", 1)[1] for record in answers(True)]
    return [{"id": i, "kind": i.rpartition("#")[2], "n_tokens": 1000 + 1000 * (n % 2)} for n, i in enumerate(ids)]


@pytest.fixture
def job(tmp_path):
    write_jsonl(tmp_path / "examples/test.jsonl", examples())
    known = [example("fact_verification", "vitaminc", 9, {}, label) for label in ("refuted", "supported", "supported")]
    write_jsonl(tmp_path / "examples/train.jsonl", known)
    write_jsonl(tmp_path / "examples/dev.jsonl", [])
    few_shot = [r for r in prompts() if not (r["id"].endswith("#generate") and "fact_verification" in r["id"])]
    write_jsonl(tmp_path / "prompts/zero_shot.jsonl", prompts())
    write_jsonl(tmp_path / "prompts/few_shot.jsonl", few_shot)
    base = answers(False)
    shown = [r | {"id": r["id"].replace("zero_shot", "few_shot", 1)} for r in base]
    write_jsonl(tmp_path / "base.jsonl", base + shown)
    write_jsonl(tmp_path / "full.jsonl", answers(True))
    write_jsonl(tmp_path / "vol25.jsonl", base)
    write_jsonl(tmp_path / "no_expansion.jsonl", forgetful("query_expansion"))
    for name, tokens, last in (("full", 4000, 1.5), ("vol25", 1000, 1.9), ("no_expansion", 4000, 1.6)):
        write_json(
            tmp_path / f"models/{name}/training.json",
            {
                "tokens": tokens,
                "steps": 10,
                "examples": 40,
                "completion_tokens": 500,
                "loss_curve": [{"step": 10, "tokens": tokens, "loss": 1.7, "lr": 0.1}],
                "dev_loss": [{"step": 0, "loss": 2.0}, {"step": 5, "loss": 1.8}, {"step": 10, "loss": last}],
            },
        )
    for name in ("full", "vol25", "no_expansion"):
        Tokenizer(WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a")).save(
            str(tmp_path / f"models/{name}/tokenizer.json")
        )
    queries = {f"q{n}": Query(f"where is {w}", metadata={"split": "test", "article": w}) for n, w in enumerate(TOPICS)}
    Collection(
        {f"p{n}": Passage("", f"{w} grows. It is {w}.") for n, w in enumerate(TOPICS)},
        queries,
        {f"q{n}": {f"p{n}": 1} for n in range(4)},
    ).save(tmp_path / "squad")
    systems = [
        {"name": "base", "tuned": False, "fraction": 0.0, "seed": None, "sets": ["zero_shot", "few_shot"]},
        {"name": "vol25", "tuned": True, "fraction": 0.25, "seed": 13, "sets": ["zero_shot"]},
        {"name": "full", "tuned": True, "fraction": 1.0, "seed": 13, "sets": ["zero_shot"]},
        {"name": "no_expansion", "tuned": True, "fraction": 1.0, "seed": 13, "sets": ["zero_shot"]},
    ]
    designs = {"no_expansion": "no_expansion"}
    systems = [s | {"base": "tiny", "design": designs.get(s["name"], "full")} for s in systems]
    (tmp_path / "claims.tsv").write_text(
        "paper\titem\tclaim\tours\tagainst\tscope\tdirection\ttrust\n"
        "inters\tin_domain\ttuning helps\ttuned\tuntuned\teach category\tup\tabstract\n"
        "inters\tunseen\ttuning helps elsewhere\tleft out\tuntuned\tleft out\tup\tabstract\n"
        "inters\tdescription\tdescriptions help\tfull\tno_description\tall\tup\tsummary\n"
        "inters\tdata_volume\tmore data helps\tfull\tsmallest\tall\tup\tsummary\n"
    )
    (tmp_path / "examples/statistics.tsv").write_text(
        "task\tdataset\tsplit\texamples\nquery_expansion\tgov2\ttest\t4\n"
    )
    mixed = sorted({(row["task"], row["dataset"]) for row in examples()})
    (tmp_path / "mixture.tsv").write_text(
        "set\ttask\tdataset\trows\ttokens\n" + "".join(f"train\t{task}\t{name}\t7\t90\n" for task, name in mixed)
    )
    (tmp_path / "published.tsv").write_text(
        "paper\titem\tsetting\tsystem\tdataset\tmetric\tvalue\ttrust\tnote\n"
        "inters\tfigure_in_domain\tbase\tbig\tquery_understanding\tcategory_mean_x100\t10\tbar chart\t\n"
        "inters\tfigure_in_domain\ttuned\tbig\tquery_understanding\tcategory_mean_x100\t4\tbar chart\t\n"
    )
    params = {
        "base": "tiny",
        "systems": systems,
        "volumes": [0.25, 1.0],
        "rankings": {"passage_reranking": {"squad": ["squad"]}},
        "ablations": {
            "no_expansion": {"kind": "task_variety", "label": "without expansion", "leave_out": ["query_expansion"]}
        },
        "data": [
            {"pair": f"{task}/{name}", "verified": "schema", "licence": "free", "status": "used", "sets": [name]}
            for task, name in (("query_expansion", "gov2"), ("query_suggestion", "aol"))
        ],
        "fidelity": "corrected",
        "faults": [],
        "k1": 0.9,
        "b": 0.4,
        "statistics": {"seed": 0, "samples": 200, "permutations": 1000, "level": 0.95},
    }
    inputs = {
        "examples": tmp_path / "examples",
        "prompts": tmp_path / "prompts",
        "predictions": [tmp_path / f"{n}.jsonl" for n in ("base", "vol25", "full", "no_expansion")],
        "models": [tmp_path / f"models/{n}" for n in ("vol25", "full", "no_expansion")],
        "collections": [tmp_path / "squad"],
        "claims": tmp_path / "claims.tsv",
        "published": tmp_path / "published.tsv",
        "statistics": tmp_path / "mixture.tsv",
    }
    return Job("inters.evaluate", inputs, {"tables": tmp_path / "t", "details": tmp_path / "d"}, params)


def table(job, name, folder="tables"):
    return read_tsv(job.outputs[folder] / f"{name}.tsv")


def value(rows, **wanted):
    (found,) = [r for r in rows if all(r[k] == v for k, v in wanted.items())]
    return float(found["value"])


def test_tables(job):
    counts = run(job)
    rows = table(job, "in_domain")
    assert " ".join(rows[0]) == (
        "system base_model tuned category task dataset metric value ci_low ci_high n baseline p_value"
    )
    assert value(rows, system="tuned", task="query expansion") == 1.0
    assert value(rows, system="untuned zero-shot", task="query expansion") == 0.0
    # the title is one of three words: precision 1, recall 1/3
    assert value(rows, system="copy", task="query expansion") == pytest.approx(0.5)
    assert value(rows, system="majority", task="fact verification") == 0.5
    assert value(rows, system="copy", task="subtopic generation") == pytest.approx(2 / 3, abs=1e-6)
    # BM25 put the relevant passages at ranks 4 and 3
    assert value(rows, system="bm25", task="passage reranking") == pytest.approx((0.430677 + 0.5) / 2, abs=1e-5)
    assert value(rows, system="tuned", task="passage reranking") == 1.0
    (tuned,) = [r for r in rows if r["system"] == "tuned" and r["task"] == "query expansion"]
    # four examples, all better: 2 of the 16 sign patterns are as extreme
    assert tuned["baseline"] == "untuned zero-shot" and float(tuned["p_value"]) == 0.125
    assert counts["signs"] == 3 and len({r["metric"] for r in rows if r["task"] == "query expansion"}) == 1
    generated = [r for r in rows if r["system"] == "tuned, generated label"]
    assert [r["task"] for r in generated] == ["fact verification"]


def test_volume_table_has_the_untuned_model_at_zero(job):
    run(job)
    rows = table(job, "ablation_data_volume")
    assert " ".join(rows[0]) == "fraction train_tokens category task metric value ci_low ci_high n"
    assert [(r["fraction"], r["train_tokens"]) for r in rows if r["task"] == "query expansion"] == [
        ("0", "0"),
        ("0.25", "1000"),
        ("1", "4000"),
    ]
    assert value(rows, fraction="1", task="reading comprehension") == 1.0


def test_variety_table_pairs_each_variant_with_the_full_model(job):
    run(job)
    rows = table(job, "ablation_task_variety")
    assert {r["system"] for r in rows} == {"full", "untuned", "without expansion"}
    mine = [r for r in rows if r["system"] == "without expansion"]
    (lost,) = [r for r in mine if r["task"] == "query expansion"]
    assert (lost["scope"], lost["value"], lost["baseline_value"], lost["p_value"]) == ("left out", "0", "1", "0.125")
    assert all(r["value"] == r["baseline_value"] for r in mine if r["scope"] == "trained")
    means = {(r["category"], r["dataset"]): r for r in mine if r["task"].startswith("mean of tasks")}
    left, rest = (means["all", f"{part} (without expansion)"] for part in ("left out", "trained"))
    assert left["value"] == "0" and rest["value"] == "1"
    # query understanding here: expansion and subtopic generation
    assert float(means["query understanding", "all"]["value"]) == 0.5
    assert means["query understanding", "all"]["scope"] == "some left out"
    assert table(job, "ablation_instruction_design") == [] and table(job, "ablation_base_model") == []


def test_base_table_says_what_each_base_is(job):
    by_name = {s["name"]: s for s in job.params["systems"]}
    job.params["systems"] += [by_name[name] | {"name": f"{name}.half", "base": "half"} for name in ("base", "full")]
    job.params["seen"] = {"tiny": "random weights", "half": "1 layer of tiny, healed on 900 tokens"}
    job.inputs["predictions"] += [path for path in job.inputs["predictions"] if path.stem in ("base", "full")]
    job.inputs["models"] += [path for path in job.inputs["models"] if path.name == "full"]
    run(job)
    rows = table(job, "ablation_base_model")
    assert {(r["base_model"], r["note"]) for r in rows} == set(job.params["seen"].items())
    assert {r["system"] for r in rows} == {"untuned tiny", "tuned tiny", "untuned half", "tuned half"}


@pytest.fixture
def controlled(job, tmp_path):
    """The job with a control that learned no more than the untuned model, but for query expansion."""
    better = {r["id"]: r for r in answers(True) if "query_expansion" in r["id"]}
    write_jsonl(tmp_path / "general.jsonl", [better.get(r["id"], r) for r in answers(False)])
    spec = {"name": "general", "tuned": True, "fraction": 1.0, "seed": 13, "sets": ["zero_shot"], "base": "tiny"}
    job.params["systems"].append(spec | {"design": "general"})
    job.params["ablations"]["general"] = {"kind": "control", "label": "general instructions", "leave_out": []}
    job.inputs["predictions"].append(tmp_path / "general.jsonl")
    job.inputs["models"].append(job.inputs["models"][1])
    with open(job.inputs["claims"], "a") as file:
        file.write("inters\tcontrol\tsearch tasks help more\tfull\tgeneral\teach category\tup\tsummary\n")
    return job


def test_the_control_stands_between_the_untuned_and_the_full_model(controlled):
    run(controlled)
    rows = table(controlled, "ablation_control")
    assert list(dict.fromkeys((r["system"], r["baseline"]) for r in rows)) == [
        ("untuned", ""),
        ("general instructions", "untuned"),
        ("full", "general instructions"),
    ]
    found = {r["system"]: r for r in rows if r["task"] == "query expansion"}
    assert [found[name]["value"] for name in ("untuned", "general instructions", "full")] == ["0", "1", "1"]
    assert (found["general instructions"]["baseline_value"], found["full"]["baseline_value"]) == ("0", "1")
    # four examples: 2 of the 16 sign patterns are as extreme; without a difference all are
    assert (found["general instructions"]["p_value"], found["full"]["p_value"]) == ("0.125", "1")
    assert {r["scope"] for r in rows if r["system"] != "full"} == {"left out"}, "no test set is of its data"
    assert {r["scope"] for r in rows if r["system"] == "full"} == {"trained"}
    trained = {(r["train_tokens"], r["steps"]) for r in rows if r["system"] != "untuned"}
    assert trained == {("4000", "10")}, "equal tokens and steps"
    # every task and category, and each once
    places = [(r["system"], r["category"], r["task"], r["dataset"]) for r in rows]
    assert len(set(places)) == len(places) and {r["ci_low"] for r in rows} - {""}


def test_a_control_is_in_no_other_table(job, controlled):
    names = ("ablation_task_variety", "ablation_instruction_design", "in_domain", "ablation_data_volume", "data")
    run(job)
    found = {name: table(job, name) for name in names}
    assert all("general" not in str(r.get("system")) for rows in found.values() for r in rows)
    verdicts = table(job, "verdicts")
    # a task that the control was never trained on is no left-out task of the paper's claim
    assert [r["n"] for r in verdicts if r["item"] == "unseen"] == ["4"]
    judged = {r["category"]: r for r in verdicts if r["item"] == "control"}
    assert set(judged) == {"query understanding", "document understanding", "query–document relationship"}
    assert judged["document understanding"]["compared"] == "full against general"
    assert judged["document understanding"]["verdict"] == "same direction"


def test_several_controls_are_named_apart(controlled):
    job = controlled
    job.params["systems"].append(job.params["systems"][-1] | {"name": "other", "design": "other"})
    job.params["ablations"]["other"] = {"kind": "control", "label": "other", "leave_out": []}
    for key in ("predictions", "models"):
        job.inputs[key].append(job.inputs[key][-1])
    run(job)
    assert list(dict.fromkeys(r["system"] for r in table(job, "ablation_control"))) == [
        *("untuned", "general instructions", "full, against general instructions", "other", "full, against other"),
    ]


def test_without_a_control_its_table_is_empty(job):
    run(job)
    assert table(job, "ablation_control") == []


def test_a_test_set_that_no_mixture_holds_is_left_out_of_every_model(job):
    path = job.inputs["statistics"]
    path.write_text("".join(x for x in path.read_text().splitlines(True) if "fact_verification" not in x))
    run(job)
    rows = table(job, "ablation_task_variety")
    scopes = {(r["system"], r["scope"]) for r in rows if r["task"] == "fact verification"}
    assert scopes == {(name, "left out") for name in ("full", "untuned", "without expansion")}
    assert {r["scope"] for r in rows if r["system"] == "full" and r["task"] == "query expansion"} == {"trained"}


def test_a_mean_over_tasks_weighs_tasks_not_examples(job):
    """A task of 4 examples at 1 and one of 2 at 0 have the mean 0.5, in the row and in the test's values."""
    run(job)
    evaluation = Evaluation(job)
    system = evaluation.system("x", evaluation.index_of(True, 1.0, "no_expansion"), None)
    sizes = {pair: len(next(iter(found.values()))) for pair, found in system.runs[0].values.items()}
    pairs = [pair for pair in sizes if pair[0] in ("query_expansion", "query_subtopic_generation")]
    assert len({sizes[pair] for pair in pairs}) == 2, "the two tasks must differ in size for this test to mean anything"
    (row,) = weighted(system, pairs)
    assert sum(row) / len(row) == pytest.approx(0.5)


def test_the_data_table_holds_every_pair(job):
    run(job)
    used, absent = table(job, "data")
    assert (used["test"], used["train"], used["instructions"], used["tokens"]) == ("4", "0", "7", "90")
    assert (absent["task"], absent["instructions"], absent["verified"]) == ("query suggestion", "0", "schema")


def test_expected_against_ours(job):
    run(job)
    found = table(job, "verdicts")
    rows = {(r["item"], r["published_system"]): r for r in found}
    claimed = {r["category"]: r for r in found if r["item"] == "in_domain" and not r["published_system"]}
    assert set(claimed) == {"query understanding", "document understanding", "query–document relationship"}
    assert claimed["query understanding"]["verdict"] == "same direction"
    assert float(claimed["query understanding"]["change"]) == 100.0
    assert rows["data_volume", ""]["compared"] == "full against 0.25 of the data"
    # of its category reranking alone is the paper's: two queries, not the four written ones
    assert claimed["query–document relationship"]["n"] == "2"
    # the model without expansion is as bad there as the untuned one
    assert rows["unseen", ""]["verdict"] == "can't tell at this scale" and rows["unseen", ""]["n"] == "4"
    assert rows["description", ""]["verdict"] == "not run"
    assert rows["in_domain", "big"]["verdict"] == "differs", "published: tuning hurts; ours: it helps"


def test_one_volume_alone_is_compared_with_nothing(job):
    job.params["volumes"] = [1.0]
    run(job)
    (row,) = [r for r in table(job, "verdicts") if r["item"] == "data_volume"]
    assert row["verdict"] == "not run"


def test_round_trip_and_signs(job):
    run(job)
    rows = table(job, "round_trip")
    assert value(rows, system="tuned", collection="squad", metric="Success@1") == 1.0
    assert value(rows, system="untuned zero-shot", collection="squad", metric="Success@10") == 0.0
    assert value(rows, system="human questions", collection="squad", metric="Success@1") == 1.0
    signs = {r["sign"]: r for r in table(job, "signs")}
    assert signs["held-out loss falls"]["value"] == "0.25" and signs["held-out loss falls"]["passed"] == "true"
    assert signs["answers differ from the untuned model's"]["value"] == "1"
    assert signs["round trip of queries improves on squad"]["passed"] == "true"


def test_a_copy_of_the_passage_is_no_query():
    passage = "One two three, four five six seven eight nine ten eleven twelve thirteen fourteen."
    words = passage.split()
    assert not is_copy(" ".join(words[:12]), passage), "twelve words in a row, as people repeat them"
    assert is_copy("He wrote: ONE two three four five six seven eight nine ten eleven twelve thirteen", passage)
    assert not is_copy("", passage) and not is_copy("what is it?", "short")
    row = example("query_generation", "squad", 0, {"passage": passage}, "?", passage_id="p0")
    found = round_trips([row], [passage], [["p1", "p0"]])
    assert [values[row["id"]] for values in found.values()] == [0.0, 1.0, 0.0]


def test_failures_are_counted(job):
    run(job)
    rows = {r["step"]: r for r in table(job, "parse_failures")}
    assert rows["predict/untuned zero-shot/subtopic generation"]["failed"] == "2"
    assert rows["predict/untuned zero-shot, generated label/fact verification"]["share"] == "1"
    assert rows["predict/tuned/subtopic generation"]["failed"] == "0"


def test_each_fault_is_priced_and_released_switches_it_on(job):
    run(job)
    faults = {(r["fault"], r["system"]): r for r in table(job, "faults")}
    priced = faults["B1", "untuned zero-shot"]
    assert (priced["corrected"], priced["released"]) == ("0", "1")
    assert 0 < float(faults["B4", "tuned"]["released"]) < 1 and faults["B4", "tuned"]["corrected"] == "0"
    assert (faults["B5", "tuned"]["released"], faults["B10", "tuned"]["released"]) == ("0", "1")
    assert faults["B9", "tuned"]["corrected"] == faults["B9", "tuned"]["released"] == "1"
    job.params["faults"] = ["B1"]
    run(job)
    assert value(table(job, "in_domain"), system="untuned zero-shot", task="reading comprehension") == 1.0
    job.params |= {"faults": [], "fidelity": "released"}
    run(job)
    assert value(table(job, "in_domain"), system="untuned zero-shot", task="reading comprehension") == 1.0


def test_details(job):
    run(job)
    means = table(job, "category_means", "details")
    assert value(means, system="tuned", category="query understanding") == 100.0
    # copy covers every task of the first category but not, alone, of the others
    assert {r["category"] for r in means if r["system"] == "copy"} == {"query understanding"}
    metrics = table(job, "metrics", "details")
    assert value(metrics, system="bm25", metric="tie share") == 0.0
    assert value(metrics, system="tuned", metric="weighted F1") == 1.0
    assert all(r["p_holm"] for r in metrics if r["p_value"] and r["metric"] == "nDCG@10")
    assert len(table(job, "per_query", "details")) > 100


def test_a_run_cut_short_is_refused(job):
    path = job.inputs["predictions"][2]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(DataError, match=r"predictions of full, zero_shot: 2 of \d+ prompts have no answer"):
        run(job)


def test_seeds_are_pooled(job):
    job.params["systems"].append(job.params["systems"][2] | {"name": "full-s14", "seed": 14})
    job.inputs["predictions"].append(job.inputs["predictions"][0])
    job.inputs["models"].append(job.inputs["models"][1])
    run(job)
    assert value(table(job, "in_domain"), system="tuned", task="query expansion") == 0.5
    seeds = {r["seed"] for r in table(job, "per_query", "details") if r["system"] == "tuned"}
    assert seeds == {"13", "14"}


def test_means_are_resampled_over_seeds_too():
    """Three models whose gains are +.02, +.06 and -.02 on every example: the examples alone would say "better"."""
    stats = Statistics(0, 2000, 100, 0.95)
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.001, 100)
    value, low, high = stats.within([np.array([gain + noise for gain in (0.02, 0.06, -0.02)])])
    assert value == pytest.approx(0.02, abs=1e-3) and low < 0 < high
    value, low, high = stats.within([np.array([0.02 + noise])])
    assert low > 0


def test_small_pieces():
    row = example("summarization", "xsum", 0, {"article": "One here. Two there."}, "t")
    assert copied(row) == "One here."
    assert majority([{"target": t} for t in ("b", "a", "b", "a")]) == "a"
    with pytest.raises(DataError, match="step 0 and a later step"):
        fall_of({"dev_loss": [{"step": 0, "loss": 2.0}]})
    curve = {"loss_curve": [{"step": 10, "tokens": 100, "loss": 1.0}], "dev_loss": [{"step": 5, "loss": 2.0}]}
    assert loss_rows(curve)[-1] == {"split": "dev", "step": 5, "tokens": 50, "loss": 2.0}
    pair = example("passage_reranking", "squad", 0, {}, "yes", group="q", passage_id="p", rank=1)
    scores = [{"text": "yes", "logprob": float("nan")}, {"text": "no", "logprob": -1.0}]
    with pytest.raises(DataError, match="is NaN"):
        yes_run([pair], [{"scores": scores}])
