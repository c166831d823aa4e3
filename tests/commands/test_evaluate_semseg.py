"""``cosmos-lidar evaluate-semseg`` on shards and recordings, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.cli import main
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.sparse.export import write_backbone
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.training.overrides import save_config
from tests.families.also.semseg.sweeps import room_clip, small_run, write_label_map


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    save_config(small_run(write_label_map(folder)), folder / "config.yaml")
    torch.manual_seed(0)
    write_backbone(build_backbone("minkunet18", 4, 3, width=2), folder / "a.safetensors", "segmentation", True)
    write_points([room_clip(name, 2) for name in "ab"], folder / "shards", PrepareOptions(split=(1, 1)))
    return folder


def evaluate(root: Path, *words: str, checkpoint: str = "a.safetensors") -> int:
    places = ["--checkpoint", str(root / checkpoint), "--data", str(root / "shards"), "--out", str(root / "out")]
    return main(["evaluate-semseg", *places, "--device", "cpu", *words])


def test_it_writes_table_numbers_matrix_and_report(root: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate(root) == 0
    text = capsys.readouterr().out
    document = json.loads((root / "out" / "semseg.json").read_text())
    assert document["sweeps"] == 2
    assert document["all_points"]["points"] == 1080  # a tenth has no label
    assert document["all_points"]["points"] > document["decimated_points"]["points"]
    assert f"{100 * document['all_points']['miou']:.1f}" in text
    assert {path.name for path in (root / "out").iterdir()} == {"semseg.json", "confusion.png", "report.html"}
    assert evaluate(root, "--max-sweeps", "1", "--shown", "0") == 0
    assert json.loads((root / "out" / "semseg.json").read_text())["sweeps"] == 1


def test_what_does_not_fit_is_refused(root: Path, capsys: pytest.CaptureFixture[str]):
    cases = {
        "bare.safetensors": (build_backbone("minkunet18", 4, 0, width=2), "weights without a last layer"),
        "five.safetensors": (
            build_backbone("minkunet18", 4, 5, width=2),
            "5 outputs.*3 classes of the label map rooms",
        ),
        "one.safetensors": (build_backbone("minkunet18", 1, 3, width=2), "1 input channels.*in_channels 4"),
        "other.safetensors": (build_backbone("spvcnn", 4, 3, width=2), "backbone minkunet18"),
    }
    for name, (network, message) in cases.items():
        write_backbone(network, root / name, "segmentation", True)
        assert evaluate(root, checkpoint=name) == 2
        error = " ".join(capsys.readouterr().err.split())
        assert re.search(message, error), error


def test_sweeps_without_labels_have_no_score(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    clip = room_clip("c", 1)
    read = clip.read_sweep
    bare = clip.with_lidar(read=lambda number: type(read(number))(points=read(number).points))
    write_points([bare], tmp_path / "bare", PrepareOptions(split=(1,)))
    assert evaluate(root, "--data", str(tmp_path / "bare"), "--split", "train") == 2
    assert "no labeled point in 1 sweeps: 0 skipped, 1 unlabeled" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "b.safetensors").write_bytes((root / "a.safetensors").read_bytes())
    assert evaluate(root, "--checkpoint", str(tmp_path / "b.safetensors")) == 2
    assert "--recipe nuscenes" in capsys.readouterr().err
