"""The whole UDAPDR chain with tiny random models and a made-up corpus, stage by stage as the rules run it."""

from functools import partial
from pathlib import Path

import pytest
from helpers import ROOT

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.errors import DataError
from searchtune.files import read_json, read_jsonl, read_tsv
from searchtune.plan import plan
from searchtune.stage import provenance_of, run_job
from searchtune.synthesis import udapdr_arguments as udapdr

SCALE_UP = ROOT / "workflow/prompts/udapdr/scale_up.yaml"
WORDS = [
    "amber",
    "anchor",
    "basket",
    "beacon",
    "bridge",
    "candle",
    "canyon",
    "copper",
    "coral",
    "cotton",
    "dragon",
    "ember",
    "falcon",
    "forest",
    "garden",
    "glacier",
    "granite",
    "harbor",
    "hazel",
    "island",
    "ivory",
    "jasmine",
    "kettle",
    "lagoon",
    "lantern",
    "maple",
    "marble",
    "meadow",
    "mirror",
    "nectar",
    "oak",
    "orchid",
    "pebble",
    "pepper",
    "quartz",
    "quiver",
    "raven",
    "river",
    "saddle",
    "silver",
    "thistle",
    "thunder",
    "timber",
    "tulip",
    "velvet",
    "walnut",
    "willow",
]


def make_collection(path: Path, name: str) -> Path:
    """Thirty passages of nine words each, two of them asked about in every query."""
    texts = {f"d{i:02d}": " ".join(WORDS[(i * 7 + j * (i % 5 + 1)) % len(WORDS)] for j in range(9)) for i in range(30)}
    queries = {
        f"q{i:02d}": Query(f"where is the {texts[f'd{i:02d}'].split()[1]}?", "", {"split": "test" if i < 10 else "dev"})
        for i in range(14)
    }
    Collection(
        {i: Passage("", t) for i, t in texts.items()},
        queries,
        {f"q{i:02d}": {f"d{i:02d}": 1} for i in range(14)},
        {},
        {"id": name},
    ).save(path)
    return path


def stage(name: str, inputs: dict, outputs: dict, params: dict) -> dict:
    def plain(value: object) -> object:
        return [str(v) for v in value] if isinstance(value, list) else str(value)

    return run_job(
        {
            "stage": name,
            "inputs": {k: plain(v) for k, v in inputs.items()},
            "outputs": {k: str(v) for k, v in outputs.items()},
            "params": params,
            "threads": 1,
        }
    )


def run_chain(folder: Path, config: dict, models: dict[str, Path], collection: Path) -> None:
    """Run one collection's chain, from stage 1 to the students."""
    base = {"collection": collection}
    stage(
        "udapdr.seed",
        base | {"model": models["lm"], "templates": ROOT / "workflow/prompts/udapdr/seed.yaml"},
        {"seed": folder / "seed"},
        udapdr.seed_args(config),
    )
    stage(
        "udapdr.prompts",
        {"seed": folder / "seed"},
        {"prompts": folder / "prompts.jsonl", "synthesis": folder / "prompts.synthesis.tsv"},
        udapdr.prompts_args(config),
    )
    stage(
        "udapdr.scale_up",
        base | {"prompts": folder / "prompts.jsonl", "model": models["lm"], "templates": SCALE_UP},
        {"queries": folder / "queries"},
        udapdr.scale_up_args(config),
    )
    stage(
        "retrieve.late",
        base | {"model": models["encoder"]},
        {"runs": folder / "late" / "zero_shot", "index": folder / "index"},
        udapdr.zero_shot_args(config),
    )
    stage(
        "udapdr.filter",
        base
        | {
            "queries": folder / "queries",
            "seed": folder / "seed",
            "model": models["encoder"],
            "index": folder / "index",
        },
        {"queries": folder / "filtered"},
        udapdr.filter_args(config),
    )
    rerankers = [folder / "rerankers" / str(y) for y in range(config["udapdr"]["prompts"]["count"])]
    for y, path in enumerate(rerankers):
        stage(
            "train.cross_encoder",
            base | {"model": models["encoder"], "queries": folder / "filtered"},
            {"model": path},
            udapdr.reranker_args(config, y),
        )
    stage(
        "score.teachers",
        base | {"queries": folder / "filtered", "models": rerankers},
        {"tuples": folder / "tuples.jsonl"},
        udapdr.teachers_args(config),
    )
    for variant in ("adapted", "shuffled"):
        stage(
            "train.student",
            base | {"model": models["encoder"], "tuples": folder / "tuples.jsonl"},
            {"model": folder / "students" / variant},
            udapdr.student_args(config, variant),
        )


