"""INTERS' section of the configuration, its arguments, and the prediction step on a fake engine."""

import pytest
from pydantic import ValidationError

from searchtune.config.inters import Inters
from searchtune.config.inters_pairs import COLLECTION_TASKS, FILE_SOURCES, RANKING_TASKS, collection_of, sources_of
from searchtune.errors import ConfigError
from searchtune.files import read_jsonl, write_jsonl
from searchtune.llm import job_engine
from searchtune.llm.engine import Completion, Scored
from searchtune.stage import Job
from searchtune.tasks import arguments, predict
from searchtune.tasks.inventory import TASKS
from searchtune.tasks.pairs import COLLECTION_NORMALISERS, FILE_NORMALISERS
from searchtune.tasks.variants import check_ablations


def config(**inters):
    pairs = {
        "query_expansion/gov2": {"n_train": 4, "n_test": 2},
        "passage_reranking/squad": {"n_test": 2},
        "summarization/xsum": {},
    }
    sources = {"gov2": {"raw": ["pyserini/t.txt"]}, "xsum": {"raw": ["big/x.json"]}}
    section = Inters(**({"pairs": pairs, "sources": sources} | inters)).model_dump(mode="json")
    return {
        "inters": section,
        "seeds": [13, 14],
        "models": {"smollm2-135m-instruct": {"form": "chatml"}},
        "hardware": {"backend": "vllm", "dtype": "bfloat16", "threads": 2},
    }


def test_names_code_and_inventory_agree():
    assert {t: set(d) for t, d in FILE_SOURCES.items()} == {t: set(d) for t, d in FILE_NORMALISERS.items()}
    assert set(COLLECTION_TASKS) == {*COLLECTION_NORMALISERS, *RANKING_TASKS}
    assert {*FILE_SOURCES, *COLLECTION_TASKS} == set(TASKS)
    assert all(task.main == task.metrics[0] for task in TASKS.values())
    assert sources_of("query_reformulation/disfl_qa") == ("disfl_qa", "squad_dev")
    assert collection_of("query_generation/new_wiki") == "new_wiki" and collection_of("query_generation/fire") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": {"query_expansoin/gov2": {}}}, "unknown task 'query_expansoin'; did you mean 'query_expansion'"),
        ({"pairs": {"query_expansion/gov3": {}}}, "has no data set 'gov3'; did you mean 'gov2'"),
        ({"pairs": {"summarization": {}}}, "expected task/dataset"),
        ({"pairs": {"conversational_qa/coqa": {}}}, r"inters.sources.coqa names no raw file"),
        ({"pairs": {"query_generation/amazon": {"n_train": 5}}}, "'amazon' is not listed under inters.collections"),
        (
            {"pairs": {"query_generation/amazon": {"n_train": 5}}, "collections": ["amazon"]},
            "trains on 'amazon', which is not in inters.train_collections",
        ),
        ({"volumes": [0.5]}, "volumes must hold 1.0"),
        ({"rankings": {"argument_retrival": {}}}, "no ranking task; did you mean 'argument_retrieval'"),
        ({"pairs": {"query_expansion/gov2": {"n_test": 1}}}, "an interval needs at least 2 examples"),
        ({"mixture": {"total_token": 5}}, "total_token"),
    ],
)
def test_wrong_section_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        config(**change)


def test_arguments_hold_what_is_used_alone():
    found = config(volumes=[1.0, 0.05, 0.25])
    named = {name: (v["mixture"], v["fraction"], v["seed"]) for name, v in arguments.variants(found).items()}
    assert named == {
        "vol5": ("full", 0.05, 13),
        "vol5-s14": ("full", 0.05, 14),
        "vol25": ("full", 0.25, 13),
        "vol25-s14": ("full", 0.25, 14),
        "full": ("full", 1.0, 13),
        "full-s14": ("full", 1.0, 14),
    }
    assert arguments.raw_artefacts(found) == ["pyserini"], "a pair without examples must not be fetched"
    assert arguments.used_collections(found) == arguments.ranked_collections(found) == ["squad"]
    assert arguments.tasks(found) == ["passage_reranking", "query_expansion"]
    trained = arguments.train_args(found, arguments.variants(found)["vol5-s14"])
    assert (trained["fraction"], trained["seed"], trained["form"]) == (0.05, 14, "chatml")


ABLATIONS = {
    "no_description": {"with_description": False},
    "templates_1": {"n_templates": 1},
    "theirs": {"templates": "released"},
    "without_qdu": {"kind": "task_variety", "leave_out": ["QDU"]},
    "without_gov2": {"kind": "task_variety", "leave_out": ["query_expansion/gov2"]},
}


def ablated(**inters):
    found = config(ablations=ABLATIONS, run_ablations=["all"], **inters)
    found["models"]["other"] = {"form": "plain"}
    found["inters"]["pairs"]["passage_reranking/squad"]["n_train"] = 2
    return found | {"seeds": [13]}


