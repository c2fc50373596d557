"""Stage ``train.sft`` in several processes, one a GPU: the model is sharded over them by torch's FSDP2.

Of each weight, its gradient and its AdamW moments a process holds its part only; a layer is gathered when it is
needed and freed after. An optimiser step sees the batch that one process would see, its micro-batches dealt out, and
ends with the same numbers but for rounding. On processors the same code runs by gloo, on GPUs by NCCL.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from searchtune.errors import ModelError
from searchtune.files import read_json, remove, stable_hash, write_json
from searchtune.llm.base import check_model_dir
from searchtune.llm.hardware import device, dtype_of
from searchtune.llm.tokens import Tokens
from searchtune.stage import Job
from searchtune.training.processes import Seat
from searchtune.training.resume import Curve, Keeper
from searchtune.training.sft import Network, Settings, settings_of, tune
from searchtune.training.sft_data import Example

if TYPE_CHECKING:
    import torch
    from torch.distributed.device_mesh import DeviceMesh

Made = TypeVar("Made")
# a process that fails is noticed by the parent; this only must outlast the slowest load and save of another one
PATIENCE = timedelta(hours=2)
POINTER = "training.sharded.json"


def run_rank(job: Job, seat: Seat) -> dict:
    """Do one process's part of stage ``train.sft``; return the counts of the whole training."""
    import torch

    settings = settings_of(job.params)
    base = check_model_dir(job.inputs["model"])
    join(seat)
    network = in_turns(seat, lambda: ShardedNetwork.load(base, settings, job.threads))
    # dropout must differ between processes, as their examples do
    torch.manual_seed(int(stable_hash([settings.seed, seat.rank], 8), 16))
    return tune(job, settings, network, ShardKeeper)


def join(seat: Seat) -> None:
    """Meet the other processes; tensors on a GPU travel by NCCL, those in memory by gloo."""
    import torch
    import torch.distributed as dist

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(seat.rank)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=dist.FileStore(str(seat.meeting), seat.size),
        rank=seat.rank,
        world_size=seat.size,
        timeout=PATIENCE,
    )
    everyone()


