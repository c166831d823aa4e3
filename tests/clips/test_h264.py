"""Videos of the same images are the same bytes: in every process, whatever lies in memory, on any number of cores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
# Sizes at which x264's own defaults give other bytes, by what was in memory before (glibc can fill it).
ENCODE = """
import ctypes, hashlib, os, sys
from pathlib import Path
import numpy as np
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.viz.video import write_video

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])
ctypes.CDLL(None).mallopt(-6, int(sys.argv[3]))
for height, width, count in ((120, 200, 12), (64, 84, 20), (34, 50, 30), (150, 170, 25)):
    rng = np.random.default_rng(height)
    blocks = rng.integers(0, 255, (height // 8 + 2, width // 8 + 2, 3))
    images = []
    for number in range(count):
        image = np.kron(np.roll(blocks, number, 1), np.ones((8, 8, 1), int))[:height, :width]
        images.append((image + rng.integers(-6, 6, image.shape)).clip(0, 255).astype(np.uint8))
    for write in (write_mp4, write_video):
        path = Path(sys.argv[1]) / f"{sys.argv[3]}-{sys.argv[2]}.mp4"
        write(path, images, 10.0)
        print(height, width, write.__name__, hashlib.sha256(path.read_bytes()).hexdigest())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="fills memory with glibc, and sets the cores with Linux")
def test_the_same_images_are_the_same_bytes(tmp_path: Path) -> None:
    outputs = []
    for fill, cores in ((0, 64), (85, 1), (170, 64), (255, 2), (1, 1)):
        command = [sys.executable, "-c", ENCODE, str(tmp_path), str(cores), str(fill)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True, cwd=ROOT)
        outputs.append(done.stdout.splitlines())
    assert len(outputs[0]) == len(set(outputs[0])) == 8
    assert all(found == outputs[0] for found in outputs)
