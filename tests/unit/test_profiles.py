"""Profiles name rules that exist, ask for more with every attempt, and stay within the partitions."""

import re
from types import SimpleNamespace

import pytest
import yaml
from helpers import ROOT
from rules import rule_texts

from searchtune.demand import LONGEST, minutes

RULES = rule_texts()
PROFILES = {path.parent.name: yaml.safe_load(path.read_text()) for path in (ROOT / "profiles").glob("*/config.yaml")}
SLURM = PROFILES["slurm"]
PARTITIONS = yaml.safe_load((ROOT / "profiles/slurm/partitions.yaml").read_text())["partitions"]


def value(expression, attempt: int) -> int:
    """Evaluate a resource of our own profile as Snakemake does."""
    return eval(str(expression), {"attempt": attempt})


def test_profiles_name_rules_that_exist():
    named = {group.split("=")[0] for group in SLURM["groups"]} | set(SLURM["set-resources"])
    assert named <= set(RULES), named - set(RULES)
    groups = {group.split("=")[1] for group in SLURM["groups"]}
    assert {part.split("=")[0] for part in SLURM["group-components"]} == groups


def test_short_rules_of_a_cluster_run_where_snakemake_does():
    text = (ROOT / "workflow/Snakefile").read_text()
    local = re.search(r"^localrules:\n((?: +\w+,\n)+)", text, flags=re.M).group(1)
    assert set(re.findall(r"\w+", local)) <= set(RULES)


@pytest.mark.parametrize("resource", ["mem_mb", "runtime"])
def test_a_retry_gets_more(resource):
    first, second = (value(SLURM["default-resources"][resource], attempt) for attempt in (1, 2))
    assert second > first
    assert SLURM["retries"] >= 1


def test_no_attempt_outgrows_every_partition():
    last = SLURM["retries"] + 1
    for rule, resources in SLURM["set-resources"].items():
        assert value(resources["runtime"], 1) < value(resources["runtime"], last) <= LONGEST, rule
    assert value(SLURM["default-resources"]["runtime"], last) <= LONGEST
    assert max(partition["max_runtime"] for partition in PARTITIONS.values() if "max_gpu" not in partition) == LONGEST


def test_every_model_job_has_a_time_of_its_own():
    # a rule that is made from another inherits what stands in the rules, not what the profile says of the other
    models = {name for name, text in RULES.items() if "gpu=" in text}
    assert {"limrank_rerank_change", "udapdr_latency", "dense"} <= models
    without = {name for name in models if "runtime=" not in RULES[name] and name not in SLURM["set-resources"]}
    assert not without, f"{without} would get the default of {SLURM['default-resources']['runtime']} minutes"
    assert not [name for name in models if "mem_mb=" not in RULES[name]]


@pytest.mark.parametrize("mem_mb", [1000, 120_000, 250_000])
def test_a_long_job_without_a_gpu_stays_out_of_their_partition(tmp_path, mem_mb):
    partitions = pytest.importorskip("snakemake_executor_plugin_slurm.partitions")
    with (tmp_path / "corpus").open("wb") as corpus:
        corpus.truncate(14 * 2**30)  # sparse
    time = minutes(60, 720)(None, [str(tmp_path / "corpus")], SLURM["retries"] + 1)
    job = SimpleNamespace(threads=16, resources={"mem_mb": mem_mb, "runtime": time, "tasks": 0, "gpu": 0})
    offers = partitions.read_partition_file(ROOT / "profiles/slurm/partitions.yaml")
    fits = {offer.name: offer.score_job_fit(job) for offer in offers}
    assert fits["standard"] and max(fits, key=lambda name: fits[name] or 0) == "standard", fits


def test_a_gpu_job_is_one_task_and_only_some_partition_takes_it():
    # without `tasks: 0` SLURM starts as many tasks as there are GPUs
    assert SLURM["default-resources"]["tasks"] == 0 and SLURM["default-resources"]["gpu"] == 0
    assert [name for name, partition in PARTITIONS.items() if partition.get("max_gpu")] == ["gpu"]


def test_every_rule_tells_its_code_among_its_params():
    """A fetched file is pinned by its sum, whatever code fetches it."""
    running = {name: text for name, text in rule_texts().items() if "    script:" in text or "    notebook:" in text}
    assert not [name for name, text in rule_texts().items() if "    shell:" in text or "    run:" in text]
    assert [name for name, text in running.items() if "code=code_hash(" not in text] == ["fetch"]
    assert "notebook_hash" in running["report_notebook"]


def test_every_profile_sees_the_same_reasons_to_run_again():
    # one that left a trigger out would call results up to date that another makes again
    assert len({tuple(profile["rerun-triggers"]) for profile in PROFILES.values()}) == 1
    # Snakemake's own look at the code is at the time of a script
    assert not any("code" in profile["rerun-triggers"] for profile in PROFILES.values())
    # of two profiles only one's default-resources count, so each must be whole
    assert {"mem_mb", "runtime", "disk_mb", "network"} <= set.intersection(
        *(set(profile["default-resources"]) for profile in PROFILES.values())
    )