@cache
def everyone() -> "DeviceMesh":
    """Return all processes as the mesh that weights are sharded over."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device().type, (dist.get_world_size(),))


def total(*numbers: float) -> tuple[float, ...]:
    """Return numbers summed over all processes; none goes on before all are here."""
    import torch
    import torch.distributed as dist

    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums)
    return tuple(sums.tolist())


def in_turns(seat: Seat, make: Callable[[], Made]) -> Made:
    """Return what ``make`` makes, one process after another: whole models do not lie in memory side by side."""
    made = []
    for turn in range(seat.size):
        if turn == seat.rank:
            made.append(make())
        total(0)
    return made[0]


class ShardedNetwork(Network):
    """The model under training, of which this process holds a part. Its forward pass needs all processes at once."""

    base: Path
    alone = False

    def __init__(
        self, model: Any, tokenizer: Any, tokens: Tokens, settings: Settings, place: "torch.device | None" = None
    ) -> None:
        """``model`` is whole and in memory; layer by layer this process's part of it goes to its device."""
        import torch
        import torch.distributed as dist

        super().__init__(model, tokenizer, tokens, settings, torch.device("cpu"))
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.leads = self.rank == 0
        self.device = device()
        self.whole = shard(model, super().loss_at, settings)
        # while a layer is gathered the model shows its whole weights instead of these
        self.parts: list[Any] = [p for p in model.parameters() if p.requires_grad]

    @classmethod
    def load(cls, base: Path, settings: Settings, threads: int, place: "torch.device | None" = None) -> Self:
        """Read a model folder and keep this process's part of it."""
        network = super().load(base, settings, threads)
        network.base = base
        return network

    @property
    def weights(self) -> list["torch.nn.Parameter"]:
        """The parameters that learn, each in this process's part (a DTensor)."""
        return self.parts

    def loss_at(self, ids: "torch.Tensor", places: "torch.Tensor") -> "torch.Tensor":
        """Return the loss as one process would, by way of the sharded root: past it, weights are not gathered."""
        return self.whole(ids, places)

    def deal(self, parts: list[list[Example]]) -> list[tuple[list[Example], int]]:
        """Return this process's micro-batches with weight 1, and where others have one more the shortest example, 0.

        All must do the same number of passes, or they would wait for one another for ever.
        """
        rounds = -(-len(parts) // self.size)
        mine = range(self.rank, rounds * self.size, self.size)
        return [(parts[i], 1) if i < len(parts) else (parts[0][:1], 0) for i in mine]

    def summed(self, *numbers: float) -> tuple[float, ...]:
        """Return numbers summed over all processes."""
        return total(*numbers)

    def save(self, target: Path) -> None:
        """Gather what has learnt into a whole model in the first process's memory and write it as one process does.

        The processes part here: nothing can be trained afterwards.
        """
        import torch
        import torch.distributed as dist

        place = torch.device("cpu")
        whole = Network.load(self.base, self.settings, torch.get_num_threads(), place) if self.leads else None
        # one weight at a time, so that there is never a second whole model
        for part, weight in zip(self.parts, whole.weights if whole else self.parts, strict=True):
            gathered = part.detach().full_tensor()
            if whole:
                weight.data.copy_(gathered)
        total(0)
        dist.destroy_process_group()
        if whole:
            whole.save(target)


def shard(model: Any, loss_at: Callable[..., "torch.Tensor"], settings: Settings) -> Any:
    """Shard a model in place: each decoder layer, then all else under a root whose forward pass is ``loss_at``.

    The matrices of a layer are gathered in the number format of their products, its norms and all else in float32, as
    autocast has it; weights that learn, gradients and their sums stay float32. Gradients are summed over the
    processes, not averaged as is FSDP's habit, for each loss already is a share of the whole batch's.
    """
    import torch
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    class Whole(torch.nn.Module):
        """The root: its forward pass gathers what no layer of its own holds."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
            """Return the loss; FSDP gathers the weights around this call."""
            return loss_at(ids, places)

    half = None if settings.dtype == "float32" else dtype_of(settings.dtype)
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers_of(model if settings.full else model.get_base_model()):
        for part in layer.modules() if half else ():
            # a group of its own: autocast leaves norms in float32, and on a processor they refuse a mixture
            if not isinstance(part, torch.nn.Linear) and list(part.parameters(recurse=False)):
                fully_shard(part, mesh=everyone())
        fully_shard(layer, mesh=everyone(), mp_policy=policy)
    whole: Any = fully_shard(Whole(), mesh=everyone())
    for module in whole.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return whole


def layers_of(causal: Any) -> list[Any]:
    """Return the decoder layers of a language model; ModelError where its class does not name them."""
    names = set(causal._no_split_modules or [])
    layers = [module for module in causal.modules() if type(module).__name__ in names]
    if not layers:
        raise ModelError(
            f"{type(causal).__name__} does not say what its layers are, so it cannot be sharded; set processes to 1"
        )
    return layers


class ShardKeeper(Keeper):
    """Saves each process's part of a training's state; a step counts as saved when all parts are on disk."""

    def offer(
        self, step: int, weights: list["torch.nn.Parameter"], optimizer: "torch.optim.Optimizer", curve: Curve
    ) -> None:
        """Save the state after ``step`` steps if the first process finds the last one old enough."""
        import torch.distributed as dist

        leads = dist.get_rank() == 0
        if not total(leads and self.due())[0]:
            return
        self.write(self._path(step), step, [local(weight) for weight in weights], local(optimizer.state_dict()), curve)
        total(0)
        if leads:
            pointer = self.folder / POINTER
            old = read_json(pointer)["step"] if pointer.is_file() else step
            write_json(pointer, {"step": step})
            if old != step:
                remove(self._path(old).parent)
        self.last = time.monotonic()

    def restore(
        self, weights: list["torch.nn.Parameter"], optimizer: "torch.optim.Optimizer"
    ) -> tuple[int, Curve] | None:
        """Put this process's part of a saved state back and return (steps done, curve); None where there is none."""
        from torch.distributed.tensor import DTensor

        pointer = self.folder / POINTER
        if not pointer.is_file():
            return None
        path = self._path(read_json(pointer)["step"])
        if total(not self.whole(path))[0]:
            return None  # where one part is damaged, all processes begin anew
        kept = self.read(path, [local(weight) for weight in weights], optimizer)
        like: Any
        for like, moments in optimizer.state.items():
            for name in moments.keys() - {"step"}:
                moments[name] = DTensor.from_local(
                    moments[name], like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
                )
        return kept

    def _path(self, step: int) -> Path:
        import torch.distributed as dist

        return self.folder / f"state-{step}" / f"{dist.get_rank()}.state"


def local(value: Any) -> Any:
    """Return a sharded tensor's part in this process; dictionaries are walked through, all else stays as it is."""
    from torch.distributed.tensor import DTensor

    if isinstance(value, dict):
        return {key: local(item) for key, item in value.items()}
    return value.to_local().detach() if isinstance(value, DTensor) else value
