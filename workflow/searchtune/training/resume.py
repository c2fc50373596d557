"""Go on where a killed training stopped: what has learnt, the optimiser, the curve and the random state, kept on disk.

A resumed training does the same steps on the same numbers as an unbroken one, so it ends with the same weights.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.sealed import intact, sealed_path

if TYPE_CHECKING:
    import torch

FILE = "training.state"


def random_state() -> dict[str, Any]:
    """Return where torch's random numbers stand: of the processor (random) and of each GPU (random_cuda)."""
    import torch

    on_gpu = torch.cuda.is_available()
    return {"random": torch.get_rng_state(), "random_cuda": torch.cuda.get_rng_state_all() if on_gpu else []}


def set_random_state(state: dict[str, Any]) -> None:
    """Go back to what :func:`random_state` returned."""
    import torch

    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])


@dataclass
class Curve:
    """What a training leaves behind beside its weights; ``total`` and ``count`` are of the steps not yet logged."""

    loss: list[dict] = field(default_factory=list)
    dev_loss: list[dict] = field(default_factory=list)
    tokens: int = 0
    completion_tokens: int = 0
    padded: int = 0
    total: float = 0.0
    count: int = 0


@dataclass
class Keeper:
    """Saves a training's state every ``every_s`` seconds in ``folder``; ``key`` says which training it is."""

    folder: Path
    key: str
    every_s: float
    log: Callable[[str], None] = print
    last: float = field(default_factory=time.monotonic)

    def whole(self, path: Path) -> bool:
        """Say whether a written state is there and has the bytes that were written; tell of one that has not."""
        good = intact(path)
        if not good and path.is_file():
            self.log(f"{path.name}: its content is not what was written, the training begins anew")
        return good

    def due(self) -> bool:
        """Say whether the last state is old enough for another one."""
        return time.monotonic() - self.last >= self.every_s

    def offer(
        self, step: int, weights: list["torch.nn.Parameter"], optimizer: "torch.optim.Optimizer", curve: Curve
    ) -> None:
        """Save the state after ``step`` steps if the last one is old enough; a reader never sees half of it."""
        if self.due():
            self.write(self.folder / FILE, step, list(weights), optimizer.state_dict(), curve)
            self.last = time.monotonic()

    def write(
        self, path: Path, step: int, weights: Sequence["torch.Tensor"], optimizer: dict[str, Any], curve: Curve
    ) -> None:
        """Write a state: what has learnt, the optimiser's own state, the curve and the random state."""
        import torch

        state = {
            "key": self.key,
            "step": step,
            "weights": [weight.detach().cpu() for weight in weights],
            "optimizer": optimizer,
            "curve": asdict(curve),
            **random_state(),
        }
        with sealed_path(path) as temporary:
            torch.save(state, temporary)

    def restore(
        self, weights: list["torch.nn.Parameter"], optimizer: "torch.optim.Optimizer"
    ) -> tuple[int, Curve] | None:
        """Put a saved state back and return (steps done, curve); None where there is none of this training."""
        return self.read(self.folder / FILE, list(weights), optimizer)

    def read(
        self, path: Path, weights: Sequence["torch.Tensor"], optimizer: "torch.optim.Optimizer"
    ) -> tuple[int, Curve] | None:
        """Copy a written state into ``weights`` and ``optimizer``; return as :meth:`restore` does.

        None also where its bytes are not those that were written: the training then begins anew.
        """
        import torch

        if not self.whole(path):
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["key"] != self.key:
            return None
        with torch.no_grad():
            for weight, saved in zip(weights, state["weights"], strict=True):
                weight.copy_(saved)
        optimizer.load_state_dict(state["optimizer"])
        set_random_state(state)
        return state["step"], Curve(**state["curve"])