def run_target(folder: Path, off: Path, config: dict, models: dict[str, Path], collection: Path) -> Path:
    """Search, rerank, time and compare on the target; return the folder of tables."""
    base, runs = {"collection": collection}, folder / "runs"
    students = {
        "student_off_domain": off / "students" / "adapted",
        "student_adapted": folder / "students" / "adapted",
        "student_shuffled_teacher": folder / "students" / "shuffled",
    }
    for system, model in students.items():
        stage(
            "retrieve.late",
            base | {"model": model},
            {"runs": folder / "late" / system, "index": folder / "indexes" / system},
            udapdr.student_runs_args(config, system, "amazon"),
        )
    for name in ("bm25", "dense"):  # the dense baseline is another step's: here BM25 stands for it
        stage(
            "retrieve.bm25",
            base,
            {"run": runs / f"{name}.run.gz", "scores": runs / f"{name}.scores.tsv.gz"},
            {"k1": 0.9, "b": 0.4, "depth": 100, "splits": ["test"], "stop_list": "extended"},
        )
    rerankers = [folder / "rerankers" / "0", folder / "rerankers" / "1"]
    stage(
        "rerank.cross_encoder",
        base | {"run": runs / "bm25.run.gz", "models": rerankers},
        {"run": runs / "r.run.gz", "scores": runs / "r.scores.tsv.gz"},
        udapdr.rerank_args(config),
    )
    stage(
        "udapdr.latency",
        base
        | {
            "student": students["student_adapted"],
            "rerankers": rerankers,
            "index": folder / "indexes" / "student_adapted",
        },
        {"latency": folder / "latency.tsv", "hardware": folder / "hardware.json"},
        udapdr.latency_args(config),
    )
    row = {"collection": "amazon", "variant": "", "seed": None}
    made = [
        (runs / "bm25.run.gz", row | {"system": "bm25"}),
        (runs / "dense.run.gz", row | {"system": "minilm_dense"}),
        (folder / "late" / "zero_shot", row | {"system": ""}),
        *((folder / "late" / name, row | {"system": name, "seed": 13}) for name in students),
        (runs / "r.run.gz", row | {"system": "bm25_reranked", "seed": 13}),
        # a variant that makes the same student is worth nothing
        (folder / "late" / "student_adapted", row | {"system": "student_adapted", "seed": 13, "variant": "same"}),
    ]
    variants = {
        "variants": {"same": {"kind": "tuples", "label": "the same", "x": 4}},
        "axes": {"tuples": 8},
        "judge": "",
        "judged": [],
        "dev": True,
        "without": udapdr.absent_systems(config),
        "datasets": {},
        "published_start": False,
    }
    stage(
        "udapdr.evaluate",
        {
            "collections": [collection],
            "runs": [path for path, _ in made],
            "reranked_scores": runs / "r.scores.tsv.gz",
            "rerankers": rerankers,
            "synthesis": [folder / "seed", folder / "prompts.synthesis.tsv", folder / "queries", folder / "filtered"],
            "filtered": folder / "filtered",
            "latency": folder / "latency.tsv",
            "claims": ROOT / "config/expected/claims.tsv",
            "published": ROOT / "config/expected/udapdr.tsv",
        },
        {"tables": folder / "tables", "details": folder / "details"},
        udapdr.evaluate_args(config) | variants | {"runs": [row for _, row in made]},
    )
    return folder / "tables"


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    from searchtune.training.tiny import build_encoder, build_lm

    root = tmp_path_factory.mktemp("udapdr")
    config = plan(ROOT, {"scale": "ci", "collections": {"amazon": {"n_dev": 4}}})
    models = {"lm": root / "lm", "encoder": root / "encoder"}
    build_lm([" ".join(WORDS)] * 4, models["lm"], hidden=32, vocabulary=400)
    build_encoder([" ".join(WORDS)] * 4, models["encoder"], hidden=32, vocabulary=300)
    target, other = make_collection(root / "c" / "amazon", "amazon"), make_collection(root / "c" / "other", "other")
    run_chain(root / "amazon", config, models, target)
    run_chain(root / "other", config, models, other)
    tables = run_target(root / "amazon", root / "other", config, models, target)
    return {"root": root, "config": config, "models": models, "target": target, "tables": tables}


