"""A metric is one file: every command, the training and the documentation find it by listing the folder."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar import metrics
from cosmos_lidar.cli import main
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.errors import UserError
from cosmos_lidar.metrics import Metric, Scores, column_names, find_metrics, metric_names, pooled
from cosmos_lidar.metrics.generation import GenerationProtocol, GenerationScores
from cosmos_lidar.metrics.lidar import RangeProtocol
from cosmos_lidar.metrics.pairs import RangePair
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.sensors.sensor import RangeMapFormat
from tests.families.conftest import build_clip

ROOT = Path(__file__).resolve().parents[2]

FAKE = """
'''Farthest difference of ranges.'''
import numpy as np
from cosmos_lidar.metrics import Accumulator, Metric

class Farthest(Accumulator):
    def __init__(self, limits):
        self.far_m, self.worst_m = limits.max_range_m, float("nan")

    def add(self, sample):
        difference = np.abs(np.asarray(sample.recorded_m, float) - np.asarray(sample.made_m, float)).max()
        self.worst_m = float(np.fmax(self.worst_m, min(difference, self.far_m)))

    def merge(self, other):
        self.worst_m = float(np.fmax(self.worst_m, other.worst_m))

    def result(self):
        return {"worst_m": self.worst_m}

METRIC = Metric(
    sample="ranges", definition="largest difference", start=Farthest,
    columns={"evaluate": ("worst_m",), "validation": ("worst_m",), "generate": ("worst_m",)},
)
"""
FAKE_OF_IMAGES = """
from cosmos_lidar.metrics import Metric
from cosmos_lidar.metrics.mean import MeanOfImages

def brightness(made, recorded):
    return (made.mean((1, 2, 3)) - recorded.mean((1, 2, 3))).abs()

