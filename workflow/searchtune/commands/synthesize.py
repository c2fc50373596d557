"""``searchtune synthesize``: from a query file to training rows for rerankers, with their funnel and data card."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from searchtune.collections.readers import reader_of
from searchtune.commands.adapt import cores_of
from searchtune.commands.costs import minutes
from searchtune.commands.folder import CORPUS, name_of
from searchtune.commands.out import check_out
from searchtune.commands.synthesis_costs import calls_of, tokens_of, work_of
from searchtune.config.base import merge
from searchtune.config.load import read_yaml
from searchtune.errors import ConfigError, DataError
from searchtune.files import read_json, write_text
from searchtune.plan import plan
from searchtune.registry.table import ROOT
from searchtune.release.licences import warning
from searchtune.synthesis.limrank_seeds import normal, read_seed_file, usable_seeds
from searchtune.synthesis.personas import load_personas

RESULTS = Path("results") / "synthesize"
SUMMARY = "write training rows for rerankers from a query file"
CARD, FACTS = "README.md", "summary.json"
_ERROR = re.compile(r"^(\w+Error): (.+)$", re.M)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--queries", type=Path, required=True, help="one query a line, id<tab>text, JSONL, TREC topics")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set: new, empty, or an older one")
    parser.add_argument("--personas", type=Path, help=".yaml as ours, .jsonl with a key persona, .txt with one a line")
    parser.add_argument(
        "--evaluation",
        type=Path,
        nargs="+",
        default=[],
        help="folders (BEIR-style or of texts) that no row may overlap",
    )
    parser.add_argument("--seeds", type=int, help="use so many queries at most (default: all usable ones)")
    parser.add_argument("--name", help="name of the run (default: the query file's)")
    parser.add_argument("--licence", default="", help="licence of the queries (default: your own), for the card")
    parser.add_argument("--cores", default="all", type=cores_of, help="cores to use (a number, or all: the default)")
    parser.add_argument("--configfile", type=Path, help="further settings of yours, for example another writer")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON and nothing else")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show the plan and its cost, and stop")


def collections_of(folders: list[Path]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Return the evaluation folders as collections of the configuration, and their queries' normalised texts.

    DataError for one that can't be read.
    """
    found: dict[str, dict[str, Any]] = {}
    texts: set[str] = set()
    for path in folders:
        if not path.exists():
            raise DataError(f"--evaluation {path} does not exist; give a BEIR-style folder or one of texts")
        name, reader = f"held_{name_of(path)}", "beir" if (path / CORPUS).is_file() else "texts"
        if name in found:
            raise ConfigError(f"two folders of --evaluation are called {path.name!r}; rename one")
        source = reader_of(reader)([path.resolve()], "seen")
        texts |= {normal(question.text) for question in source.questions.values()}
        entry = {"reader": reader, "folder": str(path.resolve()), "target": True}
        found[name] = entry | {"n_test": None if source.questions else 0}
    return found, texts


