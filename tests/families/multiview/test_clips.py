from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.multiview.clips import view_clips
from cosmos_lidar.families.multiview.config import MultiviewDataConfig

DATA = MultiviewDataConfig(view_ids=[5, 0, 1], latent_shape=[4, 2, 3, 3], fps=7.0)


def test_latents_alone_have_the_cameras_and_the_rate_of_the_options() -> None:
    batch = SimpleNamespace(latents=torch.randn(2, 4, 6, 3, 3), text=None, noise_seeds=[1, 2])
    clips = view_clips(batch, DATA)
    assert clips.latents is batch.latents
    assert clips.view_indices.tolist() == [[5, 5, 0, 0, 1, 1]] * 2
    assert clips.fps == [7.0, 7.0]
    assert clips.padding_mask is None
    batch.latents = torch.randn(2, 4, 4, 3, 3)
    with pytest.raises(DataError, match=r"shape \[4, 4, 3, 3\].*\[4, 6, 3, 3\]: 3 views"):
        view_clips(batch, DATA)


def test_videos_bring_their_own() -> None:
    views = [torch.randn(3, 4, 2, 3, 3) for _ in range(2)]
    ids = torch.tensor([[0, 1, 2], [4, 5, 0]])
    mask = torch.zeros(2, 1, 24, 24)
    batch = SimpleNamespace(
        latents=views, text=None, view_ids=ids, fps=torch.tensor([10.0, 5.0]), padding_mask=mask, noise_seeds=[1, 2]
    )
    clips = view_clips(batch, DATA)
    assert torch.equal(clips.latents[1, :, 2:4], views[1][1])  # one view after the other along time
    assert clips.view_indices[1].tolist() == [4, 4, 5, 5, 0, 0]
    assert clips.fps == [10.0, 5.0]
    assert clips.padding_mask is mask


def test_control_videos_are_behind_the_views() -> None:
    views = torch.randn(3 * 3, 4, 2, 3, 3)  # three views, and two kinds of control videos of each
    batch = SimpleNamespace(latents=[views], text=None, noise_seeds=[1])
    clips = view_clips(batch, DATA)
    assert clips.controls is not None
    assert clips.controls.shape == (1, 2, 4, 6, 3, 3)
    assert torch.equal(clips.latents[0, :, 4:6], views[2])
    assert torch.equal(clips.controls[0, 0, :, 2:4], views[3 + 1])
    assert torch.equal(clips.controls[0, 1, :, 4:6], views[6 + 2])


def test_rays_of_a_view_are_those_of_all_its_frames() -> None:
    rays = torch.randn(1, 3, 2, 2, 6)
    batch = SimpleNamespace(latents=torch.randn(1, 4, 6, 3, 3), text=None, noise_seeds=[1], rays=rays)
    found = view_clips(batch, DATA, with_rays=True).rays
    assert found is not None
    assert torch.equal(found[:, 2], rays[:, 1])
    assert torch.equal(found[:, 3], rays[:, 1])
    assert view_clips(batch, DATA).rays is None
    batch.rays, batch.clip_ids = None, ["drive"]
    with pytest.raises(DataError, match=r"no rays of the cameras with the latents.*clip drive.*rays.npy.*encode-clips"):
        view_clips(batch, DATA, with_rays=True)
    batch.rays = rays[:, :2]
    with pytest.raises(DataError, match=r"rays of shape \(2, 2, 2, 6\).*\(3, 2, 2, 6\)"):
        view_clips(batch, DATA, with_rays=True)


def test_runs_without_text_leave_out_that_of_videos() -> None:
    text = torch.zeros(1, 1, 1)  # what the loader of videos gives where no text is wanted
    batch = SimpleNamespace(latents=torch.randn(1, 4, 6, 3, 3), text=text, noise_seeds=[1])
    assert view_clips(batch, replace(DATA, text_shape=[])).text is None
    assert view_clips(batch, DATA).text is text