METRIC = Metric(
    sample="images", definition="difference of the mean", start=lambda limits: MeanOfImages(brightness=brightness),
    columns={"validation": ("brightness",), "reconstruct": ("brightness",)},
)
"""


@pytest.fixture(scope="module")
def small_drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drives")
    sensor = uniform_sensor(16, 64, name="small", format=RangeMapFormat(pair_columns=2, repeat_rows=4))
    for clip_id in ("a1", "b2"):
        write_release(root, build_clip(sensor, 2, clip_id))
    return root


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """Lay two files beside the metrics, as if they had been added to their folder."""
    folder = tmp_path_factory.mktemp("added")
    (folder / "farthest.py").write_text(FAKE)
    (folder / "glow.py").write_text(FAKE_OF_IMAGES)
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(folder)])
    yield folder
    for name in ("farthest", "glow"):
        sys.modules.pop(f"cosmos_lidar.metrics.{name}", None)
    metrics._import_all.cache_clear()


def evaluate(data: Path, output: Path, capsys: pytest.CaptureFixture) -> tuple[dict, str]:
    options = ["--baseline", "resize", "--chamfer", "0", "--max_frames", "2", "--output", str(output)]
    assert main(["evaluate", "--data", str(data), *options]) == 0
    return json.loads(output.read_text()), capsys.readouterr().out


def test_the_metrics_of_the_folder_and_their_columns():
    assert metric_names() == ["chamfer", "psnr", "range_errors", "range_psnr", "ssim"]
    assert metric_names("reconstruct") == ["psnr", "ssim"]
    assert column_names("validation", "images") == ("psnr", "ssim")
    assert column_names("validation", "ranges") == ("rmse_m", "mae_m", "relative")
    assert column_names("reconstruct", "images") == ("psnr", "psnr_video", "ssim")


def test_evaluate_shows_one_more_file(fake: Path, small_drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    document, table = evaluate(small_drives, tmp_path / "with.json", capsys)
    worst = [clip["worst_m"] for clip in document["clips"].values()]
    assert document["pooled"]["worst_m"] == max(worst) > 0
    assert "worst_m" in table
    assert f"{max(worst):.4f}" in table
    assert document["protocol"]["others"]["farthest"]["definition"] == "largest difference"
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "chamfer, farthest, range_errors, range_psnr" in " ".join(capsys.readouterr().out.split())


def test_one_more_file_leaves_hash_and_numbers_of_the_others(
    small_drives: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture
):
    before, _ = evaluate(small_drives, tmp_path / "before.json", capsys)
    request.getfixturevalue("fake")
    after, _ = evaluate(small_drives, tmp_path / "after.json", capsys)
    assert before["protocol"] == {key: value for key, value in after["protocol"].items() if key != "others"}
    for part in (before["pooled"], after["pooled"]):
        part.pop("encode_decode_seconds")
    assert after["pooled"].pop("worst_m") > 0
    assert after["pooled"] == before["pooled"]


def test_validation_in_training_shows_one_more_file(fake: Path, tmp_path: Path):
    options = ["recipe=debug", "trainer.max_steps=1", f"log.root={tmp_path}", "trainer.export=false"]
    assert main(["train", "lidar_tokenizer", *options]) == 0
    (log,) = tmp_path.rglob("metrics.csv")
    head, *rows = (line.split(",") for line in log.read_text().splitlines())
    last = dict(zip(head, rows[-1], strict=True))
    assert float(last["val/worst_m"]) > 1
    assert float(last["val/brightness"]) > 0


def test_generate_lidar_adds_a_row_with_an_interval(fake: Path):
    limits = RangeProtocol(max_range_m=50.0)
    scores = GenerationScores(GenerationProtocol(resamplings=20, ranges=limits))
    for number in range(4):
        recorded = np.full((2, 8), 10.0)
        points = np.random.default_rng(number).uniform(6, 20, (30, 3))
        scores.add(f"clip {number // 2}", recorded, recorded + number + 1, points, points)
    row = scores.result()[-1]
    assert (row.name, row.value, row.n) == ("worst_m", 4.0, 4)
    assert (row.low, row.high) == (2.0, 4.0)
    assert row.protocol.settings["ranges"]["max_range_m"] == 50.0


def test_reconstruct_shows_one_more_file(fake: Path):
    from cosmos_lidar.families.video_tokenizer.score import VideoScores

    scores, frame = VideoScores(), np.full((16, 16, 3), 100, np.uint8)
    scores.add(frame, frame + 51)
    assert list(scores.result()) == ["brightness", "psnr", "psnr_video", "ssim"]
    assert scores.result()["brightness"] == pytest.approx(0.4)


def test_the_documentation_has_a_section_for_one_more_file(fake: Path, tmp_path: Path):
    pytest.importorskip("mkdocs")
    package = tmp_path / "cosmos_lidar" / "metrics"
    shutil.copytree(ROOT / "cosmos_lidar" / "metrics", package)
    shutil.copy(fake / "farthest.py", package)
    api_pages = runpy.run_path(str(ROOT / "docs" / "site" / "pages.py"))["_api_pages"]
    api_pages.__globals__["ROOT"] = tmp_path
    assert "::: cosmos_lidar.metrics.farthest" in api_pages()["api/cosmos_lidar.metrics.md"]


def test_two_columns_of_one_name_and_unknown_commands_are_refused(fake: Path):
    (fake / "again.py").write_text(FAKE)
    metrics._import_all.cache_clear()
    with pytest.raises(UserError, match="metrics again and farthest: both have a column 'worst_m' of evaluate"):
        find_metrics("evaluate", "ranges")
    with pytest.raises(UserError, match="unknown command 'measure' in columns; valid: evaluate, reconstruct"):
        Metric("ranges", "none", {"measure": ("x",)}, lambda limits: None)


def test_pooled_scores_are_those_of_all_samples_and_leave_the_parts():
    pairs = [RangePair(torch.full((2, 3), 20.0), torch.full((2, 3), 20.0 + error)) for error in (1.0, 3.0)]
    parts = [Scores("validation", "ranges") for _ in pairs]
    for part, pair in zip(parts, pairs, strict=True):
        part.add(pair)
    assert pooled(parts)["mae_m"] == pooled(parts)["mae_m"] == 2.0
    assert parts[0].result()["mae_m"] == 1.0


def test_metrics_of_points_are_left_out_where_there_are_none():
    scores = Scores("evaluate", "ranges", points=False)
    scores.add(RangePair(np.full((2, 2), 20.0), np.full((2, 2), 21.0)))
    assert scores.document()["chamfer"] is None
    assert "chamfer_mean_m" not in scores.result()


def test_listing_the_metrics_does_not_import_numpy():
    code = (
        "from cosmos_lidar.metrics import metric_names; import sys; print(len(metric_names()), 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "False"]
