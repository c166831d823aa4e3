"""docs/data.md: its metadataset and its commands work as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.cli import main
from energon_tasks.sweeps import lidar_loader
from tests.energon_tasks.mixes import write

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders and the file that the page speaks of, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write("sweeps", tmp_path / "waymo", "w", 4)
    write("sweeps", tmp_path / "kitti", "k", 2)
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (text,) = [block for block in blocks if "Metadataset" in block]
    (tmp_path / "mix.yaml").write_text(text)
    return tmp_path


def test_every_text_of_the_table_opens(data: Path) -> None:
    texts = re.findall(r"`data\.path=([^`…]+)`", PAGE.read_text())
    assert {"waymo", "waymo,kitti", "[waymo,kitti]", "0.7,waymo,0.3,kitti", "mix.yaml"} <= set(texts)
    for text in texts:
        for split in ("train", "val"):
            batch = next(iter(lidar_loader(text, split, batch_size=2)))
            assert batch.images.shape[0] == 2
        assert main(["check", text]) == 0


def test_the_metadataset_draws_what_it_says(data: Path) -> None:
    stream = iter(lidar_loader("mix.yaml", batch_size=1))
    drawn = [next(stream).clip_ids[0][0] for _ in range(400)]
    assert 0.67 < drawn.count("w") / 400 < 0.83
    seen = {clip for batch in lidar_loader("mix.yaml", "val", batch_size=1) for clip in batch.clip_ids}
    assert sorted(clip[0] for clip in seen) == ["k", "k", "w"]