def test_every_ablation_is_a_mixture_and_a_model():
    found = ablated(bases=["other"])
    assert list(arguments.variants(found)) == [
        *("vol25", "full", "no_description", "templates_1", "without_qdu", "without_gov2", "full.other"),
    ]
    assert list(arguments.mixtures(found)) == [
        *("full", "no_description", "templates_1", "without_qdu", "without_gov2", "full.other"),
    ]
    crossed = arguments.variants(ablated(bases=["other"], cross_bases=True))
    assert crossed["templates_1.other"]["base"] == "other" and "vol25.other" not in crossed
    assert arguments.untuned(found) == {"base": "smollm2-135m-instruct", "base.other": "other"}


def test_an_ablation_changes_what_it_names_and_nothing_else():
    found = ablated()
    full, one = (arguments.render_args(found, name) for name in ("full", "templates_1"))
    assert {key for key in full if full[key] != one[key]} == {"n_templates", "uses"}
    assert one["n_templates"] == 1 and one["uses"] == 10 * full["uses"] and full["leave_out"] == []
    assert arguments.render_args(found, "without_qdu")["leave_out"] == ["passage_reranking/squad"]
    assert arguments.render_args(found, "without_gov2")["leave_out"] == ["query_expansion/gov2"]
    sets = {name: arguments.prompt_sets(found, spec) for name, spec in arguments.variants(found).items()}
    assert sets["templates_1"] == ["zero_shot"] and sets["no_description"] == ["zero_shot", "own"]


def test_released_wordings_are_asked_for_where_they_are_named_alone():
    found = ablated()
    assert arguments.released_artefact(found) is None and "theirs" not in arguments.mixtures(found)
    found["inters"]["run_ablations"] = ["theirs"]
    assert arguments.released_artefact(found) and "released" in arguments.released_input(found, "theirs")
    assert arguments.released_input(found, "full") == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run_ablations": ["no_descripton"]}, "not in ablations; did you mean 'no_description'"),
        ({"ablations": {"x": {}}}, "it changes nothing"),
        ({"ablations": {"x": {"leave_out": ["query_expnsion"]}}}, "no category, task or task/dataset pair; did you"),
        ({"ablations": {"full": {"n_templates": 1}}}, "a name has small letters"),
        ({"ablations": {"x": {"bare": True, "n_templates": 1}}}, "set either bare or n_templates"),
    ],
)
def test_wrong_ablations_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        config(**({"ablations": ABLATIONS} | change))


def test_an_ablation_of_nothing_or_of_everything_is_refused():
    check_ablations(ablated())
    found = ablated()
    found["inters"]["ablations"]["without_qdu"]["leave_out"] = ["conversational_qa"]
    with pytest.raises(ConfigError, match="of which nothing trains at this scale"):
        check_ablations(found)
    found["inters"]["ablations"]["without_qdu"]["leave_out"] = ["QU", "QDU"]
    with pytest.raises(ConfigError, match="leaves out all of the training data"):
        check_ablations(found)


def test_ranking_tasks_share_a_collection_and_its_run():
    pairs = {f"{task}/squad": {"n_test": 2} for task in ("passage_reranking", "argument_retrieval")}
    found = config(pairs=pairs)
    assert arguments.ranked_collections(found) == ["squad"]
    assert arguments.tasks(found) == ["argument_retrieval", "passage_reranking"]


class Fake:
    """An engine that answers with the last word of a prompt and scores continuations by length."""

    model, revision, max_model_len = "fake", "0", 1000

    def generate(self, prompts, sampling):
        assert [s.max_tokens for s in sampling] == [5]
        return [Completion(p.split("<|im_end|>")[0].split()[-1], "stop", 1, 1) for p in prompts]

    def score(self, prompts, continuations):
        return [[Scored(-float(len(text)), 1) for text in texts] for texts in continuations]

    def count(self, prompts):
        return [1] * len(prompts)


def test_predict_asks_every_prompt_once_in_its_form(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(job_engine, "open_engine", lambda *a, **k: opened.append((a, k)) or Fake())
    rows = [
        {"id": "a#generate", "kind": "generate", "prompt": "say cat", "max_tokens": 5, "continuations": None},
        {"id": "b#score", "kind": "score", "prompt": "which?", "max_tokens": 4, "continuations": ["yes", "no"]},
    ]
    write_jsonl(tmp_path / "prompts/zero_shot.jsonl", rows)
    params = {
        "sets": ["zero_shot"],
        "backend": "vllm",
        "form": "chatml",
        "dtype": "bfloat16",
        "max_model_len": 64,
        "shard_size": 1,
        "seed": 0,
    }
    job = Job(
        "inters.predict",
        {"model": tmp_path, "prompts": tmp_path / "prompts"},
        {"predictions": tmp_path / "p.jsonl"},
        params,
        work=tmp_path / "work",
    )
    counts = predict.run(job)
    first, second = read_jsonl(tmp_path / "p.jsonl")
    assert first["id"] == "zero_shot/a#generate" and first["text"] == "cat"
    assert [s["text"] for s in second["scores"]] == ["yes", "no"] and counts["calls"] == 2
    assert len(opened) == 1


def test_plain_prompts_stop_at_an_empty_line():
    row = {"id": "a", "kind": "generate", "prompt": "x", "max_tokens": 5}
    assert predict.request_of(row, "few_shot", "plain").sampling.stop == ("\n\n",)
    with pytest.raises(ConfigError, match="prompt form 'chatlm' is unknown"):
        predict.request_of(row, "few_shot", "chatlm")
