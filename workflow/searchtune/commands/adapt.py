"""``searchtune adapt DIR``: from a folder of texts to a retriever adapted to it, its report and its index."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from searchtune.commands.costs import TOKENS_A_WORD, minutes, work_of
from searchtune.commands.folder import Folder, inspect, name_of, settings_of
from searchtune.config.base import merge
from searchtune.config.load import read_yaml
from searchtune.config.udapdr import settings_of as student_of
from searchtune.demand import vectors_mb
from searchtune.errors import ConfigError, DataError
from searchtune.files import read_tsv, write_text
from searchtune.machine import memory_mb
from searchtune.plan import plan
from searchtune.registry.table import ROOT
from searchtune.release.card import comparison
from searchtune.release.licences import warning

RESULTS = Path("results") / "adapt"
SUMMARY = "adapt a retriever to a folder of texts, without queries"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, help="BEIR-style folder, or file or folder of .txt, .md and .jsonl files")
    parser.add_argument("--name", help="id of the collection (default: the folder's name)")
    parser.add_argument("--licence", default="", help="licence of the texts (default: your own), for the card")
    parser.add_argument("--cores", default="all", type=cores_of, help="cores to use (a number, or all: the default)")
    parser.add_argument("--configfile", type=Path, help="further settings of yours, for example another writer")
    parser.add_argument("--json", action="store_true", help="print plan and result as one JSON object and nothing else")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show the plan and its cost, and stop")


def cores_of(text: str) -> str:
    """Return the argument as Snakemake takes it; argparse's error for anything but ``all`` and a number above 0."""
    if text != "all" and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of cores nor 'all'")
    return text


def settings_file(arguments: argparse.Namespace, folder: Folder) -> tuple[str, Path, dict[str, Any]]:
    """Write the configuration of the run below results/adapt; return the collection's id, the file and the whole of it.

    ConfigError where the id is taken by a collection of the workflow's own, or the whole is unsound.
    """
    name = arguments.name or name_of(arguments.folder)
    if name in read_yaml(ROOT / "config/collections.yaml", "config/collections.yaml")["collections"]:
        raise ConfigError(f"{name!r} is a collection of the workflow's own; give yours another name with --name")
    settings = settings_of(folder, name, arguments.licence)
    if arguments.configfile:
        settings = merge(settings, read_yaml(arguments.configfile, str(arguments.configfile)))
    whole = plan(ROOT, merge(read_yaml(ROOT / "config/config.yaml", "config/config.yaml"), settings))
    path = ROOT / RESULTS / "configs" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    return name, path, whole


def describe(folder: Folder, name: str, path: Path, config: dict[str, Any], cores: int) -> dict[str, Any]:
    """Return the plan: what was found, what will be made of it, and what that costs (minutes of quiet cores, MiB)."""
    part, there = config["udapdr"], (ROOT / RESULTS / "inters/models/full").is_dir()
    tokens = 0 if there else config["inters"]["mixture"]["total_tokens"]
    work = work_of(part, tokens, folder.passages, folder.words, folder.queries if folder.judged else 0)
    return {
        "folder": str(folder.path),
        "reader": folder.reader,
        **{"files": folder.files, "passages": folder.passages, "words": folder.words, "queries": folder.queries},
        "judged": folder.judged,
        "writer_tokens": tokens,
        "synthetic_queries": work["udapdr.scale_up"],
        "rerankers": part["prompts"]["count"],
        "minutes": round(minutes(work, cores), 1),
        "memory_mib": round(memory_of(folder, part)),
        "memory_there_mib": memory_mb(),
        "settings": str(path.relative_to(ROOT)),
        "result": str(RESULTS / "adapted" / name),
    }


