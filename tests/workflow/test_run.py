"""The ci scale for real: end to end, again with nothing to do, a corrupted file, killed in the middle."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, copy_project, snakemake
from seeded import fresh_secrets, holders

from searchtune.files import read_json, read_jsonl, read_tsv, sha256_file

RUN = ["--cores", "2", "--config", "scale=ci"]
# what has the same bytes whenever and however often it was interrupted
DATA = ["**/collections/**/*.jsonl", "**/collections/**/*.tsv", "**/runs/**/*.gz", "inters/examples/*.jsonl",
        "inters/mixtures/**/*.jsonl", "inters/predictions/*.jsonl", "udapdr/**/*.jsonl", "limrank/**/*.jsonl"]  # fmt: skip


@pytest.fixture(scope="module")
def secret_values():
    """Put a token of the hub and a key into the environment of every run here, and return name -> value."""
    values = fresh_secrets(["HF_TOKEN", "OPENAI_API_KEY"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield values


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Return what the complete run printed, once it has."""
    return []


@pytest.fixture(scope="module")
def finished(project, secret_values, said) -> Path:
    """Return the folder of a complete ci run."""
    started = time.time()
    done = snakemake(project, *RUN)
    said.append(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:]
    print(f"ci run: {time.time() - started:.0f} s")
    return project


@pytest.mark.slow
def test_run_makes_tables_figures_and_report(finished):
    results = finished / "results/ci"
    report = (results / "report.html").read_text()
    assert "<svg" in report or "data:image" in report
    for link in ("http://", "https://"):
        assert f'src="{link}' not in report and f'<link href="{link}' not in report
    assert str(finished) not in report, "an absolute path of this machine is in the report"
    for table in ("inters/tables/in_domain", "udapdr/tables/quality", "udapdr/tables/latency", "limrank/tables/rerank",
                  "limrank/tables/followir"):  # fmt: skip
        rows = read_tsv(results / f"{table}.tsv")
        assert rows, table
        assert not [row for row in rows if "nan" in {v.lower() for v in row.values()}], table
    for paper in ("inters", "udapdr", "limrank"):
        for ending in ("pdf", "png", "svg"):
            assert list((results / paper / "figures").glob(f"*.{ending}")), f"{paper}: no {ending}"


@pytest.mark.slow
def test_no_log_call_record_or_report_holds_a_secret(finished, secret_values, said):
    """Everything that the run wrote and printed: calls, logs, provenance, job files, Snakemake's own notes, the report."""
    folders = [finished / name for name in ("results", "resources", ".snakemake")]
    assert all(any(folder.rglob("*")) for folder in folders)
    assert [path for folder in folders for path in holders(folder, secret_values.values())] == []
    assert said and not [name for name, value in secret_values.items() if value in said[0]]


@pytest.mark.slow
def test_second_run_has_nothing_to_do(finished):
    started = time.time()
    done = snakemake(finished, *RUN)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout, done.stdout[-2000:]
    assert time.time() - started < 10


@pytest.mark.slow
def test_corrupted_intermediate_is_refused_by_name(finished):
    path = finished / "results/ci/collections/amazon/corpus.jsonl"
    good, stat = path.read_bytes(), path.stat()
    try:
        path.write_bytes(good[: len(good) // 2])
        done = snakemake(finished, *RUN, "--forcerun", "bm25", "--", "results/ci/runs/amazon/bm25.run.gz")
        assert done.returncode != 0 and "collections/amazon: its content is not what" in done.stdout
    finally:
        path.write_bytes(good)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_bytes(finished, tmp_path):
    """One kill in one paper's chain, at the place that matters; test-long kills the whole run a hundred times."""
    again = copy_project(tmp_path)
    shutil.copytree(finished / "resources", again / "resources", symlinks=True)
    ends = [f"results/ci/inters/predictions/{name}.jsonl" for name in ("base", "full")]
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *RUN, "--", *ends], cwd=again, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # in the middle of a prediction job: its first shards are written and others are not
    deadline = time.time() + 400
    while not list(again.glob("results/ci/inters/predictions/.work/*/calls/*.jsonl")):
        assert process.poll() is None, "the run ended before any shard of answers was seen"
        assert time.time() < deadline, "no shard of answers after 400 s"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not all((again / end).exists() for end in ends)
    snakemake(again, "--unlock", "--config", "scale=ci")
    done = snakemake(again, *RUN, "--", *ends)
    assert done.returncode == 0, done.stdout[-4000:]
    compared = 0
    for pattern in DATA:
        for path in (again / "results/ci").glob(pattern):
            twin = finished / "results/ci" / path.relative_to(again / "results/ci")
            if path.is_file() and ".prov" not in path.name and ".job" not in path.name:
                assert sha256_file(path) == sha256_file(twin), path
                compared += 1
    assert compared >= 10


@pytest.mark.slow
def test_every_job_left_its_provenance(finished):
    results = finished / "results/ci"
    tables = sorted(results.glob("*/tables/*.tsv"))
    assert tables
    for table in tables:
        record = next((p for p in (Path(f"{table}.prov.json"), Path(f"{table.parent}.prov.json")) if p.is_file()), None)
        assert record, f"{table} has no provenance"


@pytest.mark.slow
def test_calls_are_all_kept(finished):
    rows = [row for path in (finished / "results/ci").glob("inters/predictions/*.jsonl") for row in read_jsonl(path)]
    assert rows and all({"id", "prompt_sha256", "model", "revision"} <= set(row) for row in rows)


@pytest.mark.slow
def test_a_folder_of_texts_is_adapted_to_and_tested_with_held_out_queries(finished, tmp_path):
    """The README's way to a corpus of one's own, here without human questions, with two seeds, after a run of the scale:
    what both share isn't made again.
    """
    again = tmp_path / "again"
    shutil.copytree(finished, again, symlinks=True)
    shared = again / "results/ci/udapdr/new_wiki/filtered"
    made = shared.stat().st_mtime_ns
    articles = read_json(ROOT / "workflow/mini/data/shifted_amazon.json")["data"]
    texts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    notes = again / "corpus/notes.md"
    notes.parent.mkdir()
    notes.write_text("\n\n".join(f"# Note {i}\n{text}" for i, text in enumerate(texts)), encoding="utf-8")
    with open(again / "config/datasets.tsv", "a", encoding="utf-8") as table:
        row = ["notes", "local", "notes", "", "corpus/notes.md", sha256_file(notes), "", "notes.md", *[""] * 5]
        table.write("\t".join(row) + "\n")
    (again / "mine.yaml").write_text(
        "scale: ci\nseeds: [13, 14]\n"
        "collections: {notes: {reader: texts, raw: [notes/notes.md], target: true, n_test: 0}}\n"
        "udapdr: {target: notes, run_ablations: [direct]}\n",
        encoding="utf-8",
    )
    done = snakemake(again, "udapdr", "--cores", "2", "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stdout[-4000:]
    tables = again / "results/ci/udapdr/tables"
    rows = [row for row in read_tsv(tables / "quality.tsv") if row["metric"] == "nDCG@10"]
    assert {row["collection"] for row in rows} == {"notes_held"}
    notes_of = {row["system"]: row["note"] for row in rows}
    assert notes_of["student_adapted"] == "2 seeds" and notes_of["bm25"] == ""
    assert {row["seeds"] for row in read_tsv(tables / "ablations.tsv")} == {"2"}
    assert shared.stat().st_mtime_ns == made
    # a second seed writes nothing anew
    assert not (again / "results/ci/udapdr/notes-s14/queries").exists()
