"""What a training run will need, found out on shapes alone: parameters, peak memory of a rank, FLOPs of a step.

The very code that trains is run, forward and backward, as rank 0 of the whole mesh, with fake tensors
and a fake process group. Left out: work space of convolution and attention libraries, buffers of
the communication library, fragmentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.parallel.clip import local_part
from cosmos_lidar.parallel.mesh import MeshSizes, check_plan, make_mesh
from cosmos_lidar.training.checkpoint.callback import training_tensors
from cosmos_lidar.training.config import Run, accumulation
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.measure.memory import PeakMemory
from cosmos_lidar.training.model import TrainedModel


@dataclass(frozen=True)
class Prediction:
    """What a run needs; bytes are those of one rank.

    Attributes:
        parameters: of the whole network.
        weights: bytes of weights and buffers.
        gradients: bytes of gradients.
        optimizer: bytes of its state.
        average: bytes of the running average of the weights.
        peak: most bytes at once during a step, all of these included; None where a step cannot be run on shapes alone.
        checkpoint: bytes of tensors in a checkpoint, of all ranks together.
        staging: bytes of main memory that a checkpoint takes while it is written.
        loading: bytes at most while weights are loaded: a rank's shards and one whole tensor.
        flops: of one step, one rank; None where they cannot be counted.
        total_flops: of one step, all ranks; None likewise.
        peak_unknown: why ``peak`` is None; empty where it is known.
        flops_unknown: why ``flops`` is None; empty where they are known.
    """

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    average: int
    peak: int | None
    checkpoint: int
    staging: int
    loading: int
    flops: int | None
    total_flops: int | None
    peak_unknown: str = ""
    flops_unknown: str = ""

    @property
    def activations(self) -> int | None:
        """Bytes at the peak that are neither weights nor optimizer nor EMA: activations and gathered weights."""
        return None if self.peak is None else self.peak - self.weights - self.optimizer - self.average


def predict(run: Run, family: Family[Any], sizes: MeshSizes) -> Prediction:
    """Return what ``run`` needs on a mesh.

    Args:
        run: the configuration.
        family: that the run belongs to.
        sizes: of the mesh; its processes need not exist.

    Raises:
        UserError: the network cannot be divided that way.
    """
    trainer = replace(run.trainer, accumulate=accumulation(run, sizes.data))
    # compiled blocks need less, if anything
    run = replace(run, parallel=replace(run.parallel, compile=False), trainer=trainer)
    with torch.device("meta"):
        model: TrainedModel = family.make_dry_model(run)
    check_plan(sizes, model.network.parallel_plan(), run.parallel.attention)
    parameters = count_parameters(model.network)
    samples, each = run.data.batch_size * run.trainer.accumulate * sizes.data, model.flops_per_sample()
    flops = None if each is None else samples * each
    with _fake_process_group(sizes.world):
        whole = sizes.world == 1 and run.trainer.precision == "fp32"
        model._device_mesh = None if whole else make_mesh(sizes, "cpu")
        model.parallelize()
        counted = _count(model, run)
    share = None if flops is None else flops // sizes.world
    unknown = model.flops_unknown
    return Prediction(parameters=parameters, flops=share, total_flops=flops, flops_unknown=unknown, **counted)


def _count(model: TrainedModel, run: Run) -> dict[str, Any]:
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.network.to_empty(device="cpu")
        model.prepare_frozen()
        others = [*model.frozen_modules(), *model.auxiliary_modules()]
        for network in others:
            network.to_empty(device="cpu")
        optimizer = model.configure_optimizers()["optimizer"]
        trained_only = run.trainer.checkpoint_trained_only
        ema = Ema(run.model.ema, trained_only) if run.model.ema.enabled else None
        if ema is not None:
            ema.start(model.network)
        tensors = training_tensors(model.network, optimizer, ema, trained_only) | model.further_tensors()
        weights = list(model.network.state_dict().values())
        batch = model.example_batch(run.data.batch_size)
        memory = PeakMemory()
        held = [tensor for network in others for tensor in (*network.parameters(), *network.buffers())]
        memory.add([tensors, weights, list(vars(batch).values()), held])
        problem = _try_step(model, batch, run.trainer.accumulate, memory)
        sums = {
            "weights": sum(_size(tensor) for tensor in weights),
            "optimizer": _bytes(tensors, "optimizer."),
            "average": _bytes(tensors, "ema."),
            "gradients": sum(_size(p) for p in model.network.parameters() if p.requires_grad),
            "checkpoint": sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        }
        staging = sum(_size(tensor) for tensor in tensors.values())
        sums["loading"] = sums["weights"] + max(tensor.numel() * tensor.element_size() for tensor in weights)
        return sums | {"peak": None if problem else memory.peak, "staging": staging, "peak_unknown": problem}


def _try_step(model: TrainedModel, batch: Any, accumulate: int, memory: PeakMemory) -> str:
    """Run a step and watch its memory; returns why it cannot be run on shapes alone, or nothing."""
    batches = [batch] * min(accumulate, 2)  # the second one runs beside the gradients of the first, as all later ones
    try:
        with memory.watching():
            loss, _ = model.run_batches(batches, [1.0 / len(batches)] * len(batches))
            loss.backward()
    except UserError:
        raise
    except Exception as error:  # shapes that depend on data end in errors of many kinds
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return ""


@contextmanager
def _fake_process_group(world: int) -> Iterator[None]:
    """Start a fake process group as rank 0 of ``world``; collectives return at once and move nothing."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=world, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def _bytes(tensors: dict[str, Tensor], prefix: str) -> int:
    return sum(_size(tensor) for name, tensor in tensors.items() if name.startswith(prefix))


def _size(tensor: Tensor) -> int:
    local = local_part(tensor)
    return local.numel() * local.element_size()