def settings_of(arguments: argparse.Namespace, name: str, held: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the user's layer of the run's configuration, but for the number of seeds."""
    part: dict[str, Any] = {
        "queries": str(arguments.queries.resolve()),
        "queries_licence": arguments.licence,
        "synthesize": {"evaluation": list(held)},
    }
    if arguments.personas:
        load_personas(arguments.personas)  # what is wrong with it is told before any model is fetched
        part["personas"] = str(arguments.personas.resolve())
    settings = {"scale": "synthesize", "papers": ["limrank"], "name": name, "collections": held, "limrank": part}
    if arguments.configfile:
        settings = merge(settings, read_yaml(arguments.configfile, str(arguments.configfile)))
    return settings


def _plan(settings: dict[str, Any]) -> dict[str, Any]:
    return plan(ROOT, merge(read_yaml(ROOT / "config/config.yaml", "config/config.yaml"), settings))


def settings_file(arguments: argparse.Namespace) -> tuple[str, Path, dict[str, Any], dict[str, int]]:
    """Write the configuration of the run; return its name, the file, the whole, and queries left out by reason."""
    seeds = read_seed_file(arguments.queries)
    name = re.sub(r"\W", "_", arguments.name.lower()) if arguments.name else name_of(arguments.queries)
    held, texts = collections_of(arguments.evaluation)
    settings = settings_of(arguments, name, held)
    config = _plan(settings)
    part = config["limrank"]["synthesize"]
    least, most = part["min_seed_words"], part["max_seed_words"]
    chosen, dropped = usable_seeds(seeds, None, least, most, texts, config["seeds"][0])
    if (n := len(chosen)) < 2:
        raise DataError(
            f"{arguments.queries}: {n} of {len(seeds)} queries can be seeds, at least 2 are needed (left out: "
            f"{dropped}); a seed has {least} to {most} English words (limrank.synthesize.min_seed_words and max)"
        )
    wanted = min(n, arguments.seeds or n)
    settings = merge(settings, {"limrank": {"synthesize": {"n_seeds": wanted}}})
    path = ROOT / RESULTS / "configs" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    return name, path, _plan(settings), dropped


def describe(arguments: argparse.Namespace, config: dict[str, Any], dropped: dict[str, int], cores: int) -> dict:
    """Return the plan: seeds, queries left out, calls, tokens, minutes (None where the models' rate is not known)."""
    part = config["limrank"]["synthesize"]
    work = work_of(config)
    return {
        "queries": str(arguments.queries),
        "seeds": part["n_seeds"],
        "left_out": dropped,
        "calls_at_most": calls_of(part),
        "tokens_at_most": tokens_of(part),
        "minutes_at_most": round(minutes(work, cores), 1) if work else None,
        "writer": config["limrank"]["writer"],
        "judge": config["limrank"]["judge"],
    }


def words_of(planned: dict[str, Any], cores: int) -> str:
    """Return a plan in words."""
    left = (
        "; left out: " + ", ".join(f"{n} {why}" for why, n in planned["left_out"].items())
        if planned["left_out"]
        else ""
    )
    calls = ", ".join(f"{step} {count:,}" for step, count in planned["calls_at_most"].items())
    time = planned["minutes_at_most"]
    cost = f"{time:.0f} minutes on {cores} quiet cores (config/rates.tsv)" if time is not None else "time not known"
    return "\n".join(
        [
            f"{planned['queries']}: {planned['seeds']} seed queries{left}",
            f"calls at most: {sum(planned['calls_at_most'].values()):,} ({calls})",
            f"tokens written at most: {planned['tokens_at_most']:,}; {cost}; writer {planned['writer']}, "
            f"judge {planned['judge']}",
        ]
    )


def snakemake(arguments: argparse.Namespace, settings: Path) -> int:
    """Run the workflow's target ``synthesize`` or show its jobs; return Snakemake's exit code.

    With --json its output goes to standard error.
    """
    command = [sys.executable, "-m", "snakemake", "synthesize", "--cores", arguments.cores]
    command += ["--configfile", str(settings), *(["--dry-run", "--quiet", "rules"] if arguments.dry_run else [])]
    return subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr if arguments.json else None).returncode


def failure(name: str) -> str:
    """Return the last error in the run's logs as one line; an empty text where there is none."""
    logs = sorted((ROOT / RESULTS / name / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
    for path in reversed(logs):
        if found := _ERROR.findall(path.read_text(encoding="utf-8", errors="replace")):
            return f"{found[-1][1]} (log: {path.relative_to(ROOT)})"
    return ""


def deliver(name: str, out: Path) -> dict[str, Any]:
    """Copy the data set to ``out`` in place of an older one; return its summary."""
    made = ROOT / RESULTS / name / "dataset"
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(made, fresh, ignore=shutil.ignore_patterns(".*"))
    if out.is_dir():
        shutil.rmtree(out)
    fresh.rename(out)
    return read_json(out / FACTS)


def result(facts: dict[str, Any], out: Path) -> str:
    """Return what came out, in words."""
    rows = ", ".join(f"{row['rows']} {row['split']} ({row['true']} true)" for row in facts["splits"])
    lines = [f"kept {facts['kept']} of {facts['pairs']} pairs: {rows}", f"data set and card: {out}"]
    return "\n".join([*lines, *(f"warning: {text}" for text in facts["warnings"])])


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    check_out(arguments.out, FACTS)
    if told := warning(arguments.licence):
        print(told, file=sys.stderr)
    name, settings, config, dropped = settings_file(arguments)
    cores = os.cpu_count() or 1 if arguments.cores == "all" else int(arguments.cores)
    planned = describe(arguments, config, dropped, cores)
    if not arguments.json:
        print(words_of(planned, cores), flush=True)
    code = snakemake(arguments, settings)
    if code and (reason := failure(name)):
        raise DataError(reason)
    facts = deliver(name, arguments.out) if code == 0 and not arguments.dry_run else {}
    if arguments.json and code == 0:
        print(json.dumps({"plan": planned, "out": str(arguments.out)} | facts, ensure_ascii=False))
    elif facts:
        print(result(facts, arguments.out))
    return code