@pytest.mark.slow
def test_every_system_is_in_the_quality_table(chain):
    rows = read_tsv(chain["tables"] / "quality.tsv")
    assert {row["system"] for row in rows} == {
        "bm25",
        "minilm_dense",
        "maxsim_no_projection",
        "student_untrained_projection",
        "student_off_domain",
        "student_adapted",
        "student_shuffled_teacher",
        "bm25_reranked",
    }
    assert {row["metric"] for row in rows} == {"Success@5", "nDCG@10", "RR"}
    assert all(0 <= float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"]) <= 1 for row in rows)
    assert all(row["p_vs_bm25"] == "" for row in rows if row["system"] == "bm25")


@pytest.mark.slow
def test_counts_agree_from_stage_to_stage(chain):
    rows = read_tsv(chain["tables"] / "synthesis.tsv")
    folder = chain["root"] / "amazon"
    out = {
        stage_name: sum(int(r["out"]) for r in rows if r["stage"] == stage_name)
        for stage_name in ("scale_up", "clean", "deduplicate", "filter", "prompts")
    }
    given = {name: sum(int(r["in"]) for r in rows if r["stage"] == name) for name in out}
    assert out["prompts"] == 6
    assert given["clean"] == out["scale_up"] and given["deduplicate"] == out["clean"]
    assert given["filter"] == out["deduplicate"] == len(read_jsonl(folder / "queries" / "queries.jsonl"))
    assert out["filter"] == len(read_jsonl(folder / "filtered" / "queries.jsonl"))
    assert len(read_jsonl(folder / "queries" / "calls.jsonl.gz")) == given["scale_up"]


@pytest.mark.slow
def test_signs_of_life_cover_rerankers_teacher_filter_and_spread(chain):
    signs = [row["sign"] for row in read_tsv(chain["tables"] / "signs.tsv")]
    assert len(signs) == 5
    assert signs[0] == "reranker amazon/0 beats its untrained head"
    systems = [(row["system"], row["depth"], row["batch"]) for row in read_tsv(chain["tables"] / "latency.tsv")]
    assert systems[:4] == [
        ("bm25", "100", "1"),
        ("bm25", "100", "4"),
        ("student_adapted", "100", "1"),
        ("student_adapted", "100", "4"),
    ]
    assert len(systems) == 8


@pytest.mark.slow
def test_labelled_queries_never_trained_their_reranker(chain):
    folder = chain["root"] / "amazon"
    rows = {row["id"]: row for row in read_jsonl(folder / "filtered" / "queries.jsonl")}
    labelled = {row["id"].rsplit("-", 1)[0] for row in read_jsonl(folder / "tuples.jsonl")}
    assert labelled and all(rows[i]["part"] == "label" for i in labelled)
    trained_passages = {row["source"] for row in rows.values() if row["part"] == "train"}
    assert not trained_passages & {rows[i]["source"] for i in labelled}


@pytest.mark.slow
def test_a_smaller_z_is_a_prefix(chain, tmp_path):
    folder, config = chain["root"] / "amazon", chain["config"]
    params = udapdr.scale_up_args(config) | {"per_prompt": 5}
    stage(
        "udapdr.scale_up",
        {
            "collection": chain["target"],
            "prompts": folder / "prompts.jsonl",
            "model": chain["models"]["lm"],
            "templates": SCALE_UP,
        },
        {"queries": tmp_path / "q"},
        params,
    )
    fewer, more = (read_jsonl(path / "queries.jsonl") for path in (tmp_path / "q", folder / "queries"))
    assert fewer == more[: len(fewer)]
    assert len(fewer) < len(more)


@pytest.mark.slow
def test_a_filter_that_keeps_nothing_is_an_error(chain, tmp_path):
    folder, config = chain["root"] / "amazon", chain["config"]
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "queries.jsonl").write_text(
        '{"id": "y0-0", "text": "zzz", "source": "d00", "prompt": 0}\n', encoding="utf-8"
    )
    params = udapdr.filter_args(config) | {"retrievers": ["bm25"], "candidates": "bm25", "k": 1}
    with pytest.raises(DataError, match="none of 1 synthetic queries has its passage in the top 1 of bm25"):
        stage(
            "udapdr.filter",
            {"collection": chain["target"], "queries": tmp_path / "queries", "seed": folder / "seed"},
            {"queries": tmp_path / "out"},
            params,
        )


@pytest.mark.slow
def test_teacher_noise_is_a_switch(chain, tmp_path):
    folder, config = chain["root"] / "amazon", chain["config"]
    score = partial(
        stage,
        "score.teachers",
        {
            "collection": chain["target"],
            "queries": folder / "filtered",
            "models": [folder / "rerankers" / "0", folder / "rerankers" / "1"],
        },
    )
    score({"tuples": tmp_path / "a.jsonl"}, udapdr.teachers_args(config))
    score({"tuples": tmp_path / "b.jsonl"}, udapdr.teachers_args(config) | {"faults": ["U5"]})
    clean, noisy = (read_jsonl(tmp_path / name) for name in ("a.jsonl", "b.jsonl"))
    assert clean == read_jsonl(folder / "tuples.jsonl")
    assert [row["passages"] for row in noisy] == [row["passages"] for row in clean]
    assert [row["scores"] for row in noisy] != [row["scores"] for row in clean]


