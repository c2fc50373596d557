"""searchtune export: what a hub folder holds, and everything that may not leave this machine."""

import json
import os
import re
import shutil

import pytest
import yaml
from helpers import ROOT
from small_project import COLLECTION, RAW, RUN, make

from searchtune.cli import COMMANDS, main
from searchtune.errors import DataError
from searchtune.files import files_of, read_json, read_tsv, sha256_tree, write_json, write_jsonl
from searchtune.release.contents import check_names
from searchtune.release.gate import chain_of, origins, public_name
from searchtune.release.hub import bases
from searchtune.release.licences import LICENCES, hub_licence, terms_of
from searchtune.reporting.trace import Node, kind_of
from searchtune.stage import fingerprint

MODEL, TUNED = "resources/models/base", "results/ci/limrank/models/tuned"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(finished, tmp_path):
    """Return a copy of the finished project that a test may break."""
    shutil.copytree(finished, tmp_path / "project")
    return tmp_path / "project"


def mark(project, path, **marks):
    """Change the marks of an artefact's record."""
    record = read_json(project / f"{path}.prov.json")
    write_json(project / f"{path}.prov.json", record | marks)


def record(project, path, stage, inputs, **more):
    """Write the provenance of something that a test put into the project."""
    place = project / path
    given = [{"name": "x", "path": i, "sha256": sha256_tree(project / i)} for i in inputs]
    recipe = {"stage": stage, "code": "c0de", "params": more.pop("params", {}), "inputs": given, "key": "k"}
    output = {"name": "out", "path": path, "sha256": sha256_tree(place), "fingerprint": fingerprint(place)}
    marks = {"canary": [], "licences": ["CC0-1.0"], "trained_on": [], "counts": {}, "execution": {}}
    write_json(project / f"{path}.prov.json", {"output": output, "recipe": recipe} | marks | more)


def export(project, path, *options):
    out = project.parent / "out"
    return main(["export", str(project / path), "--out", str(out), *options]), out


# ---- what leaves


