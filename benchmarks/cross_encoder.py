"""Compare the scoring of (query, passage) pairs with sentence-transformers and with one pair at a time.

    python benchmarks/cross_encoder.py results/demo --collection amazon

Pairs: the queries of a finished run and the top of their BM25 lists. Model: the encoder of one of the run's rerankers
under a drawn ``cls`` head, as sentence-transformers has no ``interaction`` head; same length, number format and threads
in every way. The scores of all ways are compared on a sample before anything is timed; loading is not counted. Ways:
one          transformers, batches of 1, padded to the full length (as the released UDAPDR code scores)
predict      sentence-transformers' CrossEncoder.predict as it comes, batches of 32
predict, 8   the same in batches of 8, which fit a processor's cache better
ours         reranking/cross_encoder.py
Then the run's own reranker with its own head and length: one pair at a time, not padded, against ours.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

Pair = tuple[str, str]
Way = Callable[[list[Pair]], Sequence[float]]
# in number format -> how far scores of two ways may lie apart; bfloat16 keeps about two digits
APART = {"float32": 1e-5, "bfloat16": 0.05}
RELEASED_LENGTH = 384
SAMPLE = 40


def pairs_of(results: Path, collection: str, queries: int, depth: int) -> list[Pair]:
    """Return (query, passage) texts of the first ``queries`` queries of a BM25 run, ``depth`` passages each."""
    from searchtune.collections.beir import Collection
    from searchtune.collections.trec import read_run

    loaded, run = (
        Collection.load(results / f"collections/{collection}"),
        read_run(results / f"runs/{collection}/bm25.run.gz"),
    )
    return [
        (loaded.queries[query].text, loaded.passage_text(passage))
        for query in list(run)[:queries]
        for passage, _ in run[query][:depth]
    ]


def write_cls_model(reranker: Path, folder: Path, length: int) -> None:
    """Write the reranker's encoder under a drawn linear unit, in a form that both libraries read."""
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(reranker, num_labels=1, dtype=torch.float32)
    # scores that differ by about one, as trained ones do: differences of ways are then seen
    torch.nn.init.normal_(model.classifier.weight, std=0.1)
    model.save_pretrained(folder)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_file=str(reranker / "tokenizer.json"), model_max_length=length, model_input_names=names, **special
    ).save_pretrained(folder)


def one_by_one(folder: Path, dtype: str, length: int) -> Way:
    """Return the released way: each pair alone, padded to ``length``."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def score(pairs: list[Pair]) -> list[float]:
        """Return the logits of the pairs."""
        found = []
        for query, passage in pairs:
            fields = tokenizer(
                query, passage, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
            )
            with torch.inference_mode():
                found.append(model(**fields).logits[0, 0].item())
        return found

    return score


def predict(folder: Path, dtype: str, length: int, batch: int) -> Way:
    """Return sentence-transformers' way, without the squashing of its scores."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(
        str(folder),
        max_length=length,
        device="cpu",
        activation_fn=torch.nn.Identity(),
        model_kwargs={"dtype": getattr(torch, dtype)},
    )
    return lambda pairs: model.predict(pairs, batch_size=batch, show_progress_bar=False).tolist()


def ours(folder: Path, dtype: str, length: int) -> Way:
    """Return our way."""
    from searchtune.reranking.cross_encoder import CrossEncoder

    return CrossEncoder.load(folder, length, dtype).score  # batches of 32 at most


def alone(folder: Path, dtype: str, length: int) -> Way:
    """Return our network called for one pair at a time, without padding."""
    score = ours(folder, dtype, length)
    return lambda pairs: [score([pair])[0] for pair in pairs]


def check(ways: dict[str, Way], pairs: list[Pair], dtype: str) -> dict[str, float]:
    """Return the largest difference of each way's scores from the first way's; exit where it is too large."""
    scores = {name: way(pairs) for name, way in ways.items()}
    first = next(iter(scores.values()))
    apart = {name: max(abs(a - b) for a, b in zip(found, first, strict=True)) for name, found in scores.items()}
    for name, difference in apart.items():
        if difference > APART[dtype]:
            sys.exit(f"{dtype}: scores of {name!r} lie {difference:.1e} apart, more than {APART[dtype]}")
    return apart


def compare(model: str, ways: dict[str, Way], pairs: list[Pair], dtype: str, turns: int, cpu: bool) -> None:
    """Check the ways, then print a row for each in turns; one pair at a time gets a tenth of the pairs."""
    few = pairs[:: max(1, len(pairs) // SAMPLE)]
    apart = check(ways, few, dtype)
    clock = time.process_time if cpu else time.perf_counter
    for turn in range(turns):
        rates: dict[str, float] = {}
        for name, way in ways.items():
            given = pairs[::10] if name.startswith("one") else pairs
            started = clock()
            way(given)
            rates[name] = len(given) / (clock() - started)
        best = rates["ours"]
        for name, rate in rates.items():
            print(f"{model}\t{dtype}\t{turn}\t{name}\t{rate:.1f}\t{best / rate:.2f}\t{apart[name]:.1e}", flush=True)


def main() -> None:
    """Print pairs a second of each way, and how many times as fast ours is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of a finished run, such as results/demo")
    parser.add_argument("--collection", default="amazon", help="target of the run's UDAPDR chain")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--length", type=int, default=RELEASED_LENGTH, help="tokens a pair, at most")
    parser.add_argument("--own-length", type=int, default=112, help="the same for the run's own reranker")
    parser.add_argument("--dtypes", nargs="+", choices=APART, default=list(APART))
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="count CPU seconds, of one thread (busy machine)")
    options = parser.parse_args()
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1 if options.cpu_time else options.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    pairs = pairs_of(options.results, options.collection, options.queries, options.depth)
    reranker = options.results / f"udapdr/{options.collection}/rerankers/0"
    print("model\tformat\tturn\tway\tpairs_per_s\tours_is_times\tapart")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cls_model(reranker, folder, options.length)
        for dtype in options.dtypes:
            shared: tuple[Any, ...] = (folder, dtype, options.length)
            ways = {
                "one, padded": one_by_one(*shared),
                "predict": predict(*shared, 32),
                "predict, 8": predict(*shared, 8),
                "ours": ours(*shared),
            }
            compare("cls", ways, pairs, dtype, options.turns, options.cpu_time)
            own = (reranker, dtype, options.own_length)
            compare(
                "the run's own", {"one": alone(*own), "ours": ours(*own)}, pairs, dtype, options.turns, options.cpu_time
            )


if __name__ == "__main__":
    main()
