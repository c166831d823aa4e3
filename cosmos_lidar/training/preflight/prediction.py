"""What a training run will need, found out on shapes alone: parameters, peak memory of a process, FLOPs of a step.

The very code that trains is run, forward and backward, as process 0 of the whole mesh, with tensors that have a shape
but no content and processes that are not there. Left out: work space of convolution and attention libraries, buffers of
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

from cosmos_lidar.parallel.clip import local_part
from cosmos_lidar.parallel.mesh import MeshSizes, check_plan, make_mesh
from cosmos_lidar.training.checkpoint.callback import training_tensors
from cosmos_lidar.training.config import Run
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.measure.flops import training_flops
from cosmos_lidar.training.measure.memory import PeakMemory
from cosmos_lidar.training.model import TrainedModel


@dataclass(frozen=True)
class Prediction:
    """What a run needs; bytes are those of one process.

    Attributes:
        parameters: of the whole network.
        weights: bytes of weights and buffers.
        gradients: bytes of gradients.
        optimizer: bytes of its state.
        average: bytes of the running average of the weights.
        peak: most bytes at once during a step, all of these included.
        checkpoint: bytes of tensors in a checkpoint, of all processes together.
        staging: bytes of main memory that a checkpoint takes while it is written.
        flops: of one step, one process.
        total_flops: of one step, all processes.
    """

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    average: int
    peak: int
    checkpoint: int
    staging: int
    flops: int
    total_flops: int

    @property
    def activations(self) -> int:
        """Bytes at the peak that are neither weights nor optimizer nor average: activations and what is gathered."""
        return self.peak - self.weights - self.optimizer - self.average


def predict(run: Run, family: Family[Any], sizes: MeshSizes) -> Prediction:
    """Return what ``run`` needs on a mesh.

    Args:
        run: the configuration.
        family: that the run belongs to.
        sizes: of the mesh; its processes need not exist.

    Raises:
        UserError: the network cannot be divided that way.
    """
    run = replace(run, parallel=replace(run.parallel, compile=False))  # compiled blocks need less, if anything
    with torch.device("meta"):
        model: TrainedModel = family.make_dry_model(run)
    check_plan(sizes, model.network.parallel_plan(), run.parallel.attention)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    everything = 4 * parameters * (3 + run.model.ema.enabled)
    flops = run.data.batch_size * sizes.data * training_flops(model.network, model.meta_inputs())
    with _imagined_processes(sizes.world):
        whole = sizes.world == 1 and run.trainer.precision == "fp32"
        model._device_mesh = None if whole else make_mesh(sizes, "cpu")
        model.configure_model()
        counted = _count(model, run)
    return Prediction(
        parameters=parameters, checkpoint=everything, flops=flops // sizes.world, total_flops=flops, **counted
    )


def _count(model: TrainedModel, run: Run) -> dict[str, int]:
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.network.to_empty(device="cpu")
        judges = model.judges()
        for judge in judges:
            judge.to_empty(device="cpu")
        optimizer = model.configure_optimizers()["optimizer"]
        ema = Ema(run.model.ema) if run.model.ema.enabled else None
        if ema is not None:
            ema.on_fit_start(None, model)
        tensors = training_tensors(model.network, optimizer, ema) | model.further_tensors()
        batch = model.example_batch(run.data.batch_size)
        memory = PeakMemory()
        memory.add([tensors, list(vars(batch).values()), [p for judge in judges for p in judge.parameters()]])
        with memory.watching():
            model.step(batch)["loss"].backward()
        gradients = [parameter.grad for parameter in model.network.parameters() if parameter.grad is not None]
        sums = {
            "weights": _bytes(tensors, "model."),
            "optimizer": _bytes(tensors, "optimizer."),
            "average": _bytes(tensors, "ema."),
            "gradients": sum(_size(gradient) for gradient in gradients),
        }
        return sums | {"peak": memory.peak, "staging": sums["weights"] + sums["optimizer"] + sums["average"]}


@contextmanager
def _imagined_processes(world: int) -> Iterator[None]:
    """Be process 0 of ``world``; exchanges return at once, with whatever is in their buffers."""
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

