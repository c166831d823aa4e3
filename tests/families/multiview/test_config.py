from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes import multiview
from tests.families.multiview.runs import some_run


def test_sizes_of_a_clip_follow_from_those_of_a_view(tmp_path: Path) -> None:
    data = some_run(tmp_path, "x", "data.view_ids=[4,5,0,1,2]", "data.latent_shape=[16,8,88,160]").data
    assert (data.views, data.state_t, data.frames, data.size) == (5, 8, 29, (704, 1280))
    assert data.clip_shape == [16, 40, 88, 160]
    assert data.clip_text_shape == [40, 64]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.latent_shape=[16,8,88]", r"data.latent_shape=\[16, 8, 88\]: expected four sizes"),
        ("data.text_shape=[8]", "data.text_shape"),
        ("data.view_ids=[0,0]", r"data.view_ids=\[0, 0\]: expected rows of the view table, each once"),
        ("data.view_ids=[]", "data.view_ids"),
        ("model.condition.frames=[0,2]", "expected numbers from 0 to 1"),
        ("model.condition.weights=[1]", r"one for each of \[0, 1\]"),
        ("model.condition.text_dropout=2", "model.condition.text_dropout=2.0: expected 0 to 1"),
        ("model.noise.high=[200]", "model.noise.high"),
        ("synthetic_clips=0", "data.path is empty"),
        ("data.vae.checkpoint=vae.pth", "data.vae: synthetic latents .* are encoded already"),
        (
            "parallel.attention=ring model.attention_scope=same_view_or_frame",
            "excludes ring: parallel.attention=ulysses",
        ),
        ("model.rays=true", "model.rays=true: synthetic latents .* have no cameras"),
        ("model.control.kinds=[depth]", "model.control.kinds: synthetic latents .* have no cameras"),
        ("model.control.kinds=[deep]", r"control images deep: valid: .*depth.*, each once"),
        ("model.sweeps.size=[16,48]", "model.sweeps needs the videos of shards, not latents"),
        ("model.sweeps.size=[16,40]", r"model.sweeps.size=\[16, 40\]: expected rows and columns, multiples of 16"),
        ("model.sweeps.dropout=2", "model.sweeps.dropout=2.0: expected 0 to 1"),
        ("model.control.blocks=1", "model.control.blocks: no control videos"),
        ("model.control.dropout=2", "model.control.dropout=2.0: expected 0 to 1"),
        ("parallel.context=5", "parallel.context=5 does not divide 2 latent frames of 24 tokens each"),
    ],
)
def test_what_cannot_work_is_refused(option: str, message: str, tmp_path: Path) -> None:
    run = some_run(tmp_path, "x", *option.split())
    with pytest.raises(UserError, match=message):
        run.check()


def test_networks_and_what_is_trained_beside_adapters() -> None:
    """Nothing more than the published network by default; else what is added, in the order of the kinds."""
    run = multiview.waymo_720p_lora()
    assert (run.shape()["ray_channels"], run.shape()["control_channels"], run.trained_whole()) == (0, 0, [])
    assert run.shape()["sweep_channels"] == 0
    run.model.rays, run.model.control.kinds = True, ["depth", "boxes"]
    run.model.lora.modules_to_save = ["view_embeddings"]
    assert (run.shape()["ray_channels"], run.shape()["control_channels"]) == (36, 32)
    run.model.control.blocks = 4
    assert run.shape()["control_blocks"] == 4
    assert run.trained_whole()[-2:] == ["control_blocks", "control_outputs"]
    run.model.control.blocks = 0
    assert run.trained_whole() == ["view_embeddings", "ray_embedder", "control_embedder"]