def words_of(planned: dict[str, Any], cores: int) -> str:
    """Return a plan in words."""
    writer = f"a writer tuned on {planned['writer_tokens']:,} tokens, " if planned["writer_tokens"] else ""
    tests = f"{planned['queries']} human queries"
    if not planned["judged"]:
        tests += ": too few to tell, held-out synthetic ones test"
    return "\n".join(
        [
            f"{planned['folder']}: {planned['passages']:,} passages, {planned['words']:,} words, "
            f"{planned['files']:,} files (read as {planned['reader']}); {tests}",
            f"plan: {writer}{planned['synthetic_queries']:,} synthetic queries, {planned['rerankers']} rerankers, one "
            f"student and its control, {planned['passages']:,} passages indexed thrice",
            f"cost: about {planned['minutes']:.0f} minutes on {cores} quiet cores like those of benchmarks/README.md "
            "(by config/rates.tsv; start-up and downloads apart)",
            memory_line(planned["memory_mib"], planned["memory_there_mib"]),
            f"settings: {planned['settings']}; result: {planned['result']}",
        ]
    )


def memory_of(folder: Folder, part: dict[str, Any]) -> float:
    """Return how much memory late interaction will take for texts and token vectors (MiB)."""
    return vectors_mb(folder.words * TOKENS_A_WORD, folder.passages, student_of(part["student"])["passage_length"])


def memory_line(needed: float, machine: float) -> str:
    """Say how much memory will be needed, and warn where the machine has less (both MiB)."""
    line = f"memory: about {needed / 1024:.1f} GiB at most, for texts and token vectors"
    if needed <= machine:
        return line
    return (
        f"{line}\nWARNING: this machine has {machine / 1024:.1f} GiB: the step that encodes the corpus may be killed. "
        "Take a larger machine, give fewer texts, or lower udapdr.student.passage_length (--configfile)"
    )


def snakemake(arguments: argparse.Namespace, settings: Path) -> int:
    """Run the workflow's target ``adapt`` with the settings, or show its jobs; return Snakemake's exit code."""
    command = [sys.executable, "-m", "snakemake", "adapt", "--cores", arguments.cores, "--configfile", str(settings)]
    if arguments.dry_run:
        command += ["--dry-run", "--quiet", "rules"]
    return subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr if arguments.json else None).returncode


def result(name: str) -> dict[str, Any]:
    """Return what came out: the comparison with BM25, where the folder and the report lie, and all scores."""
    folder = ROOT / RESULTS / "adapted" / name
    rows = read_tsv(folder / "quality.tsv")
    if not rows:
        raise DataError(f"{folder}/quality.tsv is empty; delete the folder and run again")
    shown = folder.relative_to(ROOT)
    return {
        "comparison": comparison(rows),
        "n": int(rows[0]["n"]),
        "synthetic": rows[0]["collection"] != name,
        **{"folder": str(shown), "model": f"{shown}/model", "report": f"{RESULTS}/report.html"},
        "quality": rows,
    }


def result_words(made: dict[str, Any]) -> str:
    """Return what came out, in words, and how to search it."""
    kind = "held-out synthetic queries (weaker evidence)" if made["synthetic"] else "human queries"
    return "\n".join(
        [
            f"{made['comparison']} {made['n']} {kind}.",
            f"model and card: {made['model']}; report: {made['report']}",
            f'search: searchtune search {made["folder"]} "a query"',
        ]
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if told := warning(arguments.licence):
        print(told, file=sys.stderr)
    folder = inspect(arguments.folder)
    name, settings, config = settings_file(arguments, folder)
    cores = os.cpu_count() or 1 if arguments.cores == "all" else int(arguments.cores)
    planned = describe(folder, name, settings, config, cores)
    if not arguments.json:
        print(words_of(planned, cores), flush=True)
    code = snakemake(arguments, settings)
    made = result(name) if code == 0 and not arguments.dry_run else {}
    if arguments.json and code == 0:
        print(json.dumps({"plan": planned} | made, ensure_ascii=False))
    elif made:
        print(result_words(made))
    return code
