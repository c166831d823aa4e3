"""Synthetic latents that are a function of their seed, and networks that do not fit their data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nemo")

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.job import _waves, load_job, make_dry_model, make_network, synthetic_latents
from cosmos_lidar.files import file_sha256
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.engine import DataShare
from cosmos_lidar.training.overrides import apply_overrides
from energon_tasks.latents import latents_loader


def digests(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted(folder.glob("*.tar"))}


def test_synthetic_latents(tmp_path: Path) -> None:
    """One in four for validation; the same bytes for the same seed, others for another one."""
    run = apply_overrides(dit.debug(), ["synthetic_clips=8"])
    folder = synthetic_latents(tmp_path / "a", run)
    shares = {"batch_size": 1, "training": False, "rank": 0, "world_size": 1}
    clips = {split: list(latents_loader(folder, split, **shares)) for split in ("train", "val")}
    assert [len(batches) for batches in clips.values()] == [6, 2]
    assert clips["val"][0].latents.shape == (1, *run.data.latent_shape)
    names = [batch.clip_ids[0] for batches in clips.values() for batch in batches]
    assert sorted(names) == [f"synthetic_{number:06d}" for number in range(8)]
    assert digests(synthetic_latents(tmp_path / "b", run)) == digests(folder)
    other = apply_overrides(dit.debug(), ["synthetic_clips=8", "trainer.seed=5"])
    assert not set(digests(synthetic_latents(tmp_path / "c", other)).values()) & set(digests(folder).values())


def test_waves_have_the_deviation_of_latents() -> None:
    made = _waves(np.random.default_rng(0), [16, 8, 32, 32])
    assert made.dtype == np.float32
    assert made.std() == pytest.approx(0.5, abs=0.05)
    assert np.abs(made).max() <= 0.5**0.5


def test_a_job_reads_both_splits(tmp_path: Path) -> None:
    run = apply_overrides(dit.debug(), ["data.workers=0", "data.batch_size=2"])
    job = load_job(run, make_dry_model(run), tmp_path, DataShare(rank=0, world=1, seed=7))
    assert next(iter(job.train)).latents.shape[0] == 2
    assert not {name for batch in job.val for name in batch.clip_ids} & set(next(iter(job.train)).clip_ids)


def test_text_of_another_width_is_refused() -> None:
    run = apply_overrides(dit.debug(), ["data.text_shape=[4,7]"])
    with pytest.raises(UserError, match=r"data.text_shape=\[4, 7\]: \S+ takes embeddings of width \d+"):
        make_network(run)
