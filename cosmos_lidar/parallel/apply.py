"""Apply FP8, TP, CP, activation checkpointing, compile and FSDP2 to a network, in this order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from cosmos_lidar import kernels
from cosmos_lidar.errors import UserError
from cosmos_lidar.kernels.choice import obstacle
from cosmos_lidar.models.dit.lora import LoraLinear, has_lora
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.parallel.context import BACKENDS, SequenceSplit
from cosmos_lidar.parallel.lora import LoraColwise, LoraRowwise
from cosmos_lidar.parallel.mesh import MeshSizes, check_plan, shard_mesh
from cosmos_lidar.parallel.spatial import split_width

_KEEP_BELOW = 2e9  # bytes of whole gradients that a rank keeps between accumulated batches with reduce=auto
# What `recompute=selective` keeps: attention is the costly part to compute again, and its output is small.
_KEPT = ("scaled_dot_product", "all_to_all", "all_gather")


def parallelize(
    network: nn.Module,
    plan: ParallelPlan,
    mesh: DeviceMesh | None,
    *,
    attention: str = "ulysses",
    recompute: str = "none",
    compile: bool = False,
    precision: str = "fp32",
) -> None:
    """Change ``network`` in place; parameter names stay as they are.

    The order matters: layers are exchanged for others while their weights are whole; they are split before all else, as
    everything after works on the parts; recomputation goes around what a process computes; compilation sees both;
    sharding comes last, around all of it, so that weights are gathered before a block runs, and again before it is
    recomputed.

    Args:
        network: on any device; its weights are moved to that of ``mesh``.
        plan: published by the network.
        mesh: of :func:`~cosmos_lidar.parallel.mesh.make_mesh`; None for one rank without sharding.
        attention: how self-attention works over context ranks: ``ulysses``, ``gather`` or ``ring``.
        recompute: activations that are computed again in backward: ``none``, ``selective`` (all but attention) or
            ``full``.
        compile: ``torch.compile`` each block.
        precision: ``bf16`` computes with weights rounded to bfloat16 and sums gradients in fp32; needs a mesh. ``fp8``
            does so, with the matrix products of the plan's layers in FP8.

    Raises:
        UserError: ``fp8`` without TransformerEngine and CUDA, or with split layers or low-rank updates.
    """
    if precision == "fp8":
        use_fp8(network, plan, mesh)
    if mesh is not None and mesh["tensor"].size() > 1:
        split_layers(network, plan, mesh["tensor"])
    if mesh is not None and mesh["context"].size() > 1:
        split_samples(network, plan, mesh["context"], attention)
    if recompute != "none":
        for name in plan.blocks:
            recompute_block(network.get_submodule(name), recompute)
    if compile:
        for name in plan.blocks:
            network.get_submodule(name).compile()
    if mesh is not None:
        shard_weights(network, plan, mesh, precision)


def use_fp8(network: nn.Module, plan: ParallelPlan, mesh: DeviceMesh) -> None:
    """Exchange the large linear layers for TransformerEngine's; parameters keep their names and values."""
    if mesh["tensor"].size() > 1:
        raise UserError("trainer.precision=fp8 and parallel.tensor > 1 exclude each other: parallel.tensor=1")
    if has_lora(network):
        raise UserError("trainer.precision=fp8 and model.lora exclude each other: trainer.precision=bf16")
    if problem := obstacle("te", torch.device(mesh.device_type)):
        raise UserError(f"trainer.precision=fp8: {problem}; trainer.precision=bf16 works without")
    network.to(mesh.device_type)
    kernels.replace_linears(network, "current", (*plan.column, *plan.row) or None)


