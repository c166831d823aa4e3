"""Option names of NeMo, Lightning, Megatron and the published Cosmos recipes, translated into this project's.

Every recipe understands them, with Hydra's ``+key=value`` and ``++key=value``. What has no counterpart is refused by
name, with what to use instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from cosmos_lidar.errors import UserError

# Complete names -> ours.
NAMES: Mapping[str, str] = {
    "experiment": "recipe",
    # Lightning's Trainer, NeMo
    "trainer.accumulate_grad_batches": "trainer.accumulate",
    "trainer.gradient_clip_val": "optim.clip_norm",
    "trainer.limit_val_batches": "trainer.val_batches",
    "trainer.log_every_n_steps": "trainer.log_every",
    "trainer.val_check_interval": "trainer.val_every",
    "data.num_workers": "data.workers",
    "optim.config.lr": "optim.lr",
    "optim.config.weight_decay": "optim.weight_decay",
    "optim.sched.warmup_steps": "optim.warmup_steps",
    "model.optim.lr": "optim.lr",
    "model.optim.betas": "optim.betas",
    "model.optim.weight_decay": "optim.weight_decay",
    "model.optim.sched.warmup_steps": "optim.warmup_steps",
    "exp_manager.exp_dir": "log.root",
    "exp_manager.name": "log.name",
    "exp_manager.create_mlflow_logger": "log.mlflow",
    "exp_manager.create_tensorboard_logger": "log.tensorboard",
    "exp_manager.create_wandb_logger": "log.wandb",
    # published Cosmos recipes
    "checkpoint.load_path": "model.checkpoint",
    "checkpoint.save_iter": "trainer.save_every",
    "dataloader_train.batch_size": "data.batch_size",
    "dataloader_train.num_workers": "data.workers",
    "job.group": "log.group",
    "job.name": "log.name",
    "job.project": "log.project",
    "optimizer.betas": "optim.betas",
    "optimizer.eps": "optim.eps",
    "optimizer.lr": "optim.lr",
    "optimizer.weight_decay": "optim.weight_decay",
    "scheduler.warm_up_steps": "optim.warmup_steps",
    "trainer.grad_accum_iter": "trainer.accumulate",
    "trainer.logging_iter": "trainer.log_every",
    "trainer.max_iter": "trainer.max_steps",
    "trainer.max_val_iter": "trainer.val_batches",
    "trainer.validation_iter": "trainer.val_every",
}
# Complete names that this project had before -> today's; also in the config.yaml of older run folders.
FORMER: Mapping[str, str] = {"model.lora.also_trained": "model.lora.modules_to_save"}
# Last parts of names, alone or behind one of PREFIXES -> ours.
SHORT_NAMES: Mapping[str, str] = {
    "activations_checkpoint_granularity": "parallel.recompute",
    "context_parallel_size": "parallel.context",
    "global_batch_size": "trainer.global_batch_size",
    "micro_batch_size": "data.batch_size",
    "recompute_granularity": "parallel.recompute",
    "tensor_model_parallel_size": "parallel.tensor",
}
PREFIXES = (
    "", "data.", "model.", "model_parallel.", "parallel.", "strategy.", "train.", "trainer.", "trainer.strategy."
)  # fmt: skip
_NO_EXPERTS = "no network here has experts"
_NO_PIPELINE = "there is no pipeline parallelism; use parallel.data_shard (FSDP), parallel.tensor or parallel.context"
# Last parts of names that have no counterpart -> why, and what to use.
REFUSED: Mapping[str, str] = {
    "devices": "start one process per device: torchrun --nproc_per_node=N recipes/NAME.py …",
    "expert_model_parallel_size": _NO_EXPERTS,
    "expert_tensor_parallel_size": _NO_EXPERTS,
    "num_nodes": "start one process per device on every node: torchrun --nnodes=M --nproc_per_node=N recipes/NAME.py …",
    "pipeline_model_parallel_size": _NO_PIPELINE,
    "sequence_parallel": "use parallel.context, which splits the tokens of each sample over ranks",
    "virtual_pipeline_model_parallel_size": _NO_PIPELINE,
}
_OFF = ("0", "1", "false", "none", "null")
# Values that are written differently elsewhere, by our key.
_VALUES: Mapping[str, Mapping[str, str]] = {
    "parallel.recompute": {"null": "none", "None": "none"},
    "trainer.precision": {"bf16-mixed": "bf16", "32": "fp32", "32-true": "fp32"},
}


def translate(text: str, aliases: Mapping[str, str]) -> str | None:
    """Return ``key=value`` with this project's key; None where it changes nothing, such as one pipeline stage.

    Args:
        text: as on the command line.
        aliases: further names of a family -> ours; they come first.

    Raises:
        UserError: an option of another framework without a counterpart.
    """
    key, separator, value = text.partition("=")
    key = key.strip().removeprefix("+").removeprefix("+")
    prefix, name = key[: key.rfind(".") + 1], key[key.rfind(".") + 1 :]
    if prefix in PREFIXES and name in REFUSED:
        if value.strip().lower() in _OFF:
            return None
        raise UserError(f"{key}={value}: {REFUSED[name]}")
    short = SHORT_NAMES.get(name, key) if prefix in PREFIXES else key
    key = aliases.get(key) or NAMES.get(key) or FORMER.get(key, short)
    if key == "optim.warmup_steps":  # a list with one number for each cycle of the schedule, where published
        value = value.strip("[]")
    return key + separator + _VALUES.get(key, {}).get(value, value)


def names_of(known: Mapping[str, object], aliases: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the further names of each option in ``known``, for help texts."""
    found: dict[str, list[str]] = {}
    for name, key in {**SHORT_NAMES, **NAMES, **aliases}.items():
        if key in known:
            found.setdefault(key, []).append(name)
    return found
