"""Batches that fit into a GPU's memory, found by trying: one that does not is done again as smaller ones.

How much a batch needs depends on the device, on what else lies there and on the attention kernel, so no rule tells it
beforehand. The smaller size holds for all that comes after; it says nothing about answers, only about how many of them
are made at once.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from searchtune.errors import ModelError

Item = TypeVar("Item")
Made = TypeVar("Made")


def to_stderr(message: str) -> None:
    """Tell where no job's log is at hand."""
    print(message, file=sys.stderr, flush=True)


def free_memory() -> None:
    """Give what no object holds any more back to the device."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def named_shortage(what: str, lower: str) -> Iterator[None]:
    """Turn a lack of GPU memory, in ``what`` can't be cut, into a ModelError that says how to need less."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{what}: the GPU's memory does not suffice ({error}); {lower}") from error


@dataclass
class Room:
    """How many tokens (or what ``unit`` says), padding counted, a batch may hold; None: as many as its rows have.

    ``what`` is done in batches and ``lower`` is what makes one of them need less memory, in the words of errors.
    """

    what: str
    lower: str
    tokens: int | None = None
    log: Callable[[str], None] = to_stderr
    unit: str = "tokens"
    shrunk: bool = False

    def batches(
        self,
        items: Sequence[Item],
        size: Callable[[Item], int],
        rows: int,
        work: Callable[[list[Item]], Made],
    ) -> Iterator[tuple[list[Item], Made]]:
        """Yield (batch, what ``work`` made of it) over all items in order; ``size`` is an item's tokens.

        A batch holds at most ``rows`` items and ``tokens`` tokens, and one item in any case. Where the memory does not
        suffice the batch is cut smaller, so ``work`` must do the same when it is asked again. ModelError where a
        single item does not fit.
        """
        start = 0
        while start < len(items):
            batch = list(items[start : start + self.fitting(items[start : start + rows], size)])
            if made := self.tried(work, batch):
                yield batch, made[0]
                start += len(batch)
            else:
                self.shrink(len(batch) * max(1, *map(size, batch)), len(batch))

    def fitting(self, items: Sequence[Item], size: Callable[[Item], int]) -> int:
        """Return how many of the first items a batch may hold, at least one."""
        longest = 1
        for number, item in enumerate(items):
            longest = max(longest, size(item))
            if number and self.tokens is not None and longest * (number + 1) > self.tokens:
                return number
        return len(items)

    def tried(self, work: Callable[[Item], Made], item: Item) -> tuple[Made] | None:
        """Return what ``work`` makes of an item, or None where the memory did not suffice."""
        import torch

        try:
            return (work(item),)
        except torch.OutOfMemoryError:
            pass
        # only now: while the error is being handled, it holds every tensor of the failed attempt
        free_memory()
        return None

    def shrink(self, used: int, rows: int) -> None:
        """Halve the limit after a batch of ``rows`` items, ``used`` tokens in all, did not fit; the first time is told.

        ModelError where it was one item alone.
        """
        if rows == 1:
            raise self.too_small(used)
        self.tokens = used // 2
        if not self.shrunk:
            self.log(f"{self.what}: {used} {self.unit} at once do not fit into the GPU's memory; halved until they do")
        self.shrunk = True

    def too_small(self, used: int) -> ModelError:
        """Return the error for an item that is too large alone."""
        return ModelError(
            f"{self.what}: the GPU's memory does not hold a single one of {used} {self.unit}; {self.lower}, give the "
            "job a larger GPU, or end what else runs on this one"
        )
