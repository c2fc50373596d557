"""Stage ``train.tokenize``: instructions to token ids, once for all trainings that read them.

The sets are Hugging Face ``datasets`` on disk: ``train/`` and ``dev/`` with the columns ``input_ids``, ``n_prompt``
(tokens before the completion) and ``row`` (place in the instructions), so that a share of the mixture is the share
of its rows, whatever was too long.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.errors import DataError
from searchtune.files import iter_jsonl, read_json, sha256_file, write_json
from searchtune.llm.base import check_model_dir
from searchtune.llm.tokens import Tokens
from searchtune.stage import Job
from searchtune.training.sft_data import Example, encode, end_token

if TYPE_CHECKING:
    from datasets import Dataset

PIECE = 2000  # instructions encoded at once
MANIFEST = "manifest.json"


def pieces(path: Path) -> Iterator[tuple[int, list[dict]]]:
    """Yield (place of the first row, rows) of a JSONL file, piece by piece."""
    rows: list[dict] = []
    start = 0
    for row in iter_jsonl(path):
        rows.append(row)
        if len(rows) == PIECE:
            yield start, rows
            start, rows = start + len(rows), []
    if rows:
        yield start, rows


def eos_of(base: Path) -> int | None:
    """Return the model's end-of-sequence id, the first where there are several."""
    eos = read_json(base / "config.json").get("eos_token_id")
    return eos[0] if isinstance(eos, list) else eos


def rows_of(path: Path, tokens: Tokens, settings: dict[str, Any], counts: dict[str, int]) -> Iterator[dict]:
    """Yield the rows of a token set without those that are too long; ``counts`` gets rows, dropped and tokens."""
    for start, rows in pieces(path):
        for place, example in enumerate(encode(rows, tokens, settings["form"], settings["end"]), start):
            counts["rows"] += 1
            if len(example.ids) > settings["max_length"]:
                counts["dropped"] += 1
                continue
            counts["tokens"] += len(example.ids)
            yield {"input_ids": example.ids, "n_prompt": example.n_prompt, "row": place}


def save_set(path: Path, target: Path, tokens: Tokens, settings: dict[str, Any], scratch: Path) -> dict[str, int]:
    """Write one token set and return its counts; DataError if nothing is short enough."""
    from datasets import Dataset, Features, Sequence, Value, disable_progress_bars

    disable_progress_bars()
    counts = {"rows": 0, "dropped": 0, "tokens": 0}
    shape = Features({"input_ids": Sequence(Value("int32")), "n_prompt": Value("int32"), "row": Value("int32")})
    # a cache of its own: nothing of an earlier run is taken for this one
    made = Dataset.from_generator(
        lambda: rows_of(path, tokens, settings, counts), features=shape, cache_dir=str(scratch / target.name)
    )
    if not len(made):
        raise DataError(
            f"{path}: none of its {counts['rows']} instructions has at most max_length={settings['max_length']} "
            "tokens; raise max_length or shorten the prompts"
        )
    made.save_to_disk(target)
    return counts


def run(job: Job) -> dict[str, Any]:
    """Stage entry: inputs {model, train, dev}; output {tokens}: a folder with the sets train and dev and a manifest.

    Params: form, max_length (tokens).
    """
    base = check_model_dir(job.inputs["model"])
    tokens = Tokens(base)
    settings = dict(job.params) | {"end": end_token(tokens, job.params["form"], eos_of(base))}
    target = job.outputs["tokens"]
    counts: dict[str, dict[str, int]] = {}
    for name in ("train", "dev"):
        counts[name] = save_set(job.inputs[name], target / name, tokens, settings, job.work)
        job.log("{}: {rows} instructions, {dropped} too long, {tokens} tokens".format(name, **counts[name]))
    sets = {name: found | {"sha256": sha256_file(job.inputs[name])} for name, found in counts.items()}
    write_json(target / MANIFEST, {"form": settings["form"], "max_length": settings["max_length"], "sets": sets})
    return {f"{name}_{key}": counts[name][key] for name in counts for key in ("rows", "dropped", "tokens")}


class TokenSet(Sequence[Example]):
    """A set on disk as a sequence of examples: the first ``fraction`` of its instructions, at least one."""

    def __init__(self, folder: Path, fraction: float) -> None:
        """Open a set of stage ``train.tokenize``; DataError where it is none."""
        from datasets import load_from_disk
        from pyarrow.compute import list_value_length

        if not (folder / "state.json").is_file():
            raise DataError(f"{folder} is no token set; run train.tokenize again")
        counts = read_json(folder.parent / MANIFEST)["sets"][folder.name]
        self.sha256 = counts["sha256"]
        self.limit = max(1, round(counts["rows"] * fraction))
        data: Dataset = load_from_disk(str(folder))
        n = sum(1 for row in data["row"] if row < self.limit)
        self.data = data.select(range(n)).with_format("numpy")
        self.lengths = list_value_length(self.data.data.column("input_ids")).to_pylist()
        self.dropped = min(self.limit, counts["rows"]) - n

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.lengths)

    def __getitem__(self, place: Any) -> Any:
        """Return an example, or a list of them for a slice."""
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        row = self.data[place]
        return Example(tuple(int(i) for i in row["input_ids"]), int(row["n_prompt"]))
