"""What is refused before any job starts: unknown ids, training on targets."""

import pytest
from helpers import ROOT

from searchtune.errors import ConfigError, LeakageError
from searchtune.plan import plan, raw_paths


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (
            {"limrank": {"collections": ["redit"]}},
            r"config/config.yaml: limrank.collections names 'redit'.*did you mean 'reddit'",
        ),
        ({"udapdr": {"encoder": "minilm-l7"}}, r"udapdr.encoder names 'minilm-l7'.*did you mean 'minilm-l6'"),
        ({"inters": {"base": "smolm2-135m-instruct"}}, r"inters.base names .*did you mean 'smollm2-135m-instruct'"),
        ({"udapdr": {"cheap_model": "inters/ful"}}, r"udapdr.cheap_model names .*did you mean 'inters/full'"),
        ({"faults": ["b1"]}, r"config/config.yaml: key 'faults' names 'b1', .*did you mean 'B1'"),
        ({"faults": ["U1"]}, r"names 'U1', which is no fault that is rebuilt here"),
        (
            {"udapdr": {"ablations": {"mine": {"kind": "faults", "faults": ["u5"]}}, "run_ablations": ["mine"]}},
            r"config/config.yaml: key 'udapdr.ablations.mine.faults' names 'u5', .*did you mean 'U5'",
        ),
        (
            {
                "udapdr": {
                    "ablations": {"mine": {"kind": "models", "set": {"cheap_model": "inters/ful"}}},
                    "run_ablations": ["mine"],
                }
            },
            r"config/config.yaml: udapdr.ablations.mine.set.cheap_model names 'inters/ful'.*'inters/full'",
        ),
        (
            {
                "udapdr": {
                    "ablations": {"mine": {"kind": "models", "set": {"reranker": {"model": "minilm"}}}},
                    "run_ablations": ["all"],
                }
            },
            r"udapdr.ablations.mine.set.reranker.model names 'minilm'.*'minilm-l6'",
        ),
        ({"udapdr": {"reranker": {"model": "minilm"}}}, r"udapdr.reranker.model names 'minilm'.*'minilm-l6'"),
    ],
)
def test_unknown_ids_are_named_with_the_nearest(user, message):
    with pytest.raises(ConfigError, match=message):
        plan(ROOT, {"scale": "demo"} | user)


@pytest.mark.parametrize(
    ("user", "chain"),
    [
        ({"udapdr": {"off_domain": "reddit"}}, "udapdr off-domain would train on 'reddit'"),
        ({"udapdr": {"target": "squad"}}, "inters would train on 'squad'"),
        ({"limrank": {"planted_collection": "nyt"}}, "limrank planted pairs would train on 'nyt'"),
        ({"collections": {"new_wiki": {"target": True}}}, "would train on 'new_wiki'"),
    ],
)
def test_training_on_a_target_fails_at_plan_time(user, chain):
    with pytest.raises(LeakageError, match=chain):
        plan(ROOT, {"scale": "demo"} | user)


def test_artefacts_cover_every_raw_path():
    config = plan(ROOT, {"scale": "demo"})
    assert {p.split("/")[0] for p in raw_paths(config)} == set(config["plan"]["artefacts"])
    assert "bigbench-1.0.0" in config["plan"]["artefacts"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"teachers": {"select": 1}, "run_ablations": []},
            r"config/config.yaml: udapdr.teachers.select chooses rerankers on held-out",
        ),
        ({"run_ablations": ["best_reranker"]}, r"udapdr.run_ablations has 'best_reranker', which chooses rerankers"),
    ],
)
def test_held_out_synthetic_queries_do_not_both_choose_rerankers_and_test(changes, message):
    user = {"scale": "ci", "collections": {"amazon": {"n_test": 0}}, "udapdr": changes}
    with pytest.raises(ConfigError, match=message):
        plan(ROOT, user)
