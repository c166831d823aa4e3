"""The single-view Cosmos-Predict2 transformer as Diffusers' ``CosmosTransformer3DModel``, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.diffusers_folder import (
    CONFIG,
    MOST_BLOCKS,
    check_fields,
    read_model,
    read_renamed,
    write_model,
)
from cosmos_lidar.models.dit.predict2.config import Predict2Config
from cosmos_lidar.models.dit.predict2.network import Predict2DiT

CLASS = "CosmosTransformer3DModel"
_WANTED = f"the tensors of a {CLASS} of its config.json"
_BASE_FPS = 24.0  # fixed in Diffusers
_DEFAULTS: dict[str, Any] = {  # of the constructor
    "in_channels": 16, "out_channels": 16, "num_attention_heads": 32, "attention_head_dim": 128, "num_layers": 28,
    "mlp_ratio": 4.0, "text_embed_dim": 1024, "adaln_lora_dim": 256, "max_size": [128, 240, 240],
    "patch_size": [1, 2, 2], "rope_scale": [2.0, 1.0, 1.0], "concat_padding_mask": True,
    "extra_pos_embed_type": "learnable", "use_crossattn_projection": False, "crossattn_proj_in_channels": 1024,
    "encoder_hidden_states_channels": 1024, "controlnet_block_every_n": None, "img_context_dim_in": None,
    "img_context_num_tokens": 256, "img_context_dim_out": 2048,
}  # fmt: skip
_OURS_ALONE = {  # option of ours -> why Diffusers cannot hold it
    "concat_view_embedding": "multi-view: it has no embedding of the cameras",
    "state_t": "views one after the other along time: it takes every clip for one view",
    "ray_channels": "ray-conditioned: it has no projection of rays",
    "control_channels": "control videos: it has no projection of them (Diffusers' ControlNet is another network)",
    "control_blocks": "copied blocks for control videos: it has none (Diffusers' ControlNet is another network)",
    "sweep_channels": "sweeps of a lidar: it has no attention to them",
    "compat": "rotary angles in bfloat16: it computes them in float32",
}
# What a training on Diffusers' weights may have of its own: additions that start at zero, and how it is computed.
_FREE = {"rope_enable_fps_modulation", "base_fps", "state_t", "attention_scope", "compat", "view_condition_dim",
         "n_cameras_emb", "ray_channels", "control_channels", "control_blocks", "sweep_channels", "max_img_h",
         "max_img_w", "max_frames"}  # fmt: skip


def export_diffusers(network: Predict2DiT, folder: Path) -> list[Path]:
    """Write a network as a folder of ``CosmosTransformer3DModel``.

    Raises:
        UserError: Diffusers cannot hold it; the message names option and reason.
    """
    config = network.config
    return write_model(folder, CLASS, diffusers_fields(config), diffusers_names(config), network.state_dict())


def read_diffusers(folder: Path) -> tuple[Predict2Config, dict[str, Tensor], list[Path]]:
    """Return configuration, tensors by our names, and files of a folder of ``CosmosTransformer3DModel``.

    Temporal positions depend on the frame rate, as in Diffusers.

    Raises:
        DataError: another class, a network of Predict1 or Transfer, missing or unexpected tensors.
    """
    fields, files = read_model(folder, CLASS, _DEFAULTS)
    config = _config(fields, folder / CONFIG)
    return config, read_renamed(files, diffusers_names(config), _WANTED), files


def check_same_network(config: Predict2Config, found: Predict2Config, folder: Path) -> None:
    """Refuse weights for a network that computes something else, whether shapes of tensors differ or not.

    Args:
        config: of the network to be filled.
        found: of :func:`read_diffusers`.
        folder: for the message.

    Raises:
        DataError: names the first option that differs.
    """
    for field in fields_of(Predict2Config):
        own, other = getattr(config, field.name), getattr(found, field.name)
        same = abs(own - other) < 1e-6 if isinstance(own, float) else own == other
        if field.name not in _FREE and not same:
            raise DataError(f"{other} in Diffusers' network", file=folder / CONFIG, key=field.name, wanted=f"{own}")


def diffusers_fields(config: Predict2Config) -> dict[str, Any]:
    """Return the constructor's arguments of ``CosmosTransformer3DModel`` for a configuration.

    Raises:
        UserError: Diffusers cannot hold it.
    """
    for option, reason in _OURS_ALONE.items():
        if getattr(config, option):
            raise UserError(
                f"Diffusers' {CLASS} cannot hold this network ({option}={getattr(config, option)}): {reason}"
            )
    if config.rope_enable_fps_modulation and config.base_fps != _BASE_FPS:
        raise UserError(f"Diffusers' {CLASS} has base_fps {_BASE_FPS:g} alone, this network {config.base_fps:g}")
    if config.in_channels != config.out_channels:
        raise UserError(f"in_channels={config.in_channels}, out_channels={config.out_channels}: expected equal ones")
    projection = config.crossattn_proj_in_channels
    return _DEFAULTS | {
        "in_channels": config.in_channels + config.condition_mask,
        "out_channels": config.out_channels,
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "num_layers": config.num_blocks,
        "mlp_ratio": config.mlp_ratio,
        "text_embed_dim": config.crossattn_emb_channels,
        "adaln_lora_dim": config.adaln_lora_dim,
        "max_size": [config.max_frames, config.max_img_h, config.max_img_w],
        "patch_size": [config.patch_temporal, config.patch_spatial, config.patch_spatial],
        "rope_scale": [
            config.rope_t_extrapolation_ratio,
            config.rope_h_extrapolation_ratio,
            config.rope_w_extrapolation_ratio,
        ],
        "concat_padding_mask": config.concat_padding_mask,
        "extra_pos_embed_type": None,
        "use_crossattn_projection": bool(projection),
        "crossattn_proj_in_channels": projection or _DEFAULTS["crossattn_proj_in_channels"],
        "encoder_hidden_states_channels": config.crossattn_emb_channels,
    }


def diffusers_names(config: Predict2Config) -> dict[str, str]:
    """Return our name of each tensor -> Diffusers', for all that its class has."""
    with torch.device("meta"):
        own = Predict2DiT(config).state_dict()
    return {
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for ours, theirs in _modules(config)
        for kind in ("weight", "bias")
        if f"{ours}.{kind}" in own
    }


