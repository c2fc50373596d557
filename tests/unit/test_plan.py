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
