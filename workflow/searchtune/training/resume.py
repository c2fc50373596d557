"""Go on where a killed training stopped: what has learnt, the optimiser, the curve and the random state, kept on disk.

A resumed training does the same steps on the same numbers as an unbroken one, so it ends with the same weights.
"""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.files import atomic_path

if TYPE_CHECKING:
    import torch

FILE = "training.state"


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
    last: float = field(default_factory=time.monotonic)

    def offer(
        self, step: int, weights: list["torch.nn.Parameter"], optimizer: "torch.optim.Optimizer", curve: Curve
    ) -> None:
        """Save the state after ``step`` steps if the last one is old enough; a reader never sees half of it."""
        import torch

        if time.monotonic() - self.last < self.every_s:
            return
        state = {
            "key": self.key,
            "step": step,
            "weights": [weight.detach().cpu() for weight in weights],
            "optimizer": optimizer.state_dict(),
            "curve": asdict(curve),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        with atomic_path(self.folder / FILE) as temporary:
            torch.save(state, temporary)
        self.last = time.monotonic()

    def restore(
        self, weights: list["torch.nn.Parameter"], optimizer: "torch.optim.Optimizer"
    ) -> tuple[int, Curve] | None:
        """Put a saved state back and return (steps done, curve); None where there is none of this training."""
        import torch

        path = self.folder / FILE
        if not path.is_file():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["key"] != self.key:
            return None
        with torch.no_grad():
            for weight, saved in zip(weights, state["weights"], strict=True):
                weight.copy_(saved)
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"])
        return state["step"], Curve(**state["curve"])