def test_rows_leave_with_card_and_chain(project, capsys):
    code, out = export(project, COLLECTION)
    assert code == 0 and "licences: CC0-1.0 (on the hub: cc0-1.0); canary: none" in capsys.readouterr().out
    assert (out / "corpus.jsonl").read_bytes() == (project / COLLECTION / "corpus.jsonl").read_bytes()
    names = {path.name for path in out.iterdir()}
    assert {"README.md", "provenance.json", "queries.jsonl", "qrels.tsv"} <= names and "manifest.json" not in names
    steps = read_json(out / "provenance.json")
    assert [(step["artefact"], step["stage"]) for step in steps] == [
        (COLLECTION, "collections.build"),
        (RAW, "fetch.artefact"),
    ]
    assert steps[0]["inputs"] == [RAW] and steps[1]["source"]["parts"][0]["sha256"]
    assert steps[0]["sha256"] == sha256_tree(project / COLLECTION)
    card = (out / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc0-1.0" and head["language"] == ["en"] and "searchtune" in head["tags"]
    assert {"config_name": "corpus", "data_files": "corpus.jsonl"} in head["configs"]
    assert f"| CC0-1.0 | free | {COLLECTION} (out of {RAW}) |" in card and "reader: " in card


def test_nothing_that_leaves_names_a_folder_of_this_machine(project):
    out = export(project, COLLECTION)[1]
    for path in files_of(out):
        text = path.read_text()
        assert str(project) not in text and project.parent.name not in text, path


def test_a_part_of_an_artefact_may_leave_alone_and_replaces_its_older_export(project, capsys):
    code, out = export(project, f"{COLLECTION}/queries.jsonl")
    assert code == 0 and {p.name for p in out.iterdir()} == {"README.md", "provenance.json", "queries.jsonl"}
    code, out = export(project, f"{COLLECTION}/corpus.jsonl", "--json")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0 and {p.name for p in out.iterdir()} == {"README.md", "provenance.json", "corpus.jsonl"}
    assert told["exported"] and told["kind"] == "rows" and told["files"] == 3
    assert told["bytes"] == sum(p.stat().st_size for p in out.iterdir())


def hub_model(project):
    """Put a model that came from a hub into the project, and rows."""
    (project / "resources/raw/org--base-1").mkdir(parents=True)
    (project / "resources/raw/org--base-1/readme").write_text("x")
    record(project, "resources/raw/org--base-1", "fetch.artefact", [], licences=["Apache-2.0"],
           params={"source": "hub", "name": "org/base", "version": "1"})  # fmt: skip
    (project / MODEL).mkdir(parents=True)
    (project / MODEL / "config.json").write_text("{}")
    record(project, MODEL, "models.prepare", ["resources/raw/org--base-1"], licences=["Apache-2.0"])


def tune(project, **more):
    """Put a model tuned from that one on the collection into the project."""
    import numpy as np
    from safetensors.numpy import save_file

    hub_model(project)
    (project / TUNED).mkdir(parents=True)
    save_file({"w": np.zeros(2, dtype="float32")}, project / TUNED / "model.safetensors")
    write_json(project / TUNED / "config.json", {"architectures": ["LlamaForCausalLM"]})
    marks = {"licences": ["Apache-2.0", "CC0-1.0"], "trained_on": ["squad", "MS MARCO, as its makers say"],
             "counts": {"steps": 18}, "params": {"lr": 0.5, "text": "/home/me/private/prompts.yaml"}}  # fmt: skip
    record(project, TUNED, "train.sft", [MODEL, COLLECTION], **(marks | more))


def test_a_tuned_model_names_its_base_its_licences_and_what_brings_them(project):
    tune(project)
    code, out = export(project, TUNED)
    card = (out / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert code == 0 and head["base_model"] == ["org/base"] and head["license"] == "other"
    assert head["library_name"] == "transformers" and head["pipeline_tag"] == "text-generation"
    assert head["datasets"] == ["squad"] and head["tags"] == ["searchtune", "limrank", "search"]
    assert f"| Apache-2.0 | free with its notice | {MODEL} (out of resources/raw/org--base-1) |" in card
    assert "lr: 0.5" in card and "text: prompts.yaml" in card and "private" not in card
    assert "MS MARCO, as its makers say" in card and "AutoModelForCausalLM.from_pretrained" in card
    assert (out / "model.safetensors").read_bytes() == (project / TUNED / "model.safetensors").read_bytes()


def test_the_base_of_a_model_tuned_twice_is_the_first(project):
    tune(project)
    again = "results/ci/limrank/models/again"
    shutil.copytree(project / TUNED, project / again)
    record(project, again, "train.sft", [TUNED], licences=["Apache-2.0"])
    assert bases(chain_of(project / again)) == ["org/base"]


@pytest.mark.slow
def test_an_adapter_that_is_not_merged_leaves_with_its_base_named(project):
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    hub_model(project)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=16, **sizes))
    base.save_pretrained(project / "base")
    tuned = get_peft_model(
        LlamaForCausalLM.from_pretrained(project / "base"),
        LoraConfig(target_modules=["q_proj"], init_lora_weights=False),
    )
    tuned.save_pretrained(project / TUNED)
    assert str(project) in (project / TUNED / "adapter_config.json").read_text()
    record(project, TUNED, "train.sft", [MODEL], licences=["Apache-2.0"])
    code, out = export(project, TUNED)
    assert code == 0 and read_json(out / "adapter_config.json")["base_model_name_or_path"] == "org/base"
    assert yaml.safe_load((out / "README.md").read_text().split("---")[1])["library_name"] == "peft"
    opened = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(project / "base"), out)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(opened(ids).logits, tuned(ids).logits) and not torch.equal(base(ids).logits, tuned(ids).logits)


