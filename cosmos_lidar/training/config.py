"""What a training run can be told: one dataclass per part, each field with its meaning and its default.

A recipe is a function that returns a :class:`TokenizerRun`; the command line then overrides single fields
(:mod:`cosmos_lidar.training.overrides`). Defaults are the published settings of the lidar tokenizer.
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
class LossConfig:
    """What the tokenizer is trained to make small: the weighted sum of these terms, each averaged over the picture."""

    color: float = setting(1.0, "weight of the mean absolute difference of the pictures, in [-1, 1] units")
    perceptual: float = setting(0.1, "weight of the VGG feature difference; 0 switches it off for good")
    perceptual_late: float = setting(0.073, "its weight from step perceptual_boundary on")
    perceptual_boundary: int = setting(500_000, "step from which perceptual_late replaces perceptual")
    perceptual_weights: str = setting("", "file of VGG16 weights (torch or safetensors), for perceptual > 0")
    masked: bool = setting(False, "count only pixels with a return (published: every pixel counts)")


@dataclass
class EmaConfig:
    """A running average of the weights, kept in fp32: e = decay * e + (1 - decay) * p after each step."""

    enabled: bool = setting(False, "keep the average; validation and _ema.jit then use it (published: off)")
    decay: float = setting(0.9999, "share of the old average that each step keeps")


@dataclass
class ModelConfig:
    """The network and its losses."""

    name: str = setting("CI8x8", "tokenizer family and compression, as build_tokenizer knows it")
    checkpoint: str = setting("", "weights to start from: folder, encoder.jit (decoder beside it), .pt, .safetensors")
    channels: int | None = setting(None, "width of the network; none keeps that of `name`")
    channels_mult: list[int] | None = setting(None, "width of each level, times channels; none keeps that of `name`")
    num_res_blocks: int | None = setting(None, "residual blocks per level; none keeps that of `name`")
    z_channels: int | None = setting(None, "channels of the latent; none keeps that of `name`")
    resolution: int | None = setting(None, "resolution that places attention; 512 gives the published lidar decoder")
    loss: LossConfig = field(default_factory=LossConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)


@dataclass
class DataConfig:
    """Where the range maps come from. Training reads the train split, validation the val split, never the same."""

    path: str = setting("", "folder of shards, as `cosmos-lidar prepare` writes them")
    train_split: str = setting("train", "split that is trained on")
    val_split: str = setting("val", "split that is validated on")
    batch_size: int = setting(10, "frames per step and process")
    frames_per_clip: int = setting(10, "frames drawn (with replacement) from a run of frames each time it is met")
    crop_columns: int = setting(896, "width of the random crop in merged columns, a multiple of 8; 0 for whole maps")
    val_batch_size: int = setting(3, "frames per validation batch: whole maps, one frame of each run of frames")
    workers: int = setting(4, "reader processes per training process; 0 reads in the training process")
    shuffle_runs: int = setting(16, "runs of frames kept in memory to be drawn from at random")
    bad_sample_budget: float = setting(0.001, "share of unusable samples that stops the run")


@dataclass
class OptimConfig:
    """AdamW, warm-up, gradient clipping."""

    lr: float = setting(4e-5, "learning rate after warm-up")
    betas: list[float] = setting([0.5, 0.999], "decay of the first and the second moment")
    eps: float = setting(1e-8, "added to the root of the second moment")
    weight_decay: float = setting(0.01, "decoupled weight decay, on all parameters")
    warmup_steps: int = setting(5000, "step n trains with lr * min(1, (n + 1) / warmup_steps); 0 for none")
    decay_until: int = setting(0, "step at which a cosine brings the learning rate to 0; 0 keeps it (published)")
    clip_norm: float = setting(1.0, "largest total gradient norm; 0 leaves gradients as they are")


@dataclass
class TrainerConfig:
    """How long, on what, how often."""

    max_steps: int = setting(10_000, "optimizer steps")
    seed: int = setting(1234, "seed of weights, sampling and everything else that is random")
    precision: str = setting("fp32", "fp32, or bf16 for mixed precision (weights stay fp32)")
    accelerator: str = setting("auto", "auto, cpu or gpu")
    deterministic: bool = setting(False, "use deterministic kernels only (GPU; the CPU ones are)")
    log_every: int = setting(100, "steps between lines of metrics.csv")
    val_every: int = setting(500, "steps between validations; 0 validates only at the end")
    val_batches: int = setting(10, "batches per validation and process (published: 1); 0 for the whole split")
    val_at_start: bool = setting(True, "validate before the first step, too")
    save_every: int = setting(2000, "steps between checkpoints; 0 saves only at the end")
    keep_last: int = setting(3, "full checkpoints to keep; 0 for all. Exports are always kept")
    export: bool = setting(True, "write iter_N.pt, iter_N_enc.jit, … beside every checkpoint")
    resume: str = setting("auto", "auto: go on from the newest checkpoint of the run folder; a .ckpt file; or none")


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


@dataclass
class TokenizerRun:
    """One training run of a lidar tokenizer, complete: the same value gives the same run."""

    recipe: str = setting("", "name of the variant this came from")
    synthetic_drives: int = setting(0, "make that many synthetic drives first when data.path is empty (debug)")
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    log: LogConfig = field(default_factory=LogConfig)


def check(run: TokenizerRun) -> None:
    """Refuse combinations that cannot work, before anything is allocated.

    Raises:
        UserError: the message names the options and the values that would do.
    """
    _check_choices(run)
    _check_numbers(run)
    loss = run.model.loss
    if loss.perceptual > 0 and not loss.perceptual_weights:
        raise UserError(
            f"model.loss.perceptual={loss.perceptual} needs VGG16 weights, and model.loss.perceptual_weights names no "
            "file. Give a file of torchvision's vgg16 weights (features.0.weight, …), or train without the term: "
            "model.loss.perceptual=0"
        )
    if not run.data.path and not run.synthetic_drives:
        raise UserError("data.path is empty: give the folder that `cosmos-lidar prepare` wrote (data.path=shards)")
    if run.data.train_split == run.data.val_split:
        both = run.data.val_split
        raise UserError(f"data.train_split and data.val_split are both {both!r}: validate on other drives")


def _check_choices(run: TokenizerRun) -> None:
    choices = {
        "trainer.precision": (run.trainer.precision, ("fp32", "bf16")),
        "trainer.accelerator": (run.trainer.accelerator, ("auto", "cpu", "gpu")),
    }
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            raise UserError(f"{key}={value}: choose {' or '.join(allowed)}")


def _check_numbers(run: TokenizerRun) -> None:
    at_least = {
        "trainer.max_steps": (run.trainer.max_steps, 1),
        "trainer.log_every": (run.trainer.log_every, 1),
        "trainer.val_every": (run.trainer.val_every, 0),
        "trainer.save_every": (run.trainer.save_every, 0),
        "data.batch_size": (run.data.batch_size, 1),
        "data.val_batch_size": (run.data.val_batch_size, 1),
        "data.workers": (run.data.workers, 0),
        "optim.lr": (run.optim.lr, 0),
        "optim.clip_norm": (run.optim.clip_norm, 0),
    }
    for key, (value, least) in at_least.items():
        if value < least:
            raise UserError(f"{key}={value}: at least {least}")
    if len(run.optim.betas) != 2:
        raise UserError(f"optim.betas={run.optim.betas}: two numbers, such as [0.5,0.999]")
    if not 0.0 <= run.model.ema.decay < 1.0:
        raise UserError(f"model.ema.decay={run.model.ema.decay}: at least 0 and below 1")
