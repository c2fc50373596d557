"""searchtune trace: from a run back to the texts it was made from, and forwards; what is wrong on the way is named."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT
from small_project import COLLECTION, RAW, RUN, SCORES, make

from searchtune.cli import main
from searchtune.errors import DataError
from searchtune.files import read_json, sha256_tree, write_json
from searchtune.reporting.records import Records, project_of
from searchtune.reporting.trace import Node, backwards, forwards, stages_of
from searchtune.reporting.trace_text import explained, summary


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(finished, tmp_path):
    """Return a copy of the finished project that a test may break."""
    shutil.copytree(finished, tmp_path / "project")
    return tmp_path / "project"


def traced(project, path):
    return backwards(Records(project), path)


def test_a_run_leads_back_to_the_texts_it_was_made_from(finished):
    nodes = traced(finished, RUN)
    assert list(nodes) == [RUN, COLLECTION, RAW]
    assert [node.state for node in nodes.values()] == ["whole"] * 3
    assert [node.kind for node in nodes.values()] == ["run", "data", "source"]
    assert [node.stage for node in nodes.values()] == ["retrieve.bm25", "collections.build", "fetch.artefact"]
    assert nodes[RAW].sha256 == sha256_tree(finished / RAW)
    assert nodes[RAW].source["name"] == "mini" and nodes[RAW].source["parts"][0]["sha256"]
    told = summary(nodes)
    assert told["problems"] == [] and told["code_changed"] == []
    assert told["marks"]["licences"] == {"CC0-1.0": [RAW]}
    assert set(told["environment"]) > {"python", "bm25s", "machine"}


def test_a_file_within_a_folder_is_traced_as_the_folder(finished, capsys):
    assert main(["trace", str(finished / COLLECTION / "qrels.tsv")]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{COLLECTION}/qrels.tsv is a part of {COLLECTION}, which is traced\n{COLLECTION}  [data]")
    assert "└─ " + RAW in text and "2 artefacts, 0 problems" in text and "canary: none" in text


def test_a_file_leads_forward_to_all_that_was_made_from_it(finished):
    uses = forwards(Records(finished), f"{RAW}/data/squad.json")
    assert [(use.path, use.steps, use.current) for use in uses] == [
        (COLLECTION, 1, True),
        (RUN, 2, True),
        (SCORES, 2, True),
    ]
    assert uses[0].by_way_of == f"{RAW}/data/squad.json" and uses[1].by_way_of == COLLECTION
    assert forwards(Records(finished), RUN) == []


def test_a_module_leads_forward_to_what_its_stages_made(finished):
    """bm25.py is a part of retrieve.bm25 and of no other step of this project."""
    (finished / "workflow").exists() or (finished / "workflow").symlink_to(ROOT / "workflow")
    uses = forwards(Records(finished), "workflow/searchtune/retrieval/bm25.py")
    assert [use.path for use in uses] == [RUN, SCORES]
    assert stages_of(finished / "workflow/searchtune/stage.py") == []
    assert "retrieve.bm25" in stages_of(finished / "workflow/searchtune/files.py")


def test_a_file_that_no_step_read_is_no_file_without_uses(project, capsys):
    """Settings reach results as parameters: nothing made from it would be a false answer."""
    settings = project / "config/config.yaml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("scale: ci\n")
    (project / "workflow/searchtune").mkdir(parents=True, exist_ok=True)
    (project / "workflow/searchtune/stage.py").touch()
    assert main(["trace", "--forward", str(settings)]) == 2
    assert "searchtune plan --why" in capsys.readouterr().err


def test_what_is_wrong_is_told_with_what_mends_it():
    def told(path, state, stage="x.y"):
        return explained(Node(path, "result", state, "a", "b", stage))

    assert told("results/ci/a", "changed").endswith("snakemake --cores all [...] -- results/ci/a")
    assert "delete" in told("results/ci/a", "changed") and "delete" not in told("results/ci/a", "gone")
    assert told("results/published/demo/x", "changed").endswith("git restore results/published/demo/x")
    # nobody makes them again: an edited prompt, a licensed file that was put there by hand
    for path in ("workflow/prompts/udapdr/seed.yaml", "resources/raw/licensed-1/x.tsv"):
        for state in ("changed", "gone"):
            assert "delete" not in told(path, state, "") and "snakemake" not in told(path, state, "")


def test_a_flipped_bit_is_named_though_size_and_time_are_the_recorded_ones(project, capsys):
    path = project / COLLECTION / "corpus.jsonl"
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert main(["trace", str(project / RUN)]) == 1
    text = capsys.readouterr().out
    assert f"  {COLLECTION}: changed (its bytes are not those that were recorded" in text
    assert "** changed **" in text and "3 artefacts, 1 problems" in text
    # the way of the steps themselves: size and time are trusted
    assert main(["trace", "--quick", str(project / RUN)]) == 0
    assert [use.current for use in forwards(Records(project), COLLECTION)] == [False, False]


def test_missing_files_and_missing_records_are_named(project):
    shutil.rmtree(project / RAW)
    (project / f"{COLLECTION}.prov.json").unlink()
    nodes = traced(project, RUN)
    # without its record nothing is known of what the collection was made from
    assert {path: node.state for path, node in nodes.items()} == {RUN: "whole", COLLECTION: "no record"}
    shutil.copy(f"{ROOT}/LICENSE", project / "results/ci/collections/loose.txt")
    assert next(iter(traced(project, "results/ci/collections/loose.txt").values())).state == "no record"


def test_an_input_that_is_gone_is_named(project):
    shutil.rmtree(project / RAW)
    nodes = traced(project, RUN)
    assert nodes[RAW].state == "gone" and nodes[RAW].recorded and not nodes[RAW].sha256
    assert summary(nodes)["problems"][0].startswith(f"{RAW}: gone (nothing lies there any more")


def test_an_input_made_anew_since_is_named(project):
    (project / COLLECTION / "corpus.jsonl").write_text("other\n")
    record = read_json(project / f"{COLLECTION}.prov.json")
    record["output"]["sha256"] = sha256_tree(project / COLLECTION)
    write_json(project / f"{COLLECTION}.prov.json", record)
    assert {path: node.state for path, node in traced(project, RUN).items()}[COLLECTION] == "made anew"


def test_code_that_has_changed_since_is_named_and_is_no_problem(project, capsys):
    record = read_json(project / f"{RUN}.prov.json")
    record["recipe"]["code"] = "0123456789abcdef"
    write_json(project / f"{RUN}.prov.json", record)
    assert main(["trace", str(project / RUN)]) == 0
    assert "made by other code than this: retrieve.bm25" in capsys.readouterr().out


def test_canary_is_shown_with_the_artefact_that_brought_it(project, capsys):
    for path in (RAW, COLLECTION, RUN):
        record = read_json(project / f"{path}.prov.json")
        write_json(project / f"{path}.prov.json", record | {"canary": ["bigbench"]})
    main(["trace", str(project / RUN)])
    assert f"canary: bigbench  <- {RAW}" in capsys.readouterr().out


def test_json_has_every_artefact_and_no_name_of_the_machine(finished, capsys):
    assert main(["trace", "--json", str(finished / RUN)]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["artefact"] == RUN and [row["path"] for row in value["artefacts"]] == [RUN, COLLECTION, RAW]
    assert all("host" not in row["execution"] and row["execution"]["versions"] for row in value["artefacts"])
    assert str(finished) not in json.dumps(value)
    assert main(["trace", "--json", "--forward", str(finished / RAW)]) == 0
    assert [use["path"] for use in json.loads(capsys.readouterr().out)["uses"]] == [COLLECTION, RUN, SCORES]


def test_what_is_no_part_of_a_project_is_refused(tmp_path, project, capsys):
    (tmp_path / "alone.txt").write_text("x")
    assert main(["trace", str(tmp_path / "alone.txt")]) == 2
    assert "lies in no project and has no provenance file beside it" in capsys.readouterr().err
    with pytest.raises(DataError, match="does not exist"):
        project_of(tmp_path / "nowhere.txt")
    moved = tmp_path / "bm25.run.gz"
    shutil.copy(project / RUN, moved)
    shutil.copy(project / f"{RUN}.prov.json", f"{moved}.prov.json")
    with pytest.raises(DataError, match="it was moved alone"):
        project_of(moved)
    (project / f"{RUN}.prov.json").write_text('{"output": {}}')
    with pytest.raises(DataError, match="is no provenance file"):
        project_of(project / RUN)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("results/ci/logs/bm25.log", "logs, benchmarks, notebooks and README files have none"),
        ("results/ci/runs/amazon", f"trace {RUN}, {SCORES}"),
        ("results/ci/runs", "trace results/ci/runs/amazon/"),
        (f"{RUN}.prov.json", f"trace {RUN}"),
    ],
)
def test_what_is_no_artefact_of_a_step_is_refused_and_what_may_be_meant_is_named(project, capsys, path, meant):
    """Nothing is wrong with it: no advice to delete it."""
    (project / "results/ci/logs/bm25.log").write_text("x")
    assert main(["trace", str(project / path)]) == 2
    told = capsys.readouterr().err
    assert told == f"DataError: {path}: no record of a step speaks of it; {meant}\n"


def test_a_prompt_is_a_file_of_the_project_s_own():
    root, path = project_of(ROOT / "workflow/prompts/udapdr/seed.yaml")
    nodes = backwards(Records(root), path)
    assert [(node.path, node.kind, node.state) for node in nodes.values()] == [
        ("workflow/prompts/udapdr/seed.yaml", "prompts", "own")
    ]


def test_a_reader_that_has_gone_ends_a_trace_without_a_word(project):
    """``searchtune trace ... | head -1``: exit code 1 would say that bytes are not those of the record."""
    command = [sys.executable, "-m", "searchtune.cli", "trace", str(project / RUN)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 141


def test_an_error_of_the_disk_is_a_line(project, capsys, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "x.tsv")

    monkeypatch.setattr("searchtune.commands.trace.traced", refuse)
    assert main(["trace", str(project / RUN)]) == 2
    assert capsys.readouterr().err == "PermissionError: [Errno 13] Permission denied: 'x.tsv'\n"
