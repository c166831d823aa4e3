"""Findings on a machine and on a recipe, before anything is launched."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.models.tokenizer.pretrained import is_hub_name
from cosmos_lidar.parallel.mesh import MeshSizes, mesh_sizes, process_count
from cosmos_lidar.shards.sources import describe, resolve
from cosmos_lidar.training.family import Family

if TYPE_CHECKING:
    from cosmos_lidar.training.preflight.launch_time import LaunchTime, Target
    from cosmos_lidar.training.preflight.prediction import Prediction

# What training imports, and the versions that are known to work together.
_PACKAGES = {
    "torch": "2.6 or newer", "lightning": "2.4.0", "nemo_toolkit": "3.0.0", "megatron-energon": "7.4 or newer",
    "omegaconf": "2.3 or newer", "safetensors": "any",
}  # fmt: skip
_OPTIONAL = {
    "transformer_engine": "kernels te and fp8", "triton": "kernels triton", "apex": "kernels apex", "wandb": "log.wandb"
}  # fmt: skip
_USABLE = 0.92  # of a GPU's memory: the rest is the driver's, the communication library's, and fragmentation


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: what was looked at.
        ok: True, False for what is in the way, None for a remark.
        text: what was found, and what to do.
    """

    topic: str
    ok: bool | None
    text: str


@dataclass
class Report:
    """All findings, the prediction where a recipe was named, and its time where a machine was."""

    findings: list[Finding] = field(default_factory=list)
    prediction: Prediction | None = None
    time: LaunchTime | None = None

    @property
    def ok(self) -> bool:
        """Nothing is in the way."""
        return all(finding.ok is not False for finding in self.findings)

    def text(self) -> str:
        """Return the report for people."""
        marks = {True: "ok  ", False: "NO  ", None: "    "}
        width = max(len(finding.topic) for finding in self.findings)
        return "\n".join(f"{marks[f.ok]}{f.topic.ljust(width)}  {f.text}" for f in self.findings)

    def document(self) -> dict[str, Any]:
        """Return the report for programs."""
        found = asdict(self.prediction) | {"activations": self.prediction.activations} if self.prediction else None
        time = self.time.document() if self.time else None
        return {"ok": self.ok, "findings": [asdict(f) for f in self.findings], "prediction": found, "time": time}


def examine(
    family: Family[Any] | None, options: list[str], processes: int, memory_gb: float, look_at_data: bool = True,
    where: Target | None = None,
) -> Report:  # fmt: skip
    """Look at the machine and, where one is named, at a recipe.

    Args:
        family: whose recipe is examined; None: the machine alone.
        options: ``recipe=NAME`` and ``key=value``.
        processes: of the run; 0 for those that its sizes name, or of the launcher.
        memory_gb: of one device in 1e9 bytes; 0 for that of this machine.
        look_at_data: the data is on this machine.
        where: the run is to be launched; None: its time is not predicted.

    Raises:
        UserError: an option that the recipe does not have.
    """
    report = Report([*_versions(), *_devices()])
    if family is None:
        return report
    run, _ = family.choose(options, look_at_data)
    if where is not None:
        processes, memory_gb = where.gpus, memory_gb or where.machine.memory_gb
    try:
        no_data = _check(run, family)
        sizes = _sizes(run, processes)
        report.findings.append(Finding("mesh", True, f"{sizes}: {sizes.world} processes, {sizes.data} shares of data"))
        if no_data or look_at_data:
            report.findings += no_data or _data(run)
        report.findings += _checkpoint(run)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.info("predicting a step on shapes")
            report.prediction = _predict(run, family, sizes)
            report.findings += _memory(run, family, sizes, report.prediction, memory_gb)
            report.findings += _time(report, run, family, sizes, where)
        report.findings += _disk(run, report.prediction, where)
    except UserError as error:
        report.findings.append(Finding("recipe", False, str(error)))
    return report


def _check(run: Any, family: Family[Any]) -> list[Finding]:
    """Check the options; those of a run that names no data as if it did, which is the finding returned."""
    try:
        family.check(run)
    except UserError as error:
        if run.data.path:
            raise
        family.check(replace(run, data=replace(run.data, path="shards")))
        return [Finding("data", None, f"{error}; the rest is predicted without it")]
    return []


def _predict(run: Any, family: Family[Any], sizes: MeshSizes) -> Prediction:
    from cosmos_lidar.training.preflight.prediction import predict  # imports Lightning, which the machine may not have

    return predict(run, family, sizes)


def _time(report: Report, run: Any, family: Family[Any], sizes: MeshSizes, where: Target | None) -> Iterator[Finding]:
    """Predict the time of a step; it stays in the report."""
    found = report.prediction
    if where is None or found is None:
        return
    if found.flops is None:
        yield Finding("step", None, f"time not predicted: {found.flops_unknown}")
        return
    from cosmos_lidar.training.preflight.launch_time import predict_launch  # imports as prediction does

    report.time = predict_launch(run, family, sizes, found, where)
    for topic, text in report.time.lines():
        yield Finding(topic, None, text)


