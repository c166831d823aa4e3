"""What recipes and `synth` make is a function of the seed: not of folder, process, cores, jobs or memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("nemo")

from tests.workers.client import python

# Tars and videos of every synthetic source; the index that Energon makes beside them has an id of its own each time.
MAKE = """
import ctypes, hashlib, json, os, sys
from dataclasses import replace
from pathlib import Path
from cosmos_lidar.cli import main
from cosmos_lidar.families.dit.job import synthetic_latents
from cosmos_lidar.families.lidar_tokenizer.data import synthetic_shards
from cosmos_lidar.families.video_tokenizer import job as videos
from cosmos_lidar.recipes import dit, lidargen, video_tokenizer
from cosmos_lidar.sensors import uniform_sensor

folder, fill, cores, jobs = Path(sys.argv[1]), *sys.argv[2:5]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)(-6, int(fill))  # glibc: what freed memory is filled with
folder.mkdir(parents=True)
synthetic_latents(folder / "dit", dit.debug())
synthetic_latents(folder / "lidargen", lidargen.debug())
synthetic_shards(folder / "sweeps", 2, 7)
run = video_tokenizer.debug()
run.data.size, run.synthetic_videos = 120, 2
videos._synthetic(run, folder / "videos")
(folder / "sensor.yaml").write_text(uniform_sensor(4, 64, name="tiny").to_yaml())
size = ["--drives", "2", "--frames", "4", "--cameras", "front", "--width", "200"]
assert main(["synth", str(folder / "drives"), "--sensor", str(folder / "sensor.yaml"), *size, "--jobs", jobs]) == 0
files = [file for file in sorted(folder.rglob("*")) if file.suffix in (".tar", ".mp4", ".npz")]
digests = {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
print("RESULT " + json.dumps(digests))
"""


@pytest.mark.slow
def test_synthetic_data_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = []
    for number, (fill, cores, jobs) in enumerate([(0, 64, 1), (170, 1, 2), (255, 64, 1)]):
        done = python("-c", MAKE, tmp_path / ("deep/" * number) / "out", fill, cores, jobs)
        results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        assert results, done.stderr
        made.append(json.loads(results[-1].removeprefix("RESULT ")))
    assert {Path(name).parts[0] for name in made[0]} == {"dit", "lidargen", "sweeps", "videos", "drives"}
    assert {Path(name).suffix for name in made[0]} >= {".tar", ".mp4", ".npz"}
    for other in made[1:]:
        assert {name for name in made[0] if other.get(name) != made[0][name]} == set()
        assert other.keys() == made[0].keys()
