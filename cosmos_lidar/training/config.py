"""Training configuration shared by all families: one dataclass per part, each field with its meaning and default.

Defaults are neutral: numbers that belong to one family or one publication stand in its recipes. The configuration of a
family (``cosmos_lidar/families/NAME/config.py``) gives :class:`TrainConfig` its ``model`` and ``data``; a recipe is a
function that returns one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.data_facts import DataFact
from cosmos_lidar.training.overrides import check_types

# What happens to an option that is not what a checkpoint was trained with, when a run resumes from it.
EFFECTIVE = "takes effect"  # from the next step on, and is said
QUIET = "takes effect, not said"
FIXED = "refused"
NEW_DATA = "refused without trainer.restart_data=true, which begins a new shuffle"
START = "refused: it is where a run starts, and a checkpoint came after that"


def setting(default: Any, text: str, on_resume: str | None = None) -> Any:
    """Declare a field with its default and the sentence that ``--help`` prints for it.

    Args:
        default: value.
        text: the sentence.
        on_resume: what a change of it does on resume: EFFECTIVE, QUIET, FIXED, NEW_DATA or START; None: what
            ``ON_RESUME`` of its dataclass has, else that of the dataclass around it. Without any, options of ``data``
            are NEW_DATA and all others FIXED.
    """
    metadata = {"help": text} if on_resume is None else {"help": text, "on_resume": on_resume}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


TRUST_HELP = "run the sample_loader and part_filter (Python) that a dataset.yaml names; for folders that you trust"
Fused = Literal["auto", "torch", "triton"]


@dataclass
class EmaConfig:
    """Exponential moving average (EMA) of the weights, in fp32: e = decay * e + (1 - decay) * p after each step."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    enabled: bool = setting(False, "keep an EMA; validation and exports then use it")
    kind: Literal["constant", "power"] = setting("constant", "constant decay, or one that grows with the steps")
    decay: float = setting(0.9999, "constant: EMA decay")
    width: float = setting(0.1, "power: width of the EMA, relative to the training so far (Karras et al. 2024)")


@dataclass
class OptimConfig:
    """AdamW, warm-up, gradient clipping."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    lr: float = setting(1e-3, "learning rate after warm-up")
    betas: list[float] = setting([0.9, 0.999], "decay of the first and the second moment")
    eps: float = setting(1e-8, "added to the root of the second moment")
    weight_decay: float = setting(0.01, "decoupled weight decay")
    decay_biases: bool = setting(True, "decay biases too; the published NeMo recipe leaves them out")
    warmup_steps: int = setting(0, "step n trains with lr * min(1, (n + 1) / warmup_steps); 0 for none")
    warmup_from: float = setting(0.0, "above 0: share of lr at step 0; warm-up is then linear from it to warmup_steps")
    decay_until: int = setting(0, "step at which a cosine brings the learning rate to 0; 0 keeps it (published)")
    decay: Literal["cosine", "linear"] = setting("cosine", "shape of the decay; linear begins after warm-up")
    decay_to: float = setting(0.0, "share of lr that is left at decay_until, and afterwards")
    clip_norm: float = setting(1.0, "largest total gradient norm; 0 leaves gradients as they are")


@dataclass
class ParallelConfig:
    """Parallelism: the product of the four sizes is the number of ranks."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    data_replicate: int = setting(0, "replicas of the weights, each with other data (HSDP); 0: what is left over")
    data_shard: int = setting(1, "ranks that read other data and shard weights and optimizer (FSDP)")
    context: int = setting(1, "ranks that share each sample: tokens of a transformer, columns of a tokenizer")
    tensor: int = setting(1, "ranks that share each layer: heads and hidden units")
    attention: Literal["ulysses", "gather", "ring"] = setting(
        "ulysses", "context > 1: ulysses (all-to-all over heads), gather (keys and values) or ring attention"
    )
    reduce: Literal["auto", "each", "last"] = setting(
        "auto", "gradients of accumulated batches are reduced after each or the last one; auto: by their size"
    )
    recompute: Literal["none", "selective", "full"] = setting(
        "none", "activation checkpointing: none, selective (attention is kept) or full"
    )
    compile: bool = setting(False, "torch.compile every block")


