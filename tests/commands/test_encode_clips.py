"""``cosmos-lidar encode-clips``: the command line of what ``tests/families/multiview/test_encode.py`` shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from tests.families.multiview.test_job import video_options

pytest.importorskip("megatron.energon")


def test_each_split_is_encoded(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = [option for option in video_options(tmp_path) if option.startswith(("data.view", "data.lat", "data.cap"))]
    vae = str(tmp_path / "vae.pth")
    command = ["encode-clips", str(tmp_path / "shards"), str(tmp_path / "latents"), "--vae", vae, "--splits", "val"]
    assert main([*command, "--options", *options]) == 0
    assert "latents: val 1 clips" in capsys.readouterr().out
    assert (tmp_path / "latents" / "val-000000.tar").is_file()
    assert main([*command, "--options", *options]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*command, "--recipe", "x"]) == 2
    assert "--recipe x: valid: " in capsys.readouterr().err
