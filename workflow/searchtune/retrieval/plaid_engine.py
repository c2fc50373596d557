"""Build a PLAID index with fast-plaid and search it: ``python plaid_engine.py <folder>``, a program of its own.

fast-plaid is compiled against one release of torch (2.11.0), which is not the release of the other steps, and crashes
under any other. So it may run in an interpreter of its own; this file therefore imports nothing of this package.

The folder holds ``request.json`` {vectors (file of a token index), index (folder to build), threads, create and search
(keyword arguments of fast-plaid)} and ``queries.safetensors`` {vectors (sum of tokens, d), lengths}. It receives
``answer.safetensors`` {rows, scores, counts}: the positions of the passages found and their scores, best first, one
query after the other, and how many each query has, which may be fewer than asked for, or none.
"""

import json
import sys
from pathlib import Path
from typing import Any

REQUEST, QUERIES, ANSWER = "request.json", "queries.safetensors", "answer.safetensors"


def split(tensors: dict[str, Any]) -> list[Any]:
    """Return one (tokens, d) tensor a text out of {vectors, lengths}."""
    return list(tensors["vectors"].split(tensors["lengths"].tolist()))


def answer(folder: Path) -> None:
    """Read the folder's request, build the index, search all queries, write the answer."""
    import torch
    from fast_plaid.search import FastPlaid
    from safetensors.torch import load_file, save_file

    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    torch.set_num_threads(request["threads"])
    # on the processor, so that k-means has one outcome
    with FastPlaid(index=request["index"], device="cpu") as plaid:
        plaid.create(split(load_file(request["vectors"])), **request["create"])
        queries = split(load_file(folder / QUERIES))
        found = plaid.search(queries, show_progress=False, n_processes=request["threads"], **request["search"])
    pairs = [pair for ranking in found for pair in ranking]
    tensors = {
        "rows": torch.tensor([row for row, _ in pairs], dtype=torch.int64),
        "scores": torch.tensor([score for _, score in pairs], dtype=torch.float32),
        "counts": torch.tensor([len(ranking) for ranking in found], dtype=torch.int64),
    }
    save_file(tensors, folder / ANSWER)


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