def split_layers(network: nn.Module, plan: ParallelPlan, mesh: DeviceMesh) -> None:
    """Split linear layers over the tensor ranks: some by outputs (heads, hidden units), the next ones by inputs.

    Norms that work on single heads see only a part of these: their weights stay whole, and the gradients are summed.
    """
    adapted = {name for name, module in network.named_modules() if isinstance(module, LoraLinear)}
    layers: dict[str, Any] = {name: LoraColwise() if name in adapted else ColwiseParallel() for name in plan.column}
    layers |= {name: LoraRowwise() if name in adapted else RowwiseParallel() for name in plan.row}
    layers |= {name: SequenceParallel(sequence_dim=2, use_local_output=True) for name in plan.head_norms}
    trained = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    parallelize_module(network, mesh, layers)
    for name, parameter in network.named_parameters():  # SequenceParallel trains frozen weights
        parameter.requires_grad_(trained[name])


def split_samples(network: nn.Module, plan: ParallelPlan, mesh: DeviceMesh, attention: str) -> None:
    """Divide every sample over the context ranks: tokens of a transformer, or columns of a tokenizer."""
    group = mesh.get_group()
    if plan.context == "width":
        split_width(network, group)
        return
    network.sequence = SequenceSplit(group)
    for name in plan.attention:
        module = network.get_submodule(name)
        module.attend = BACKENDS[attention](module.attend, group)


def share_samples(network: nn.Module, mesh: DeviceMesh) -> None:
    """Let processes compute each sample together, without a gradient: each has the whole weights, and sees all outputs.

    Heads are exchanged for tokens where the ranks divide them, else keys and values are collected.

    Args:
        network: with a plan of its own.
        mesh: of one dimension, the ranks.

    Raises:
        UserError: the network cannot share a sample.
    """
    plan, count = network.parallel_plan(), mesh.size()
    attention = "gather" if plan.heads % count else "ulysses"
    check_plan(MeshSizes(context=count), plan, attention)
    split_samples(network, plan, mesh, attention)


def recompute_block(block: nn.Module, kind: str) -> None:
    """Let a block forget its activations, and compute them again when they are needed for the gradient."""
    context: dict[str, Callable] = {}
    if kind == "selective":
        context["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    block.forward = partial(_checkpointed, block.forward, context)


def shard_weights(network: nn.Module, plan: ParallelPlan, mesh: DeviceMesh, precision: str) -> None:
    """Shard weights, gradients and optimizer over data and context ranks (FSDP2), unit by unit.

    Gradients become the mean over these ranks.
    """
    lower = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=plan.casts_inputs)
    options = {"mesh": shard_mesh(mesh), "mp_policy": MixedPrecisionPolicy() if precision == "fp32" else lower}
    for name in plan.units or plan.blocks:
        fully_shard(network.get_submodule(name), **options)
    fully_shard(network, **options)
    for method in plan.methods:
        register_fsdp_forward_method(network, method)


def sync_gradients(network: nn.Module, last: bool, when: str) -> None:
    """Choose whether the next backward pass reduces gradients over ranks or keeps them for the following ones.

    Copies of sharded weights (``data_replicate``) are reduced in the last pass only, which needs no further memory.

    Args:
        network: sharded, or of one rank.
        last: of the accumulated backward passes of a step.
        when: ``each`` reduces shards in every pass, ``last`` once, which keeps whole gradients in memory until then;
            ``auto``: ``last`` where these take less than 2 GB.
    """
    if not isinstance(network, FSDPModule):
        return
    network.set_is_last_backward(last)
    network.set_requires_gradient_sync(last or when == "each" or (when == "auto" and not _small_gradients(network)))
    network.set_requires_all_reduce(last)


def _small_gradients(network: nn.Module) -> bool:
    trained = (parameter for parameter in network.parameters() if parameter.requires_grad)
    return 4 * sum(parameter.numel() for parameter in trained) < _KEEP_BELOW


def reshard(network: nn.Module) -> None:
    """Reshard FSDP modules after evaluation: the root keeps its all-gathered parameters without a backward pass."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    kept = any(word in str(operation) for word in _KEPT)
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


def _checkpointed(forward: Callable, context: dict[str, Callable], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **context, **kwargs)


parallelise = parallelize  # the name that it had