# ---- what stays


def refused(project, path, capsys):
    """Return what was said; the exit code is 3 and nothing lies at --out."""
    code, out = export(project, path, "--json")
    shown = capsys.readouterr()
    assert code == 3 and not out.exists() and list(project.parent.iterdir()) == [project]
    told = json.loads(shown.out)
    assert told["exported"] is False and all(reason["value"] in shown.err for reason in told["reasons"])
    return told["reasons"]


def test_a_canary_stays_and_what_brings_it_is_named(project, capsys):
    mark(project, RAW, canary=["bigbench"])
    mark(project, COLLECTION, canary=["bigbench"])
    [reason] = refused(project, COLLECTION, capsys)
    assert (reason["mark"], reason["value"]) == ("canary", "bigbench")
    assert reason["artefacts"] == [f"{COLLECTION} (out of {RAW})"]


@pytest.mark.parametrize(
    ("licence", "why"),
    [
        ("CC BY-NC 4.0", "non-commercial use only"),
        ("publisher's, see note", "stay the publisher's"),
        ("not stated", "nothing is permitted"),
        ("LDC, by agreement", "agreement of its own"),
        ("withdrawn by its publisher", "withdrawn"),
        ("my own terms, 1999", "is not in workflow/searchtune/release/licences.py"),
    ],
)
def test_barred_and_unknown_licences_stay_and_what_brings_them_is_named(project, capsys, licence, why):
    tune(project, licences=["Apache-2.0", licence])
    mark(project, COLLECTION, licences=[licence])
    [reason] = refused(project, TUNED, capsys)
    assert (reason["mark"], reason["value"]) == ("licence", licence) and why in reason["why"]
    assert reason["artefacts"] == [COLLECTION]  # not the model, which only inherits it


def test_a_package_s_other_licences_bar_nothing_that_was_not_taken_out_of_it(project):
    mark(project, RAW, licences=["CC0-1.0", "not stated"])
    assert export(project, COLLECTION)[0] == 0
    assert list(origins(chain_of(project / COLLECTION), "licences")) == ["CC0-1.0"]


def test_what_was_taken_out_of_a_package_without_any_licence_stays(project, capsys):
    mark(project, RAW, licences=[])
    mark(project, COLLECTION, licences=[])
    [reason] = refused(project, COLLECTION, capsys)
    assert (reason["value"], reason["artefacts"]) == ("not stated", [COLLECTION])


def test_a_mark_that_a_step_behind_it_was_told_since_counts(project, capsys):
    """The collection was made before: its own record and those after it don't say so."""
    tune(project)
    mark(project, RAW, canary=["bigbench"])
    [reason] = refused(project, TUNED, capsys)
    assert (reason["mark"], reason["value"], reason["artefacts"]) == ("canary", "bigbench", [RAW])
    mark(project, RAW, canary=[])
    mark(project, COLLECTION, licences=["CC BY-NC 4.0"])
    [reason] = refused(project, TUNED, capsys)
    assert (reason["value"], reason["artefacts"]) == ("CC BY-NC 4.0", [COLLECTION])


def test_marks_of_what_a_user_put_into_its_place_count(project, capsys):
    """No step fetches it, so that no record speaks of it: the registry does."""
    (project / "config").mkdir()
    for table in ("datasets", "models"):
        shutil.copy(ROOT / f"config/{table}.tsv", project / f"config/{table}.tsv")
    write_jsonl(project / "resources/raw/gpqa-1/gpqa_diamond.jsonl", [{"text": "x"}])
    write_jsonl(project / "results/ci/rows.jsonl", [{"text": "x"}])
    record(project, "results/ci/rows.jsonl", "models.heal_text", ["resources/raw/gpqa-1"])
    [reason] = refused(project, "results/ci/rows.jsonl", capsys)
    assert (reason["value"], reason["artefacts"]) == ("gpqa", ["resources/raw/gpqa-1"])


