"""Which files the chains of LimRank share, where rows come from, and what is refused before any job."""

import pytest
from helpers import ROOT

from searchtune.audited import chains_of_papers, training_sets
from searchtune.errors import ConfigError, LeakageError
from searchtune.plan import plan
from searchtune.synthesis.limrank_chains import STEPS, LimrankChains


def chains(**limrank) -> LimrankChains:
    return LimrankChains(plan(ROOT, {"scale": "ci", "limrank": limrank}))


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ("no_personas", "synthesis"),
        ("no_daily_life", "synthesis"),
        ("no_expert", "synthesis"),
        ("no_long_reasoning", "synthesis"),
        ("no_hard_negatives", "synthesis"),
        ("human", "synthesis"),
        ("inters", "synthesis"),
        ("udapdr", "synthesis"),
        ("rows_25", "models"),
        ("half_budget", "reranked"),
    ],
)
def test_a_change_makes_anew_what_it_touches_and_nothing_before(change, first):
    found = chains(run_ablations=[change])
    assert [step for step in STEPS if found.owner(change, step) == change] == list(STEPS[STEPS.index(first) :])
    assert {found.owner(change, step) for step in STEPS[: STEPS.index(first)]} <= {""}


def test_the_chain_as_configured_keeps_its_paths_and_changes_have_their_own():
    found = chains(run_ablations=["no_personas", "half_budget"])
    assert found.path("", "packed", "direct.train.jsonl") == "<results>/limrank/packed/direct.train.jsonl"
    assert found.model("", "direct", 13) == "<results>/limrank/models/direct-s13"
    assert found.path("no_personas", "packed") == "<results>/limrank/packed.no_personas"
    runs = {row["change"]: row for row in found.runs()}
    assert runs["no_personas"]["path"] == "<results>/limrank/reranked/direct.no_personas-s13"
    # another budget of reasoning is another reranking by the same model
    assert runs["half_budget"]["model"] == "<results>/limrank/models/reasoning-s13"
    assert runs["half_budget"]["path"] == "<results>/limrank/reranked/reasoning.half_budget-s13"


def test_a_change_that_changes_nothing_is_the_chain_itself():
    row = {"kind": "sizes", "set": {"train": {"fraction": 1.0}}}
    found = chains(ablations={"all_rows": row}, run_ablations=["all_rows"])
    assert [found.owner("all_rows", step) for step in STEPS] == [""] * 4


def test_the_depth_sweep_reranks_the_chain_as_configured_alone_at_the_largest_depth():
    from searchtune.synthesis.limrank_arguments import rerank_args

    config = plan(ROOT, {"scale": "ci", "limrank": {"depths": [2, 20]}})
    assert rerank_args(config, "direct-s13")["depth"] == 20
    assert LimrankChains(config).rerank_args("no_personas", "direct", 13)["depth"] == 5


def test_every_source_names_its_inputs():
    found = chains(run_ablations=["human", "inters", "udapdr"])
    assert found.source_inputs("human")["run"] == "<results>/runs/squad/bm25.run.gz"
    assert found.source_inputs("inters")["examples"] == "<results>/inters/examples"
    assert found.source_inputs("udapdr")["queries"] == "<results>/udapdr/new_wiki/filtered"
    assert found.source_inputs("udapdr")["collection"] == "<results>/collections/new_wiki"
    # rows that tune with reasoning need somebody to write it
    assert "judge" not in found.source_inputs("human")
    assert chains(run_ablations=["human"], ablated="reasoning").source_inputs("human")["judge"].endswith("tiny-lm")


def test_the_audit_sees_every_set_of_rows():
    config = plan(ROOT, {"scale": "ci"})
    rows = "reasoning.train.jsonl"
    names = [f"packed/{rows}", f"packed.no_personas/{rows}", f"packed.human/{rows}"]
    assert chains_of_papers(config)["limrank"]["train"] == names
    assert set(training_sets(config)) >= {f"limrank/{name}" for name in names}


@pytest.mark.parametrize(
    ("limrank", "more", "message"),
    [
        ({"run_ablations": ["no_persona"]}, {}, r"'no_persona', which is not in ablations; did you mean 'no_personas'"),
        ({"ablated": "reasoning", "variants": ["direct"]}, {}, "compared with the reasoning model"),
        ({"source": {"name": "human"}}, {}, "limrank.source.name is 'human'.*entry of limrank.ablations"),
        ({"depths": [10, 500]}, {}, "reranks 500 passages.*retrieval.depth keeps 100.*lower limrank.depths"),
        ({"run_ablations": ["udapdr"]}, {"udapdr": {"off_domain": ""}}, "udapdr.off_domain is empty"),
        (
            {"ablations": {"x": {"kind": "sizes", "set": {"collections": ["nyt"]}}}, "run_ablations": ["x"]},
            {},
            "set names collections, which belongs to the whole part",
        ),
        (
            {"ablations": {"x": {"kind": "sizes", "set": {"train": {"fractoin": 0.5}}}}, "run_ablations": ["x"]},
            {},
            "ablations.x.set.train.fractoin",
        ),
    ],
)
def test_unsound_changes_fail_before_any_job(limrank, more, message):
    with pytest.raises(ConfigError, match=message):
        plan(ROOT, {"scale": "ci", "limrank": limrank, **more})


@pytest.mark.parametrize("target", ["nyt", "amazon"])
def test_a_target_gives_no_rows(target):
    row = {"kind": "sources", "set": {"source": {"name": "human", "collection": target}}}
    user = {
        "limrank": {"ablations": {"taken": row}, "run_ablations": ["taken"]},
        "collections": {target: {"n_train": 5}},
    }
    with pytest.raises(LeakageError, match=f"limrank source taken would train on '{target}'"):
        plan(ROOT, {"scale": "ci"} | user)