def base_memory() -> int:
    """Return the bytes of main memory that a training process has before there is any tensor: program and libraries."""
    for module in ("megatron.energon", "nemo.utils.exp_manager", "torch.utils.tensorboard", "torch._dynamo"):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _versions() -> Iterator[Finding]:
    for package, wanted in _PACKAGES.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            hint = f"not installed, {wanted} wanted: pip install -c constraints.txt 'cosmos_lidar[train]'"
            yield Finding(package, False, hint)
            continue
        exact = wanted[0].isdigit() and " " not in wanted
        agrees = not exact or found == wanted
        yield Finding(package, agrees, found if agrees else f"{found}; {wanted} is what works with the others")
    there = [name for name in _OPTIONAL if importlib.util.find_spec(name) is not None]
    missing = [f"{name} ({use})" for name, use in _OPTIONAL.items() if name not in there]
    yield Finding("optional", None, f"installed: {', '.join(there) or 'none'}; not: {', '.join(missing) or 'none'}")


def _devices() -> Iterator[Finding]:
    memory = _machine_memory()
    yield Finding("CPU", True, f"{os.cpu_count()} cores, {memory / 1e9:.0f} GB memory")
    if not torch.cuda.is_available():
        yield Finding("GPU", None, "none: training runs on the CPU")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding(f"GPU {index}", True, f"{properties.name}, {properties.total_memory / 1e9:.0f} GB")


def _sizes(run: Any, processes: int) -> MeshSizes:
    wanted = run.parallel
    named = max(wanted.data_replicate, 1) * wanted.data_shard * wanted.context * wanted.tensor
    world = processes or (process_count() if process_count() > 1 else named)
    return mesh_sizes(wanted.data_replicate, wanted.data_shard, wanted.context, wanted.tensor, world)


def _data(run: Any) -> Iterator[Finding]:
    path = run.data.path
    if not path:
        yield Finding("data", True, "synthetic, made at the start")
        return
    trust = getattr(run.data, "trust_sample_loaders", False)
    try:
        splits = [resolve(path, split, trust) for split in (run.data.train_split, run.data.val_split)]
    except UserError as error:
        yield Finding("data", False, f"data.path={path}: {error}")
        return
    folders = dict.fromkeys(folder for split in splits for folder in split.folders)
    size = sum(tar.stat().st_size for folder in folders for tar in folder.glob("*.tar"))
    lines = "; ".join(line for split in splits for line in describe(split))
    loaders = dict.fromkeys(part.yaml.loader for split in splits for part in split.parts if part.yaml.loader)
    for function in (one for loader in loaders for one in loader.functions):
        yield Finding("data", None, f"data.trust_sample_loaders=true: the run executes {function} for its samples")
    yield Finding("data", True, f"{lines}; {size / 1e9:.2f} GB; `cosmos-lidar check {path}` reads them")


def _checkpoint(run: Any) -> Iterator[Finding]:
    from cosmos_lidar.training.checkpoint.manifest import seen_steps
    from cosmos_lidar.training.resume import check_options, find_resume
    from cosmos_lidar.training.resume_options import worth_telling
    from cosmos_lidar.training.run_folder import CHECKPOINTS, WEIGHTS, refuse_published, run_folder

    key, weights = next((key, value) for key in WEIGHTS if (value := getattr(run.model, key, None)) is not None)
    if weights and not Path(weights).exists():
        on_hub = is_hub_name(weights)
        text = "not on this disk: it will be downloaded" if on_hub else "no such file"
        yield Finding("weights", None if on_hub else False, f"model.{key}={weights}: {text}")
    try:
        folder = run_folder(run)
        refuse_published(run, folder)
        resume = find_resume(run.trainer.resume, folder / CHECKPOINTS)
        changes = [] if resume is None else check_options(run, resume)
    except UserError as error:
        yield Finding("resume", False, str(error))
        return
    if resume is None:
        yield Finding("resume", True, "no checkpoint: starts from scratch")
        return
    text = f"{resume}: {seen_steps(resume)} steps, checksums OK"
    yield Finding("resume", True, text)
    for change in worth_telling(changes):
        yield Finding("changed", None, str(change))


def _memory(run: Any, family: Any, sizes: MeshSizes, found: Prediction, memory_gb: float) -> Iterator[Finding]:
    yield Finding("parameters", None, f"{found.parameters / 1e6:,.1f} M")
    yield Finding("FLOPs", None, _flops_text(sizes, found))
    parts = {
        "weights": found.weights, "optimizer": found.optimizer, "EMA": found.average,
        "activations and gradients": found.activations,
    }  # fmt: skip
    shares = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items() if size)
    need, limit, where = _need(run, sizes, found, memory_gb)
    fits = need <= limit
    text = f"{need / 1e9:.2f} GB of {limit / 1e9:.1f} usable on {where} per process: {shares}"
    if found.peak is None:
        text = f"at least {text}; activations are not counted: {found.peak_unknown}"
    yield Finding("memory", fits if found.peak is not None or not fits else None, text)
    if where != "this machine":
        yield _host_memory(sizes, found, here=not memory_gb)
    if not fits:
        yield Finding("advice", None, _advice(run, family, sizes, memory_gb))