@pytest.mark.parametrize("away", [False, True])
def test_what_lost_its_record_behind_an_artefact_holds_it_back(project, capsys, away):
    tune(project)
    (project / f"{COLLECTION}.prov.json").unlink()
    if away:
        shutil.rmtree(project / COLLECTION)
    [reason] = refused(project, TUNED, capsys)
    assert (reason["mark"], reason["artefacts"]) == ("record", [COLLECTION])


def test_the_card_names_the_bytes_that_were_read(project):
    """A prompt was changed, a collection made anew, since the rows were made."""
    (project / "workflow/prompts").mkdir(parents=True)
    (project / "workflow/prompts/x.yaml").write_text("a: 1\n")
    rows = "results/ci/rows.jsonl"
    write_jsonl(project / rows, [{"text": "x"}])
    record(project, rows, "limrank.synthesize", ["workflow/prompts/x.yaml", COLLECTION])
    read = [step["sha256"] for step in read_json(project / f"{rows}.prov.json")["recipe"]["inputs"]]
    (project / "workflow/prompts/x.yaml").write_text("a: 2\n")
    write_jsonl(project / COLLECTION / "corpus.jsonl", [{"_id": "a", "text": "x"}])
    record(project, COLLECTION, "collections.build", [RAW])
    code, out = export(project, rows)
    assert code == 0
    named = {step["artefact"]: step["sha256"] for step in read_json(out / "provenance.json")}
    assert [named["workflow/prompts/x.yaml"], named[COLLECTION]] == read


def test_texts_of_the_user_s_own_need_no_licence(project):
    corpus = project.parent / "my texts"
    write_jsonl(corpus / "corpus.jsonl", [{"_id": "a", "text": "x"}])
    mine = "results/ci/collections/mine"
    shutil.copytree(corpus, project / mine)
    record(project, mine, "collections.build", [str(corpus)], licences=[], params={"folder": str(corpus)})
    code, out = export(project, mine)
    assert code == 0 and not any(str(corpus) in path.read_text() for path in files_of(out))
    assert [step["artefact"] for step in read_json(out / "provenance.json")] == [mine, "my texts"]


def failed(project, path, capsys):
    code, out = export(project, path)
    assert code == 2 and not out.exists()
    return capsys.readouterr().err


def test_bytes_that_are_not_those_recorded_stay(project, capsys):
    path = project / COLLECTION / "corpus.jsonl"
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "IntegrityError" in failed(project, COLLECTION, capsys)
    path.write_bytes(data + b"\n")
    assert "IntegrityError" in failed(project, COLLECTION, capsys)


def test_what_is_no_finished_artefact_stays(project, capsys):
    assert "neither a model's folder nor rows" in failed(project, RUN, capsys)
    assert "does not exist" in failed(project, "results/ci/none", capsys)
    tune(project)
    (project / TUNED / "optimizer.pt").write_bytes(b"x")
    record(project, TUNED, "train.sft", [MODEL])
    assert "pickled weights (optimizer.pt)" in failed(project, TUNED, capsys)
    (project / f"{TUNED}.prov.json").unlink()
    assert "no provenance lies beside it" in failed(project, TUNED, capsys)
    (project / "results/ci/empty").mkdir()
    record(project, "results/ci/empty", "udapdr.filter", [COLLECTION], shortage="no question")
    assert "its step could not make it (no question)" in failed(project, "results/ci/empty", capsys)


def test_a_text_that_names_a_folder_of_this_machine_stays(project, capsys):
    tune(project)
    write_json(project / TUNED / "training.json", {"data": f"{project}/private"})
    record(project, TUNED, "train.sft", [MODEL], licences=["Apache-2.0"])
    assert "training.json, line 2 names" in failed(project, TUNED, capsys)
    with pytest.raises(DataError, match=r"training.json, line 2 names"):
        check_names(project / TUNED, {str(project)})
    check_names(project / TUNED, {str(project)[:-1]})  # another folder, whose name this one's begins with


