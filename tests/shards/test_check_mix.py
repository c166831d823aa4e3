"""`cosmos-lidar check` on several folders: each by itself, and whether they go together."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.shards.check_mix import check_mix
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from tests.shards.conftest import SENSOR, tiny_clip
from tests.shards.energon_folders import metadataset

pytest.importorskip("megatron.energon")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of one sensor, one of another, one of latents, and metadatasets."""
    root = tmp_path_factory.mktemp("mix")
    wide = replace(SENSOR, name="wide", columns=64)
    for name, sensor in (("a", SENSOR), ("b", SENSOR), ("wide", wide)):
        clips = [tiny_clip(f"{name}{number}", 4, sensor) for number in range(2)]
        prepare_shards(clips, root / name, PrepareOptions(split=(0.5, 0.5), frames_per_sample=4))
    latents(root / "latents")
    metadataset(root / "good.yaml", "  train:\n    blend: [{path: a}, {path: b, split_part: val}]\n  val: {path: b}\n")
    metadataset(root / "bad.yaml", "  train:\n    blend: [{path: a}, {path: wide}]\n  val: {path: b}\n")
    return root


def latents(folder: Path) -> None:
    from cosmos_lidar.shards.files import write_tar
    from cosmos_lidar.shards.latents import half_bytes
    from cosmos_lidar.shards.sweeps import PackedRun

    folder.mkdir()
    for split in ("train", "val"):
        parts = {"latent.npy": half_bytes(np.ones((2, 1, 4, 4))), "meta.json": b'{"clip_id": "x"}'}
        write_tar(folder / f"{split}-000000.tar", [PackedRun(f"{split}{n}", parts, 1, 0) for n in range(3)])
    index_with_energon(folder, ["train-000000.tar", "val-000000.tar"], sample_type="latents")


def test_all_folders_of_a_metadataset_are_checked(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folders / "good.yaml")]) == 0
    text = capsys.readouterr().out
    for name in ("a", "b"):
        assert f"{folders / name}\n2 shards, 2 samples, 8 frames" in text
    assert main(["check", f"[{folders}/a,{folders}/b]", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["folder"] for row in document["folders"]] == [str(folders / "a"), str(folders / "b")]
    assert document["problems"] == []


def test_folders_that_do_not_go_together(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folders / "bad.yaml")]) == 1
    text = capsys.readouterr().out
    assert "split train: range images differ in columns: 32 in" in text
    assert "split val" not in text
    problems = check_mix(f"{folders}/a,{folders}/latents")
    assert problems == [f"split {split}: samples of several types: latents, lidar" for split in ("train", "val")]


def test_one_damaged_folder_among_several(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folders / "b", tmp_path / "b")
    shard = tmp_path / "b" / "train-000000.tar"
    data = bytearray(shard.read_bytes())
    data[data.find(b"ranges.bin") + 600] ^= 1
    shard.write_bytes(bytes(data))
    assert main(["check", f"{folders}/a,{tmp_path}/b"]) == 1
    text = capsys.readouterr().out
    assert text.index(str(folders / "a")) < text.index("no problem(s)") < text.index("sha256 differs")


def test_a_folder_without_a_manifest(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folders / "latents")]) == 0
    assert "2 shards, 6 samples" in capsys.readouterr().out
    shutil.copytree(folders / "latents", tmp_path / "broken")
    shard = tmp_path / "broken" / "train-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"\x93NUMPY", b"\x93DUMMY", 1))
    assert main(["check", str(tmp_path / "broken")]) == 1
    assert "[shard train-000000.tar, key train0.latent.npy]" in capsys.readouterr().out
    shard.write_bytes(shard.read_bytes()[:3000])
    (tmp_path / "broken" / ".nv-meta" / "dataset.yaml").write_text("part_filter: evil.py\n")
    assert main(["check", str(tmp_path / "broken"), "--json"]) == 1
    problems = [row["problem"] for row in json.loads(capsys.readouterr().out)["problems"]]
    assert any("part_filter: 'evil.py' is not accepted" in problem for problem in problems)
    assert any("cut or damaged" in problem for problem in problems)
    assert any("Energon's index has 3 samples, the tar" in problem for problem in problems)


def test_remote_paths_and_files_that_name_code(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "s3://bucket/shards"]) == 2
    assert "remote path" in capsys.readouterr().err
    evil = metadataset(folders / "evil.yaml", "  train: {join: [{path: a}], joiner: {__module__: os}}\n")
    assert main(["check", str(evil)]) == 2
    assert "a join names Python code" in capsys.readouterr().err
