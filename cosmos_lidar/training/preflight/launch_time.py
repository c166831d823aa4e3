"""Time before launch: the predicted step of a recipe on a machine, and faster meshes, as findings of the doctor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.preflight.machines import Machine, find_machine
from cosmos_lidar.training.preflight.mesh_choice import MeshChoice, choices
from cosmos_lidar.training.preflight.step_time import StepTime, Traffic, predict_step
from cosmos_lidar.training.preflight.workload import count_sample

if TYPE_CHECKING:
    from cosmos_lidar.training.preflight.prediction import Prediction

_SHOWN = 3  # meshes


@dataclass(frozen=True)
class Target:
    """Where a run is to be launched.

    Attributes:
        machine: of every node.
        nodes: number of them.
        load_s: seconds that one worker takes to load a sample; 0: loading is not counted.
    """

    machine: Machine
    nodes: int = 1
    load_s: float = 0.0

    @property
    def gpus(self) -> int:
        """Number of GPUs."""
        return self.nodes * self.machine.gpus


@dataclass(frozen=True)
class LaunchTime:
    """What is predicted for a target.

    Attributes:
        step: on the mesh of the run.
        meshes: possible ones, the fastest first; that of the run among them if its sharing ranks are in one node.
    """

    step: StepTime
    meshes: list[MeshChoice]

    def document(self) -> dict[str, Any]:
        """Return the prediction for programs."""
        meshes = [
            asdict(one.sizes) | asdict(one.time) | {"memory_gb": one.memory_gb, "fits": one.fits} for one in self.meshes
        ]
        return {"step": asdict(self.step), "meshes": meshes}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield (topic, text) for people."""
        yield "step", _step_text(self.step)
        for traffic in self.step.traffic:
            yield "network", _traffic_text(traffic)
        best = [one for one in self.meshes if one.fits is not False][:_SHOWN]
        faster = [one for one in best if one.time.samples_per_s > 1.01 * self.step.samples_per_s]
        for one in faster:
            yield "faster", _mesh_text(one)
        if not faster:
            yield "faster", "no mesh of these GPUs is predicted to be more than 1 % faster"
        same = next(
            (one for one in self.meshes if one.fits is not False and one.time.samples == self.step.samples), None
        )
        if same is not None and same not in faster and same.time.seconds < 0.99 * self.step.seconds:
            yield "faster", f"with as many samples per step: {_mesh_text(same)}"


def target(machine: str, nodes: int, processes: int, load_s: float) -> Target | None:
    """Return where a run is to be launched, as options of a command name it; None where no machine is named.

    Raises:
        UserError: an unknown machine, a number of nodes below 1, or another number of processes than the GPUs.
    """
    if not machine:
        if nodes or load_s:
            raise UserError("--nodes and --load-s belong to --machine NAME")
        return None
    found = Target(find_machine(machine), nodes or 1, load_s)
    if found.nodes < 1 or load_s < 0:
        raise UserError(f"--nodes {nodes} --load-s {load_s:g}: expected at least 1 node, and 0 s or more")
    if processes and processes != found.gpus:
        raise UserError(f"--processes {processes}: {found.nodes} x {machine} has {found.gpus} GPUs; leave it out")
    return found


def predict_launch(
    run: Any, family: Family[Any], sizes: MeshSizes, counted: Prediction | None, where: Target
) -> LaunchTime:
    """Return the predicted time of a step and of other meshes.

    Args:
        run: the configuration.
        family: of it.
        sizes: of its mesh.
        counted: its memory on that mesh, for which meshes fit; None: unknown.
        where: it is to be launched.

    Raises:
        UserError: the mesh is impossible.
    """
    with torch.device("meta"):
        model = family.make_dry_model(run)
    plan, work = model.network.parallel_plan(), count_sample(model)
    step = predict_step(run, plan, work, sizes, where.machine, where.load_s)
    memory = None if counted is None else (sizes, counted)
    return LaunchTime(step, choices(run, plan, work, memory, sizes.world, where.machine, where.load_s))


def _step_text(step: StepTime) -> str:
    parts = {"computation": step.compute_s, "memory": step.memory_s, "network": step.waited_s}
    shares = ", ".join(f"{name} {seconds:.3g}" for name, seconds in parts.items())
    encoding = f" (online encoding {step.encoding_s:.3g} of these)" if step.encoding_s else ""
    loading = f"; loading meanwhile {step.loading_s:.3g}" if step.loading_s else ""
    return (
        f"{step.seconds:.3g} s predicted on {step.gpus} {step.machine}: {shares}{encoding}{loading}; bound by "
        f"{step.bound}; {step.samples} samples per step, {step.samples_per_s:.3g} samples/s, MFU {step.mfu:.0%}"
    )


def _traffic_text(one: Traffic) -> str:
    what = "weights and gradients over " if one.overlaps else ""
    return (
        f"{what}{one.dimension}, {one.ranks} ranks {one.link}: {one.messages:,} messages, {one.sent_gb:.3g} GB sent, "
        f"{one.seconds:.3g} s, {one.waited_s:.3g} s of them waited for"
    )


def _mesh_text(one: MeshChoice) -> str:
    sizes = " ".join(f"parallel.{name}={size}" for name, size in asdict(one.sizes).items())
    memory = "" if one.memory_gb is None else f", about {one.memory_gb:.0f} GB"
    time = one.time
    speed = f"{time.samples_per_s:.3g} samples/s, {time.seconds:.3g} s for {time.samples} samples"
    return f"{sizes}: {speed}, bound by {time.bound}{memory}"