def _flops_text(sizes: MeshSizes, found: Prediction) -> str:
    if found.flops is None or found.total_flops is None:
        return f"not counted: {found.flops_unknown}"
    per = "" if sizes.world == 1 else f", {found.flops / 1e12:,.3g} per process"
    return f"{found.total_flops / 1e12:,.3g} TFLOP per step{per} (forward and backward)"


def _host_memory(sizes: MeshSizes, found: Prediction, here: bool) -> Finding:
    """Main memory of a rank that trains on a GPU: to load weights, and to write checkpoints."""
    need = base_memory() + max(found.loading - found.weights, found.staging)
    text = f"{need / 1e9:.2f} GB per process: program, and a checkpoint while it is written"
    if not here:
        return Finding("main memory", None, text)
    limit = _machine_memory() / _local_ranks(sizes)
    return Finding("main memory", need <= limit, f"{text}; {limit / 1e9:.1f} GB on this machine")


def _machine_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _local_ranks(sizes: MeshSizes) -> int:
    return min(sizes.world, int(os.environ.get("LOCAL_WORLD_SIZE", sizes.world)))


def _need(run: Any, sizes: MeshSizes, found: Prediction, memory_gb: float) -> tuple[float, float, str]:
    """Bytes that a process needs, bytes that it may use, and on what."""
    standing = found.weights + found.optimizer + found.average
    peak = found.peak if found.peak is not None else standing + found.gradients
    on_gpu = run.trainer.accelerator == "gpu" or (run.trainer.accelerator == "auto" and torch.cuda.is_available())
    if memory_gb and run.trainer.accelerator != "cpu":
        return peak, memory_gb * 1e9 * _USABLE, "the device"
    if on_gpu and torch.cuda.is_available():
        return peak, torch.cuda.get_device_properties(0).total_memory * _USABLE, "the GPU"
    memory = memory_gb * 1e9 or _machine_memory()
    need = base_memory() + max(peak, standing + found.staging, found.loading)
    return need, memory / _local_ranks(sizes), "this machine"


def _advice(run: Any, family: Any, sizes: MeshSizes, memory_gb: float) -> str:
    """Return the predicted memory with each option that saves memory."""
    lines = []
    for text, changed, changed_sizes in _savers(run, sizes):
        logger.info("it does not fit; predicting it with %s", text)  # each takes as long as the first
        try:
            found = _predict(changed, family, changed_sizes)
        except UserError:
            continue
        need, limit, _ = _need(changed, changed_sizes, found, memory_gb)
        lines.append(f"{text}: {need / 1e9:.2f} GB" + (", fits" if need <= limit else ""))
    return "; ".join(lines)


def _savers(run: Any, sizes: MeshSizes) -> Iterator[tuple[str, Any, MeshSizes]]:
    for kind in ("selective", "full"):
        if run.parallel.recompute != kind:
            parallel = replace(run.parallel, recompute=kind)
            yield f"parallel.recompute={kind}", replace(run, parallel=parallel), sizes
    if run.data.batch_size > 1:
        half = run.data.batch_size // 2
        yield f"data.batch_size={half}", replace(run, data=replace(run.data, batch_size=half)), sizes
    if sizes.data_replicate > 1:
        shard = sizes.data_replicate * sizes.data_shard
        changed = replace(sizes, data_replicate=1, data_shard=shard)
        yield f"parallel.data_replicate=1 parallel.data_shard={shard}", run, changed
    twice = replace(sizes, data_shard=sizes.data_shard * 2)
    yield f"{twice.world} processes with parallel.data_shard={twice.data_shard}", run, twice
    if run.model.ema.enabled:
        model = replace(run.model, ema=replace(run.model.ema, enabled=False))
        yield "model.ema.enabled=false", replace(run, model=model), sizes
    if run.trainer.precision == "fp32":
        yield "trainer.precision=bf16", replace(run, trainer=replace(run.trainer, precision="bf16")), sizes


def _disk(run: Any, found: Prediction, where: Target | None) -> Iterator[Finding]:
    """Compare the checkpoints that are kept with the disk; of another machine, only their size is known."""
    from cosmos_lidar.training.run_folder import run_folder

    kept = run.trainer.keep_last + run.trainer.keep_best + 1 if run.trainer.keep_last else 0
    size = f"{found.checkpoint / 1e9:.2f} GB per checkpoint"
    if where is not None:
        count = f"up to {kept} at once, {kept * found.checkpoint / 1e9:.1f} GB (trainer.keep_last)" if kept else ""
        yield Finding("disk", None, f"{size}; {count or 'all are kept (trainer.keep_last=0)'}")
        return
    folder = run_folder(run).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{size}, {free / 1e9:.0f} GB free in {folder}"
    if kept:
        yield Finding("disk", free > kept * found.checkpoint, f"{text}; up to {kept} at once (trainer.keep_last)")
    else:
        yield Finding("disk", None, f"{text}; all are kept (trainer.keep_last=0)")