@pytest.mark.slow
def test_teacher_noise_repeats(chain):
    config, root = chain["config"] | {"faults": ["U5"]}, chain["root"]
    folder, found = root / "amazon", []
    for name in ("noisy_a.jsonl", "noisy_b.jsonl"):
        stage(
            "score.teachers",
            {
                "collection": chain["target"],
                "queries": folder / "filtered",
                "models": [folder / "rerankers" / "0", folder / "rerankers" / "1"],
            },
            {"tuples": root / name},
            udapdr.teachers_args(config),
        )
        found.append((root / name).read_bytes())
    assert found[0] == found[1] != (folder / "tuples.jsonl").read_bytes()


@pytest.mark.slow
def test_models_say_what_they_were_trained_with(chain):
    folder = chain["root"] / "amazon"
    training = read_json(folder / "students" / "shuffled" / "training.json")
    assert training["settings"]["shuffle_scores"] is True and training["curve"]
    rates = [row["lr"] for row in read_json(folder / "rerankers" / "0" / "training.json")["curve"]]
    assert max(rates) <= 0.001 and rates[-1] < max(rates)
    assert provenance_of(folder / "students" / "adapted")["recipe"]["stage"] == "train.student"


@pytest.mark.slow
def test_a_variant_with_the_same_student_differs_in_nothing(chain):
    rows = read_tsv(chain["tables"] / "ablations.tsv")
    assert [(row["label"], row["x"]) for row in rows if row["metric"] == "RR"] == [
        ("as configured", "8"),
        ("the same", "4"),
    ]
    changed = [row for row in rows if row["variant"] == "same"]
    assert {(float(row["difference"]), float(row["p_value"])) for row in changed} == {(0.0, 1.0)}


@pytest.mark.slow
def test_dev_queries_have_a_table_of_their_own(chain):
    tables = chain["root"] / "amazon/tables"
    rows = read_tsv(tables / "dev.tsv")
    assert {row["n"] for row in rows} == {"4"}
    assert {(row["variant"], row["system"]) for row in rows} == {("", "student_adapted"), ("same", "student_adapted")}
    assert {row["n"] for row in read_tsv(tables / "ablations.tsv")} == {"10"}
    assert all("p_value" not in row for row in rows)


@pytest.mark.slow
def test_the_prompt_of_inpars_writes_about_every_passage_once(chain, tmp_path):
    part = chain["config"]["udapdr"]
    # the scale ci draws instead: greedy answers of its tiny writer hold no question
    row = plan(ROOT, {"scale": "demo"})["udapdr"]["ablations"]["inpars"]["set"]["scale_up"]
    config = chain["config"] | {"udapdr": part | {"scale_up": part["scale_up"] | row | {"per_prompt": 12}}}
    params = udapdr.scale_up_args(config)
    assert params["sampling"] == {"max_tokens": 64, "temperature": 0.0, "top_p": 1.0, "stop": "blank_line"}
    # greedy answers of random weights are blank
    params["sampling"] = params["sampling"] | {"max_tokens": 8, "temperature": 1.0}
    stage(
        "udapdr.scale_up",
        {
            "collection": chain["target"],
            "prompts": chain["root"] / "amazon" / "prompts.jsonl",
            "model": chain["models"]["lm"],
            "templates": SCALE_UP,
        },
        {"queries": tmp_path / "q"},
        params,
    )
    calls = read_jsonl(tmp_path / "q" / "calls.jsonl.gz")
    # two prompts of twelve calls about 24 of the 24 passages that no demonstration shows
    assert len(calls) == 24 and len({call["prompt_sha256"] for call in calls}) == 24
    assert {tuple(call["sampling"]["stop"]) for call in calls} == {("\n\n",)}
    assert {row["prompt"] for row in read_jsonl(tmp_path / "q" / "queries.jsonl")} == {0, 1}


@pytest.mark.slow
def test_a_chain_with_the_faults_of_the_released_code_runs(chain, tmp_path):
    # without U3: of the few queries of a random model none has its source at ranks 2 to 5
    faults = ["U4", "U5", "U7", "U12", "U13", "U14", "U15"]
    config = chain["config"] | {"faults": faults}
    run_chain(tmp_path / "released", config, chain["models"], chain["target"])
    tuples = read_jsonl(tmp_path / "released" / "tuples.jsonl")
    in_file = [row["id"] for row in read_jsonl(tmp_path / "released" / "filtered" / "queries.jsonl")]
    places = [in_file.index(row["id"].rsplit("-", 1)[0]) for row in tuples]
    assert places == sorted(places)
    training = read_json(tmp_path / "released" / "students" / "adapted" / "training.json")
    assert training["tuples"] == -(-len(tuples) // 4) and training["settings"]["ranks"] == 4
    seeds = [read_json(tmp_path / "released" / "rerankers" / y / "training.json")["seed"] for y in "01"]
    assert seeds == [13, 13]