@dataclass
class KernelConfig:
    """Which implementation computes what: torch, triton, cuDNN, TransformerEngine (te) or apex."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    attention: Literal["auto", "torch", "cudnn", "te"] = setting("auto", "attention: auto takes te where it runs")
    norm: Literal["auto", "torch", "triton", "apex"] = setting("auto", "RMS norm and layer norm")
    modulation: Fused = setting("auto", "layer norm with scale and shift")
    rotary: Fused = setting("auto", "rotary position embedding")
    optimizer: Literal["auto", "torch", "apex"] = setting("auto", "update of AdamW")


@dataclass
class GuardConfig:
    """What happens when a loss jumps. A loss or gradient that is not finite always stops the run before the update."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    spike: Literal["off", "skip", "rollback"] = setting(
        "off", "a jump of the loss: off, skip (no update) or rollback (to the last checkpoint)"
    )
    spike_score: float = setting(8.0, "how far above the median of the window, in robust standard deviations")
    spike_window: int = setting(100, "steps that the median is taken of; nothing is refused before half of them")
    most_skips: int = setting(20, "skip: so many jumps in a row are refused; the next one is the loss's new level")
    most_rollbacks: int = setting(3, "the run stops at the next one")


@dataclass
class TrainerConfig:
    """How long, on what, how often."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    max_steps: int = setting(10_000, "optimizer steps", QUIET)
    accumulate: int = setting(1, "batches whose gradients are averaged into one optimizer step")
    global_batch_size: int = setting(0, "samples per optimizer step of all ranks; sets accumulate; 0: not given")
    seed: int = setting(1234, "seed of weights, sampling and everything else that is random", NEW_DATA)
    precision: Literal["fp32", "bf16", "fp8"] = setting(
        "fp32", "of computation (fp8: TransformerEngine); weights and optimizer stay fp32"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = setting("auto", "auto takes a GPU where there is one")
    tight_memory: bool = setting(False, "CPU: gives freed memory back: 0.8 of the memory, 1.3 to 1.7 of the time")
    deterministic: bool = setting(False, "use deterministic kernels only (GPU; the CPU ones are)")
    log_every: int = setting(10, "steps between lines of metrics.csv", QUIET)
    val_every: int = setting(1000, "steps between validations; 0 validates only at the end", QUIET)
    val_batches: int = setting(10, "batches per validation and rank; 0 for the whole split", QUIET)
    val_at_start: bool = setting(True, "validate before the first step, too", QUIET)
    save_every: int = setting(1000, "steps between checkpoints; 0 saves only at the end", QUIET)
    keep_last: int = setting(3, "full checkpoints to keep; 0 for all. Exports are always kept", QUIET)
    keep_best: int = setting(0, "full checkpoints to keep beside these: those with the best best_metric", QUIET)
    best_metric: str = setting("val/loss", "a column of metrics.csv, low is good; -NAME where high is good", QUIET)
    checkpoint_trained_only: bool = setting(
        False,
        "checkpoints, EMA and exports hold trained parameters only; frozen ones come from model.checkpoint again",
        FIXED,
    )
    export: bool = setting(True, "write iter_N.pt and the other exports beside every checkpoint", QUIET)
    resume: str = setting(
        "auto",
        "auto: resume from the newest checkpoint of the run folder; a checkpoint; none: start from scratch, move an "
        "earlier run in the folder aside",
        QUIET,
    )
    restart_data: bool = setting(
        False, "resume with changed options of data, or another seed: the data begins a new shuffle", QUIET
    )
    hang_timeout_s: float = setting(
        300.0, "nothing moves for so long after the first step: writes all stacks, ends the run; 0 waits forever", QUIET
    )
    long_timeout_s: float = setting(
        1800.0, "the same for what may take long: the start, validation, checkpoints, exports", QUIET
    )


@dataclass
class LogConfig:
    """Where results go: ROOT/PROJECT/GROUP/NAME/{config.yaml,metrics.csv,checkpoints/}."""

    ON_RESUME: ClassVar[str] = QUIET
    root: str = setting("", "folder of all runs; empty takes $OUTPUT_ROOT, else ./checkpoints")
    project: str = setting("posttraining", "first folder below root, and project name for wandb and mlflow")
    group: str = setting("", "second folder; empty: the family")
    name: str = setting("", "folder of this run; empty: the recipe")
    tensorboard: bool = setting(True, "write tensorboard events")
    wandb: bool | Literal["auto"] = setting(
        False, "log to Weights & Biases; auto: where it is installed and $WANDB_API_KEY is set"
    )
    mlflow: bool = setting(False, "log to MLflow")
    mlflow_uri: str = setting(
        "", "tracking server of mlflow; empty: $MLFLOW_TRACKING_URI, else an SQLite file in the run folder"
    )
    peak_tflops: float = setting(0.0, "peak of one device for the mfu column; 0 takes that of a known GPU, else none")


class ModelSettings(Protocol):
    """What the engine needs to know of ``model``."""

    ema: EmaConfig

    @property
    def name(self) -> str:
        """Name of the network, for messages."""
        ...


class DataSettings(Protocol):
    """What the engine needs to know of ``data``."""

    path: str
    batch_size: int
    workers: int


ModelT = TypeVar("ModelT", bound=ModelSettings)
DataT = TypeVar("DataT", bound=DataSettings)


def _given_by_family() -> Any:
    """Declare a field that every family declares again, with its type and default."""

    def missing() -> Any:
        raise TypeError("a family's configuration declares model and data, each with a default")

    return field(default_factory=missing)


@dataclass
class TrainConfig(Generic[ModelT, DataT]):
    """Configuration of one training run, complete: the same value gives the same run."""

    family: str = setting("", "file of recipes/ that this run belongs to")
    recipe: str = setting("", "name of the variant this came from", QUIET)
    model: ModelT = _given_by_family()
    data: DataT = _given_by_family()
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    kernels: KernelConfig = field(default_factory=KernelConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    log: LogConfig = field(default_factory=LogConfig)

    def data_facts(self) -> dict[str, DataFact]:
        """Return the options that the data in ``data.path`` determines; families add theirs.

        Raises:
            DataError: the data is not on this machine, or cannot be read.
            UserError: its folders differ.
        """
        return {}

    def check(self) -> None:
        """Refuse options that cannot work together, before anything is allocated; families add their own.

        Raises:
            UserError: the message names the option and valid values.
        """
        check_types(self)
        check_run(self)


AnyConfig = TrainConfig[Any, Any]
Run = TrainConfig  # the former name


def check_run(run: AnyConfig) -> None:
    """Refuse what cannot work in any family.

    Raises:
        UserError: the message names the option and valid values.
    """
    optim, trainer, ema = run.optim, run.trainer, run.model.ema
    refuse_below(
        {
            "trainer.max_steps": (trainer.max_steps, 1),
            "trainer.accumulate": (trainer.accumulate, 1),
            "trainer.global_batch_size": (trainer.global_batch_size, 0),
            "trainer.log_every": (trainer.log_every, 1),
            "trainer.val_every": (trainer.val_every, 0),
            "trainer.save_every": (trainer.save_every, 0),
            "trainer.keep_last": (trainer.keep_last, 0),
            "trainer.keep_best": (trainer.keep_best, 0),
            "trainer.hang_timeout_s": (trainer.hang_timeout_s, 0),
            "trainer.long_timeout_s": (trainer.long_timeout_s, 0),
            "optim.lr": (optim.lr, 0),
            "optim.warmup_from": (optim.warmup_from, 0),
            "optim.decay_to": (optim.decay_to, 0),
            "optim.clip_norm": (optim.clip_norm, 0),
            "guard.spike_window": (run.guard.spike_window, 4),
            "guard.most_skips": (run.guard.most_skips, 1),
            "data.batch_size": (run.data.batch_size, 1),
            "data.workers": (run.data.workers, 0),
        }
    )
    if len(optim.betas) != 2:
        raise UserError(f"optim.betas={optim.betas}: expected two numbers, such as [0.9,0.999]")
    if not 0.0 <= ema.decay < 1.0:
        raise UserError(f"model.ema.decay={ema.decay}: expected at least 0 and less than 1")
    if not 0.0 < ema.width < 0.28:
        raise UserError(f"model.ema.width={ema.width}: expected more than 0 and less than 0.28, such as 0.1")


def accumulation(run: AnyConfig, data_ranks: int) -> int:
    """Return the batches that one optimizer step takes: global batch size = batch size x data ranks x accumulation.

    Args:
        run: the configuration; without a ``trainer.global_batch_size`` its ``trainer.accumulate`` is returned.
        data_ranks: ranks that read other data.

    Raises:
        UserError: the global batch size is no multiple of the samples of all ranks.
    """
    total = run.trainer.global_batch_size
    if not total:
        return run.trainer.accumulate
    micro = run.data.batch_size
    together = micro * data_ranks
    if total % together:
        below = max(total // together, 1) * together
        raise UserError(
            f"trainer.global_batch_size={total}: not a multiple of {together}, the samples of data.batch_size={micro} "
            f"on {data_ranks} data rank{'s' * (data_ranks > 1)}; valid: {below}, {below + together}, …"
        )
    return total // together


def refuse_below(at_least: dict[str, tuple[float, float]]) -> None:
    """Raise UserError for the first option of {key: (value, least)} that is below its least value."""
    for key, (value, least) in at_least.items():
        if value < least:
            raise UserError(f"{key}={value}: expected at least {least}")
