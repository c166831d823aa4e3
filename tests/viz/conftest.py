import csv

import numpy as np
import pytest

from cosmos_lidar.viz import Comparison, write_report


def comparison(title: str, seed: int) -> Comparison:
    """A ground plane and a wall, reconstructed with noise; points of the pixels with a return."""
    rng = np.random.default_rng(seed)
    beams, columns = np.radians(np.linspace(5, -25, 24)), np.linspace(np.pi, -np.pi, 240)
    elevation, azimuth = np.meshgrid(beams, columns, indexing="ij")
    rays = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    )
    original = np.where(rays[..., 2] < -0.05, -1.9 / np.minimum(rays[..., 2], -0.05), 0.0).astype(np.float32)
    original[:6, 80:120] = 25.0
    reconstruction = np.where(original > 0, original + rng.normal(0, 0.2, original.shape), 0.0).astype(np.float32)
    reconstruction[0, 0], reconstruction[-1, 0] = 30.0, 0.0
    points = [(map_m[..., None] * rays)[map_m > 0].astype(np.float32) for map_m in (original, reconstruction)]
    return Comparison(title, original, reconstruction, *points)


@pytest.fixture
def comparisons() -> list[Comparison]:
    return [comparison("drive_0 · frame 000000", 0), comparison("drive_0 · frame 000010", 1)]


@pytest.fixture
def metrics_csv(tmp_path):
    path = tmp_path / "metrics.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["step", "loss", "val_loss", "lr"])
        for step in range(200):
            rows.writerow([step, 0.9 * np.exp(-step / 40) + 0.02, 0.5 if step % 50 == 0 else "", 1e-4])
    return path


@pytest.fixture
def page(tmp_path, comparisons, metrics_csv):
    path = write_report(
        tmp_path / "out" / "report.html",
        "Tokenizer <demo> & test",
        subtitle="32 channels",
        summary="First paragraph.\n\nSecond one.",
        tiles=[("RMSE", "0.29 m", "before 9.1 m")],
        tables=[("Held-out drives", ["Band", "RMSE (m)", "Pixels"], [["5–20 m", 0.123456, 1203444]])],
        metrics_csv=metrics_csv,
        frames=comparisons,
    )
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")
