"""Make the figures of the documentation, docs/pictures/*.png, from a synthetic drive.

    python benchmarks/make_pictures.py [--out docs/pictures] [--seed 3]

Takes a few seconds on one core and gives the same files every time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from cosmos_lidar.clips import Clip
from cosmos_lidar.files import atomic_write
from cosmos_lidar.sensors import load_sensor, range_map_to_points
from cosmos_lidar.synth import ftheta_rig, synthesize_drive
from cosmos_lidar.viz import View, bird_view_image, range_map_image, render_points, stack_images
from cosmos_lidar.viz.images import to_uint8
from cosmos_lidar.viz.range_map import NO_RETURN

WIDTH = 1280
MOST_BYTES = 300_000
CHASE = View(eye_m=(-30.0, -7.0, 17.0), target_m=(14.0, 1.5, 0.0))


def main() -> None:
    """Write all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "pictures")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    drive = synthesize_drive(args.seed, load_sensor("pandar128"), 4, cameras=ftheta_rig(("front",), WIDTH))
    range_m = drive.range_map(0)
    points = range_map_to_points(range_m, drive.sensor)
    range_map = map_image(range_m)
    write_small(args.out / "range_map.png", range_map)
    write_small(args.out / "point_cloud.png", cloud_image(points, 720))
    write_small(args.out / "bird_view.png", bird_view_image(points, size_px=720, half_extent_m=45.0))
    write_small(args.out / "camera.png", camera_image(drive))
    write_small(args.out / "overview.png", stack_images([range_map, cloud_image(points, 460)], 4, NO_RETURN))


def map_image(range_m: np.ndarray) -> np.ndarray:
    """Return the range map, columns merged to the width of a page (nearest return), with its color bar."""
    rows, columns = range_m.shape
    edges = np.linspace(0, columns, WIDTH, endpoint=False).astype(int)
    nearest = np.minimum.reduceat(np.where(range_m > 0, range_m, np.inf), edges, axis=1)
    return range_map_image(np.where(np.isfinite(nearest), nearest, 0.0), row_scale=2)


def cloud_image(points: np.ndarray, height: int) -> np.ndarray:
    """Return the point cloud from behind and above, drawn at twice the size for smooth points."""
    large = render_points(
        points, width=2 * WIDTH, height=2 * height, view=CHASE, cube_m=None, point_px=3, background=NO_RETURN
    )
    return np.asarray(Image.fromarray(large).reduce(2))


def camera_image(drive: Clip) -> np.ndarray:
    """Return the front camera's image of the same time."""
    (camera,) = drive.cameras.values()
    return camera.read(0)


def write_small(path: Path, image: np.ndarray) -> None:
    """Write a PNG below ``MOST_BYTES``, with as many colors as fit."""
    small = Image.fromarray(to_uint8(image))
    for colors in (256, 128, 64, 32):
        with atomic_write(path) as partial:
            small.quantize(colors, Image.Quantize.MAXCOVERAGE).save(partial, "PNG", optimize=True)
        if path.stat().st_size < MOST_BYTES:
            return
    raise SystemExit(f"{path} is larger than {MOST_BYTES} bytes: make the image smaller")


if __name__ == "__main__":
    main()
