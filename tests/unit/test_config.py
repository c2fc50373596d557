"""The schema is the source: unknown keys, bad values and stale documentation are found."""

import pytest
import yaml
from helpers import ROOT

from searchtune.config.base import merge
from searchtune.config.document import texts
from searchtune.config.load import check_keys, load_config
from searchtune.config.schema import Config
from searchtune.errors import ConfigError

SCALES = ["ci", "demo", "adapt", "synthesize", "laptop", "workstation", "paper"]


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_is_a_complete_configuration(scale):
    config = load_config(ROOT, {"scale": scale})
    assert config.scale == scale
    assert config.collections and config.models


def test_users_file_holds_three_keys():
    assert set(yaml.safe_load((ROOT / "config/config.yaml").read_text())) == {"scale", "papers", "seeds"}


def test_unknown_key_names_file_key_value_and_nearest():
    with pytest.raises(ConfigError) as error:
        load_config(ROOT, {"seds": [1]})
    assert str(error.value) == "config/config.yaml: unknown key 'seds' (value [1]); did you mean 'seeds'?"


def test_unknown_key_inside_a_collection():
    with pytest.raises(ConfigError, match=r"collections.amazon.n_tset.*did you mean 'n_test'"):
        load_config(ROOT, {"collections": {"amazon": {"n_tset": 5}}})


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"scale": "demmo"}, r"config/config.yaml: key 'scale' has value 'demmo'.*did you mean 'demo'"),
        ({"seeds": []}, r"config/config.yaml: key 'seeds' has value \[\]"),
        ({"seeds": ["x"]}, r"config/config.yaml: key 'seeds.0' has value 'x'"),
        ({"hardware": {"threads": 0}}, r"key 'hardware.threads' has value 0: .*greater than or equal to 1"),
        ({"hardware": {"tensor_parallel": 2}}, r"tensor_parallel is 2, but gpus is 0: set gpus to at least 2"),
        (
            {"hardware": {"gpus": 2, "tensor_parallel": 2, "backend": "transformers"}},
            r"config/config.yaml: key 'hardware' .*tensor_parallel is 2, which transformers can't do",
        ),
        ({"splits": {"train": 0.95, "dev": 0.1}}, r"splits.*leave a share for test"),
        ({"models": {"m": {"source": "hub", "kind": "causal", "trust_remote_code": True}}}, "trust_remote_code"),
    ],
)
def test_bad_values_name_file_key_value(user, message):
    with pytest.raises(ConfigError, match=message):
        load_config(ROOT, user)


def test_merge_lays_one_layer_over_another():
    assert merge({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}, "b": [2]}) == {"a": {"x": 1, "y": 3}, "b": [2]}


def test_papers_and_scales_hold_known_keys_only():
    for path in sorted((ROOT / "config").rglob("*.yaml")):
        check_keys(yaml.safe_load(path.read_text()) or {}, Config, path.name)


@pytest.mark.parametrize("name", ["README.md", "schema.json"])
def test_generated_documentation_is_in_step(name):
    assert (ROOT / "config" / name).read_text() == texts()[name], "run `make docs`"


def test_every_key_is_described():
    undocumented = [
        line for line in texts()["README.md"].splitlines() if line.startswith("| `") and line.endswith("|  |")
    ]
    assert undocumented == []
