"""What every training run can be told: one dataclass per part, each field with its meaning and its default.

The configuration of a model family (``cosmos_lidar/families/NAME/config.py``) adds ``model`` and ``data`` to
:class:`Run`; a recipe is a function that returns one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cosmos_lidar.errors import UserError


def setting(default: Any, text: str) -> Any:
    """Declare a field with its default and the sentence that ``--help`` prints for it."""
    metadata = {"help": text}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class EmaConfig:
    """A running average of the weights, kept in fp32: e = decay * e + (1 - decay) * p after each step."""

    enabled: bool = setting(False, "keep the average; validation and exports then use it")
    kind: str = setting("constant", "constant: the same decay at each step; power: one that grows with the steps")
    decay: float = setting(0.9999, "constant: share of the old average that each step keeps")
    width: float = setting(0.1, "power: width of the average, relative to the training so far (Karras et al. 2024)")


@dataclass
class OptimConfig:
    """AdamW, warm-up, gradient clipping."""

    lr: float = setting(4e-5, "learning rate after warm-up")
    betas: list[float] = setting([0.5, 0.999], "decay of the first and the second moment")
    eps: float = setting(1e-8, "added to the root of the second moment")
    weight_decay: float = setting(0.01, "decoupled weight decay")
    decay_biases: bool = setting(True, "decay biases too; the published NeMo recipe leaves them out")
    warmup_steps: int = setting(5000, "step n trains with lr * min(1, (n + 1) / warmup_steps); 0 for none")
    decay_until: int = setting(0, "step at which a cosine brings the learning rate to 0; 0 keeps it (published)")
    clip_norm: float = setting(1.0, "largest total gradient norm; 0 leaves gradients as they are")


@dataclass
class ParallelConfig:
    """How the processes share the work. The product of the four sizes is the number of processes."""

    data_replicate: int = setting(0, "groups that hold a whole copy each and read other data; 0: what is left over")
    data_shard: int = setting(1, "processes that read other data and share one copy of weights and optimizer (FSDP)")
    context: int = setting(1, "processes that share each sample: tokens of a transformer, columns of a tokenizer")
    tensor: int = setting(1, "processes that share each layer: heads and hidden units")
    attention: str = setting("ulysses", "context > 1: ulysses (all-to-all over heads), gather (keys and values), ring")
    recompute: str = setting("none", "activations computed again in backward: none, selective (not attention), full")
    compile: bool = setting(False, "torch.compile every block")


@dataclass
class KernelConfig:
    """Which implementation computes what: auto, torch, triton or te (TransformerEngine)."""

    attention: str = setting("auto", "attention: auto takes te where it runs, else torch")
    norm: str = setting("auto", "RMS norm and layer norm")
    modulation: str = setting("auto", "layer norm with scale and shift")
    rotary: str = setting("auto", "rotary position embedding")


@dataclass
class GuardConfig:
    """What happens when a loss jumps. A loss or gradient that is not finite always stops the run before the update."""

    spike: str = setting("off", "a jump of the loss: off, skip (no update) or rollback (to the last checkpoint)")
    spike_score: float = setting(8.0, "how far above the median of the window, in robust standard deviations")
    spike_window: int = setting(100, "steps that the median is taken of; nothing is refused before half of them")
    most_rollbacks: int = setting(3, "the run stops at the next one")


@dataclass
class TrainerConfig:
    """How long, on what, how often."""

    max_steps: int = setting(10_000, "optimizer steps")
    accumulate: int = setting(1, "batches whose gradients are averaged into one optimizer step")
    seed: int = setting(1234, "seed of weights, sampling and everything else that is random")
    precision: str = setting("fp32", "fp32, bf16 or fp8 (TransformerEngine); weights and optimizer stay fp32")
    accelerator: str = setting("auto", "auto, cpu or gpu")
    tight_memory: bool = setting(False, "CPU: gives freed memory back: 0.8 of the memory, 1.3 to 1.7 of the time")
    deterministic: bool = setting(False, "use deterministic kernels only (GPU; the CPU ones are)")
    log_every: int = setting(100, "steps between lines of metrics.csv")
    val_every: int = setting(500, "steps between validations; 0 validates only at the end")
    val_batches: int = setting(10, "batches per validation and process (published: 1); 0 for the whole split")
    val_at_start: bool = setting(True, "validate before the first step, too")
    save_every: int = setting(2000, "steps between checkpoints; 0 saves only at the end")
    keep_last: int = setting(3, "full checkpoints to keep; 0 for all. Exports are always kept")
    keep_best: int = setting(0, "full checkpoints to keep beside these: those with the best best_metric")
    best_metric: str = setting("val/loss", "a column of metrics.csv, low is good; -NAME where high is good")
    export: bool = setting(True, "write iter_N.pt and the other exports beside every checkpoint")
    resume: str = setting("auto", "auto: go on from the newest checkpoint of the run folder; a checkpoint; or none")
    hang_timeout_s: float = setting(1800.0, "a step that takes longer writes all stacks and ends the run; 0 waits")


@dataclass
class LogConfig:
    """Where results go: ROOT/PROJECT/GROUP/NAME/{config.yaml,metrics.csv,checkpoints/}."""

    root: str = setting("", "folder of all runs; empty takes $OUTPUT_ROOT, else ./checkpoints")
    project: str = setting("posttraining", "first folder below root, and project name for wandb and mlflow")
    group: str = setting("tokenizer", "second folder")
    name: str = setting("lidar_tokenizer", "folder of this run")
    tensorboard: bool = setting(True, "write tensorboard events")
    wandb: bool = setting(False, "log to Weights & Biases")
    mlflow: bool = setting(False, "log to MLflow")
    mlflow_uri: str = setting("", "tracking server of mlflow; empty logs to files in the run folder")
    peak_tflops: float = setting(0.0, "peak of one device for the mfu column; 0 takes that of a known GPU, else none")


@dataclass
class Run:
    """What all training runs have in common."""

    family: str = setting("", "file of recipes/ that this run belongs to")
    recipe: str = setting("", "name of the variant this came from")
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    kernels: KernelConfig = field(default_factory=KernelConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    log: LogConfig = field(default_factory=LogConfig)


def check_run(run: Any) -> None:
    """Refuse what cannot work in any family; ``run`` is a :class:`Run` that has ``model.ema`` too.

    Raises:
        UserError: the message names the option and the values that would do.
    """
    _check_choices(run)
    optim, trainer = run.optim, run.trainer
    refuse_below(
        {
            "trainer.max_steps": (trainer.max_steps, 1),
            "trainer.accumulate": (trainer.accumulate, 1),
            "trainer.log_every": (trainer.log_every, 1),
            "trainer.val_every": (trainer.val_every, 0),
            "trainer.save_every": (trainer.save_every, 0),
            "trainer.keep_last": (trainer.keep_last, 0),
            "trainer.keep_best": (trainer.keep_best, 0),
            "trainer.hang_timeout_s": (trainer.hang_timeout_s, 0),
            "optim.lr": (optim.lr, 0),
            "optim.clip_norm": (optim.clip_norm, 0),
            "guard.spike_window": (run.guard.spike_window, 4),
        }
    )
    if len(optim.betas) != 2:
        raise UserError(f"optim.betas={optim.betas}: two numbers, such as [0.5,0.999]")
    if not 0.0 <= run.model.ema.decay < 1.0:
        raise UserError(f"model.ema.decay={run.model.ema.decay}: at least 0 and below 1")
    if not 0.0 < run.model.ema.width < 0.28:
        raise UserError(f"model.ema.width={run.model.ema.width}: above 0 and below 0.28; 0.1 is usual")


def refuse_below(at_least: dict[str, tuple[float, float]]) -> None:
    """Raise UserError for the first option of {key: (value, least)} that is below its least value."""
    for key, (value, least) in at_least.items():
        if value < least:
            raise UserError(f"{key}={value}: at least {least}")


def _check_choices(run: Any) -> None:
    choices = {
        "trainer.precision": (run.trainer.precision, ("fp32", "bf16", "fp8")),
        "trainer.accelerator": (run.trainer.accelerator, ("auto", "cpu", "gpu")),
        "model.ema.kind": (run.model.ema.kind, ("constant", "power")),
        "parallel.attention": (run.parallel.attention, ("ulysses", "gather", "ring")),
        "parallel.recompute": (run.parallel.recompute, ("none", "selective", "full")),
        "guard.spike": (run.guard.spike, ("off", "skip", "rollback")),
    }
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            raise UserError(f"{key}={value}: choose {' or '.join(allowed)}")