def test_folders_of_the_user_s_are_not_overwritten(project, capsys):
    out = project.parent / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert export(project, COLLECTION)[0] == 2 and (out / "thesis.txt").read_text() == "mine"
    assert "not of an earlier run" in capsys.readouterr().err
    inside = project / COLLECTION / "hub"
    assert main(["export", str(project / COLLECTION), "--out", str(inside)]) == 2 and not inside.exists()
    assert "lie in one another" in capsys.readouterr().err


# ---- the tables


def licences_in(value, key=""):
    """Yield every licence that a configuration states, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from licences_in(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from licences_in(inner)
    elif key in ("licence", "queries_licence") and isinstance(value, str) and value:
        yield value


def test_every_licence_of_registries_and_configuration_is_decided():
    found = {row["licence"] for name in ("datasets", "models") for row in read_tsv(ROOT / f"config/{name}.tsv")}
    for path in (ROOT / "config").rglob("*.yaml"):
        found |= set(licences_in(yaml.safe_load(path.read_text())))
    assert len(found) > 40 and found - {""} <= set(LICENCES), sorted(found - {""} - set(LICENCES))


# words that forbid, restrict or leave open; a licence with one of them may be free only if it is named here
HOLDING = re.compile(
    r"-NC|-ND|non-commercial|research|academic|agreement|publisher|not stated|withdrawn|shared source|gated|own terms|"
    r"keep their terms|authors'|their authors|community|New York Times|hub's script|as labelled|\(base\)",
    re.I,
)


def test_no_licence_with_a_word_that_holds_back_is_free():
    assert not [name for name, terms in LICENCES.items() if terms.allowed and HOLDING.search(name)]
    silent = [name for name, terms in LICENCES.items() if not terms.allowed and not HOLDING.search(name)]
    assert silent == ["FIRE topics", "CORD-19 terms"]
    assert all(terms.why for terms in LICENCES.values())


def test_what_adapt_and_synthesize_are_made_of_may_leave():
    from searchtune.plan import plan

    part = plan(ROOT, {"scale": "adapt", "papers": ["udapdr"]})
    sources = {pair.split("/")[1] for pair, entry in part["inters"]["pairs"].items() if entry["n_train"]}
    used = {part["inters"]["sources"][name]["licence"] for name in sources}
    used |= {part["models"][name]["licence"] for name in (part["inters"]["base"], part["udapdr"]["encoder"])}
    rows = plan(ROOT, {"scale": "synthesize", "papers": ["limrank"]})
    limrank = rows["limrank"]
    used |= {rows["models"][limrank[name]]["licence"] for name in ("writer", "judge", "leak_encoder")}
    used |= {rows["collections"][limrank["planted_collection"]]["licence"]}
    assert len(used) >= 4 and [name for name in used if not terms_of(name).allowed] == []


def test_the_hub_s_licence():
    assert hub_licence(["MIT", "MIT (stated, no licence file)"]) == "mit"
    assert hub_licence(["MIT", "Apache-2.0"]) == "other" and hub_licence(["NIST topics"]) == "other"
    assert hub_licence([]) == "other" and not terms_of("unheard of").allowed


def test_paths_outside_the_project_are_cut():
    for path, stage, name in (
        ("/home/me/plans", "", "plans"),
        ("../me/plans", "", "plans"),
        ("notes/plans", "", "plans"),
        ("/scratch/me/run/models/full", "train.sft", "run/models/full"),
        ("results/ci/inters/models/full", "train.sft", "results/ci/inters/models/full"),
    ):
        assert public_name(Node(path, kind_of(path, stage), "own", stage=stage)) == name


def test_the_readme_has_a_row_for_every_command():
    text = (ROOT / "README.md").read_text()
    table = text.split("## Commands and exit codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert sorted(rows) == sorted(COMMANDS)