def _modules(config: Predict2Config) -> Iterator[tuple[str, str]]:
    yield from (
        ("x_embedder.proj.1", "patch_embed.proj"),
        ("t_embedder.1.linear_1", "time_embed.t_embedder.linear_1"),
        ("t_embedder.1.linear_2", "time_embed.t_embedder.linear_2"),
        ("t_embedding_norm", "time_embed.norm"),
        ("crossattn_proj.0", "crossattn_proj.0"),
        ("final_layer.adaln_modulation.1", "norm_out.linear_1"),
        ("final_layer.adaln_modulation.2", "norm_out.linear_2"),
        ("final_layer.linear", "proj_out"),
    )
    for number in range(config.num_blocks):
        ours, theirs = f"blocks.{number}", f"transformer_blocks.{number}"
        for own, other in (("self_attn", "attn1"), ("cross_attn", "attn2")):
            for kind in "qkv":
                yield f"{ours}.{own}.{kind}_proj", f"{theirs}.{other}.to_{kind}"
            yield f"{ours}.{own}.q_norm", f"{theirs}.{other}.norm_q"
            yield f"{ours}.{own}.k_norm", f"{theirs}.{other}.norm_k"
            yield f"{ours}.{own}.output_proj", f"{theirs}.{other}.to_out.0"
        yield f"{ours}.mlp.layer1", f"{theirs}.ff.net.0.proj"
        yield f"{ours}.mlp.layer2", f"{theirs}.ff.net.2"
        for place, part in enumerate(("self_attn", "cross_attn", "mlp"), 1):
            for layer in (1, 2):
                yield f"{ours}.adaln_modulation_{part}.{layer}", f"{theirs}.norm{place}.linear_{layer}"


def _config(fields: dict[str, Any], where: Path) -> Predict2Config:
    """Return the configuration of the same network.

    Raises:
        DataError: a network that ours cannot be.
    """
    condition = fields["in_channels"] - fields["out_channels"]
    patch, size = fields["patch_size"], fields["max_size"]
    check_fields(fields, where, (
        ("extra_pos_embed_type", fields["extra_pos_embed_type"], "null: a network of Predict2, not of Predict1"),
        ("controlnet_block_every_n", fields["controlnet_block_every_n"], "null: no network of Transfer"),
        ("img_context_dim_in", fields["img_context_dim_in"], "null: no network of Transfer"),
        ("in_channels", condition not in (0, 1), "out_channels, or one more for the condition mask"),
        ("patch_size", len(patch) != 3 or patch[1] != patch[2] or min(patch) < 1, "[time, side, side]"),
        ("max_size", len(size) != 3 or min(size) < 1, "[frames, rows, columns]"),
        ("rope_scale", len(fields["rope_scale"]) != 3 or min(fields["rope_scale"]) <= 0, "three numbers above 0"),
        ("num_layers", not 0 < fields["num_layers"] <= MOST_BLOCKS, f"1 to {MOST_BLOCKS}"),
        ("num_attention_heads", fields["num_attention_heads"] < 1, "at least 1"),
        ("encoder_hidden_states_channels", fields["use_crossattn_projection"]
         and fields["encoder_hidden_states_channels"] != fields["text_embed_dim"], "text_embed_dim"),
    ))  # fmt: skip
    try:
        return Predict2Config(
            in_channels=fields["out_channels"],
            out_channels=fields["out_channels"],
            model_channels=fields["num_attention_heads"] * fields["attention_head_dim"],
            num_blocks=fields["num_layers"],
            num_heads=fields["num_attention_heads"],
            mlp_ratio=fields["mlp_ratio"],
            adaln_lora_dim=fields["adaln_lora_dim"],
            crossattn_emb_channels=fields["text_embed_dim"],
            crossattn_proj_in_channels=fields["crossattn_proj_in_channels"] * fields["use_crossattn_projection"],
            patch_spatial=patch[1],
            patch_temporal=patch[0],
            max_frames=size[0],
            max_img_h=size[1],
            max_img_w=size[2],
            rope_t_extrapolation_ratio=fields["rope_scale"][0],
            rope_h_extrapolation_ratio=fields["rope_scale"][1],
            rope_w_extrapolation_ratio=fields["rope_scale"][2],
            rope_enable_fps_modulation=True,
            condition_mask=condition == 1,
            concat_padding_mask=fields["concat_padding_mask"],
        )
    except UserError as error:
        raise DataError(f"no network of Predict2: {error}", file=where, wanted="one of Predict2") from error
