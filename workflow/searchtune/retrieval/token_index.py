"""Token vectors of a corpus: in memory, or on disk and read part by part where the corpus is large.

An index is a folder: ``index.safetensors`` {vectors (sum of lengths, d) in half precision, lengths} and ``ids.json``.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from searchtune.demand import PIECE
from searchtune.errors import DataError
from searchtune.files import read_json, write_json

if TYPE_CHECKING:
    import torch

VECTORS_FILE = "index.safetensors"
IDS_FILE = "ids.json"
# room for the header of a safetensors file, which stands first but is known last
_HEADER = 1024


@dataclass
class TokenIndex:
    """Token vectors of a corpus: ``vectors`` (sum of lengths, d), passage ``ids`` and their ``lengths``, aligned.

    ``folder``: where an index of more than ``PIECE`` passages lies; its ``vectors`` are mapped from the file there, in
    half precision. Those of a smaller one are in memory, in 32 bits.
    """

    ids: list[str]
    vectors: "torch.Tensor"
    lengths: list[int]
    folder: Path | None = None

    def save(self, path: Path) -> None:
        """Write the index as a folder: vectors in half precision (relative error below 0.001) and ids."""
        import torch
        from safetensors.torch import save_file

        path.mkdir(parents=True, exist_ok=True)
        save_file(
            {
                "vectors": self.vectors.to(torch.float16).contiguous(),
                "lengths": torch.tensor(self.lengths, dtype=torch.int32),
            },
            path / VECTORS_FILE,
        )
        (path / VECTORS_FILE).chmod(0o644)
        write_json(path / IDS_FILE, self.ids)

    @classmethod
    def load(cls, path: Path) -> "TokenIndex":
        """Read an index folder; DataError if ids, lengths and vectors do not belong together."""
        import torch
        from safetensors.torch import load_file

        # the file is mapped, not read
        tensors, ids = load_file(path / VECTORS_FILE), read_json(path / IDS_FILE)
        lengths, vectors = tensors["lengths"].tolist(), tensors["vectors"]
        if len(ids) != len(lengths) or sum(lengths) != len(vectors):
            raise DataError(
                f"{path}: {len(ids)} ids, {len(lengths)} lengths, {len(vectors)} vectors "
                "do not belong together; delete it and run again"
            )
        if len(ids) > PIECE:
            return cls(ids, vectors, lengths, path)
        return cls(ids, vectors.to(torch.float32), lengths)

    def parts(self) -> Iterator["TokenIndex"]:
        """Yield the index in parts of at most ``PIECE`` passages, in memory; a small one is its own only part."""
        import torch

        if len(self.ids) <= PIECE:
            yield self
            return
        first = 0
        for start in range(0, len(self.ids), PIECE):
            lengths = self.lengths[start : start + PIECE]
            vectors = self.vectors[first : first + sum(lengths)].to(torch.float32)
            yield TokenIndex(self.ids[start : start + PIECE], vectors, lengths)
            first += sum(lengths)

    def projected(self, weight: "torch.Tensor | None", folder: Path) -> "TokenIndex":
        """Return the index after a linear map ``weight`` (d_out, d_in) and scaling to unit length; that of a large one
        is written to ``folder``."""
        if weight is None:
            return self
        if len(self.ids) <= PIECE:
            # in pieces: the whole product would stand in memory twice
            pieces = [unit(piece @ weight.T) for piece in self.vectors.split(1 << 16)]
            return TokenIndex(self.ids, concatenate(pieces, weight.shape[0]), self.lengths)
        with VectorWriter(folder) as writer:
            for part in self.parts():
                writer.add(part.projected(weight, folder))
        return TokenIndex.load(folder)


class VectorWriter:
    """Writes an index folder part by part, so that one part alone is in memory; ``with VectorWriter(folder)``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids: list[str] = []
        self._lengths: list[int] = []
        self._width = 0
        self._file: IO[bytes]

    def __enter__(self) -> Self:
        """Open the file; what stands in the folder is replaced."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = open(self._folder / VECTORS_FILE, "wb")
        self._file.write(bytes(_HEADER))
        return self

    def add(self, part: TokenIndex) -> None:
        """Append a part's passages."""
        import torch

        self._file.write(part.vectors.to(torch.float16).contiguous().numpy().data.cast("B"))
        self._ids += part.ids
        self._lengths += part.lengths
        self._width = part.vectors.shape[1]

    def __exit__(self, kind: Any, *_: object) -> None:
        """Write lengths, header and ids; after an error nothing, so that the file cannot be read."""
        import numpy as np

        with self._file:
            if kind is None:
                self._file.write(np.array(self._lengths, dtype="<i4").tobytes())
                self._file.seek(0)
                self._file.write(self._header())
        if kind is None:
            write_json(self._folder / IDS_FILE, self._ids)

    def _header(self) -> bytes:
        """Return the header of the format (length, then JSON), filled with spaces to the room that was left."""
        rows = sum(self._lengths)
        end = 2 * rows * self._width
        described = {
            "vectors": {"dtype": "F16", "shape": [rows, self._width], "data_offsets": [0, end]},
            "lengths": {
                "dtype": "I32",
                "shape": [len(self._lengths)],
                "data_offsets": [end, end + 4 * len(self._lengths)],
            },
        }
        room = _HEADER - 8
        return room.to_bytes(8, "little") + json.dumps(described).encode().ljust(room)


def unit(vectors: "torch.Tensor") -> "torch.Tensor":
    """Return the vectors (…, d) scaled to unit length."""
    import torch

    return torch.nn.functional.normalize(vectors, dim=-1)


def concatenate(pieces: list["torch.Tensor"], width: int) -> "torch.Tensor":
    """Concatenate and empty ``pieces`` one by one, so that the peak stays near the size of the result."""
    import torch

    whole = torch.empty((sum(map(len, pieces)), width), dtype=torch.float32)
    start = 0
    for number, piece in enumerate(pieces):
        whole[start : start + len(piece)] = piece
        start += len(piece)
        pieces[number] = piece[:0]
    return whole
