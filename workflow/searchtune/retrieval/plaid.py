"""Approximate late interaction for large corpora: PLAID (arXiv 2205.09707) by the package fast-plaid.

Token vectors are kept as the number of the nearest centroid and a residual of ``nbits`` bits a dimension. A query
probes the lists of its tokens' nearest centroids, orders what they hold by centroids alone, and decompresses and
scores the best quarter of ``n_full_scores``. So fewer passages than asked for may come back, and never more than that
quarter (counted with fast-plaid 1.7.0). Its cosines have half precision (steps of 0.0005 below 1), so some scores tie.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.collections.trec import Ranking, rank_by_score
from searchtune.errors import ConfigError, DataError
from searchtune.files import remove, write_json
from searchtune.retrieval import plaid_engine

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[3]
# made by `make plaid`
OWN_PYTHON = Path(".venv-plaid/bin/python")
PACKAGE = "fast-plaid"
# of what n_full_scores names, fast-plaid scores one part in four
SHARE_SCORED = 4


@dataclass(frozen=True)
class PlaidSettings:
    """How an index is built and probed; section ``udapdr.search.plaid`` of the configuration says where from."""

    nbits: int = 2
    kmeans_iterations: int = 4
    n_ivf_probe: int = 8
    n_full_scores: int = 4096
    seed: int = 42


def chooses_plaid(method: str, passages: int, exact_passages: int) -> bool:
    """Return whether a corpus is searched with PLAID: ``exact``, ``plaid``, or ``auto`` (above ``exact_passages``)."""
    return method == "plaid" or (method == "auto" and passages > exact_passages)


def engine_python() -> Path:
    """Return an interpreter that can run fast-plaid: this one, else that of ``make plaid``.

    ConfigError, naming package, keys and fix, if there is none; DataError if fast-plaid is here beside another torch
    than it was compiled for, under which it would crash.
    """
    try:
        needs = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        if (ROOT / OWN_PYTHON).is_file():
            return ROOT / OWN_PYTHON
        raise ConfigError(
            f"PLAID needs the package {PACKAGE}, which this environment lacks: run `make plaid`, which makes "
            f"{OWN_PYTHON.parts[0]}, or let Snakemake make envs/plaid.yaml (--sdm conda, with udapdr.search.method: "
            "plaid). Without it: udapdr.search.method: exact and udapdr.search.loss_nbits: []"
        ) from None
    check_torch(needs, metadata.version("torch"))
    return Path(sys.executable)


def check_torch(needs: Sequence[str], version: str) -> None:
    """Raise DataError where ``needs`` (requirements of fast-plaid) pin another torch than ``version``."""
    pins = [found.group(1) for need in needs if (found := re.fullmatch(r"torch\s*==\s*([\w.]+)", need.strip()))]
    if pins and version.split("+")[0] != pins[0]:
        raise DataError(
            f"{PACKAGE} is compiled for torch {pins[0]}, this environment has torch {version}: it would crash. "
            f"Uninstall {PACKAGE} here and run `make plaid`, or install torch=={pins[0]}"
        )


def check_depth(n_full_scores: int, wanted: int) -> None:
    """Raise ConfigError where ``n_full_scores`` cannot yield ``wanted`` passages a query."""
    if n_full_scores < SHARE_SCORED * wanted:
        raise ConfigError(
            f"PLAID scores a quarter of udapdr.search.plaid.n_full_scores = {n_full_scores} passages, but {wanted} are "
            f"asked for (retrieval.depth and excluded ones): raise it to {SHARE_SCORED * wanted}"
        )


def search(
    index_file: Path,
    ids: Sequence[str],
    queries: list["torch.Tensor"],
    k: int,
    excluded: Sequence[set[str]],
    settings: PlaidSettings,
    folder: Path,
    threads: int = 1,
) -> list[Ranking]:
    """Build a PLAID index in ``folder`` (which is emptied first) and return, for each query, at most ``k`` (id, score).

    ``index_file``: vectors and lengths of a saved token index; ``ids``: its passages, aligned; ``excluded``: what each
    query must not find. Ties by id. Two runs with the same seed and number of threads give the same bytes.
    ConfigError if ``n_full_scores`` cannot yield ``k``; DataError if fast-plaid fails.
    """
    wanted = min(k + max(map(len, excluded), default=0), len(ids))
    check_depth(settings.n_full_scores, wanted)
    work = folder.with_name(folder.name + ".plaid-work")
    for path in (folder, work):
        remove(path)
        path.mkdir(parents=True)
    try:
        _write_request(work, index_file, queries, wanted, settings, folder, threads)
        _run_engine(work)
        rankings = _read_answer(work, ids, len(queries))
    finally:
        remove(work)
    # fast-plaid's own lock is no part of an index
    (folder / "plaid.lock").unlink(missing_ok=True)
    return [_allowed(ranking, out)[:k] for ranking, out in zip(rankings, excluded, strict=True)]


def _allowed(ranking: Ranking, excluded: set[str]) -> Ranking:
    """Return the ranking without excluded ids; DataError if nothing is left, which no run can hold."""
    left = [pair for pair in ranking if pair[0] not in excluded]
    if not left:
        raise DataError(
            f"PLAID found {len(ranking)} passages for a query, all of them excluded ones: "
            "raise udapdr.search.plaid.n_ivf_probe"
        )
    return left


def _write_request(
    work: Path,
    index_file: Path,
    queries: list["torch.Tensor"],
    k: int,
    settings: PlaidSettings,
    folder: Path,
    threads: int,
) -> None:
    import torch
    from safetensors.torch import save_file

    lengths = torch.tensor([len(query) for query in queries], dtype=torch.int64)
    save_file({"vectors": torch.cat(queries).contiguous(), "lengths": lengths}, work / plaid_engine.QUERIES)
    create = {
        "nbits": settings.nbits,
        "kmeans_niters": settings.kmeans_iterations,
        "seed": settings.seed,
        "use_triton_kmeans": False,  # its sums have no fixed order
        "start_from_scratch": 0,  # else small corpora keep their vectors beside the index
    }
    find = {"top_k": k, "n_ivf_probe": settings.n_ivf_probe, "n_full_scores": settings.n_full_scores}
    paths = {"vectors": str(index_file.resolve()), "index": str(folder.resolve())}
    write_json(work / plaid_engine.REQUEST, {**paths, "threads": threads, "create": create, "search": find})


def _run_engine(work: Path) -> None:
    """Run the engine on a folder; DataError with its last line if it fails."""
    python = engine_python()
    # -P: the engine's folder must not hide packages of the same name as its files
    command = [str(python), "-P", str(Path(plaid_engine.__file__).resolve()), str(work.resolve())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise DataError(
            f"{PACKAGE} failed in {python}: {lines[-1]}. A corpus of a few passages is too small for it "
            "(udapdr.search.method: exact)"
        )


def _read_answer(work: Path, ids: Sequence[str], n_queries: int) -> list[Ranking]:
    """Return each query's ranking out of the flat answer, however many rows it has."""
    from safetensors.torch import load_file

    tensors = load_file(work / plaid_engine.ANSWER)
    counts = tensors["counts"].tolist()
    if len(counts) != n_queries or sum(counts) != len(tensors["rows"]):
        raise DataError(f"{PACKAGE} answered {len(counts)} of {n_queries} queries; run the step again")
    pairs = list(zip(tensors["rows"].tolist(), tensors["scores"].tolist(), strict=True))
    rankings, start = [], 0
    for count in counts:
        rankings.append(rank_by_score((ids[row], score) for row, score in pairs[start : start + count]))
        start += count
    return rankings


def settings_of(params: dict[str, Any]) -> PlaidSettings:
    """Return the settings out of a stage's params (key ``plaid``, a mapping)."""
    return PlaidSettings(**params["plaid"])
