"""Time of synthetic sweeps and camera images on one core: ``OMP_NUM_THREADS=1 python benchmarks/synth.py``.

Prints a Markdown table of CPU seconds (median and worst over several streets), with the machine and the versions.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable

import numpy as np

from cosmos_lidar.sensors import load_sensor
from cosmos_lidar.synth import build_scene, ftheta_rig, render, surround_rig, synthesize_drive


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one call; other programs on the machine do not count."""
    started = time.process_time()
    work()
    return time.process_time() - started


def time_sweeps(sensor_name: str, seeds: range) -> list[float]:
    """Return the CPU time of one sweep of each street, the street itself and the sensor's tables made beforehand."""
    times = []
    for seed in seeds:
        clip = synthesize_drive(seed, load_sensor(sensor_name), 20)
        clip.read_sweep(0)
        times.append(cpu_seconds(lambda clip=clip: clip.read_sweep(10)))
    return times


def time_images(width: int, shadows: bool, seeds: range) -> list[float]:
    """Return the CPU time of one front-camera image of each street."""
    camera = ftheta_rig(("front",), width)[0]
    times = []
    for seed in seeds:
        scene = build_scene(seed, 2.0)
        pose = scene.world_SE3_vehicle(1.0) @ camera.vehicle_SE3_camera
        render(scene, camera.model.resized(96, 54), pose, 1.0)
        times.append(cpu_seconds(lambda s=scene, p=pose: render(s, camera.model, p, 1.0, shadows)))
    return times


def time_drives(frames: int, height: int, width: int, seeds: range) -> list[float]:
    """Return the CPU time of all images of five cameras around the vehicle, with shadows, for each street."""
    times = []
    for seed in seeds:
        cameras = surround_rig(width, height, 70.0)
        clip = synthesize_drive(seed, load_sensor("nuscenes_hdl32e"), frames, cameras=cameras)
        streams = list(clip.cameras.values())
        streams[0].read(0)
        times.append(cpu_seconds(lambda s=streams: [one.read(number) for number in range(frames) for one in s]))
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streets", type=int, default=5)
    seeds = range(parser.parse_args().streets)
    rows = [(f"sweep, {name} {load_sensor(name).shape}", time_sweeps(name, seeds))
            for name in ("pandar128", "waymo_top", "kitti_hdl64e", "nuscenes_hdl32e")]  # fmt: skip
    rows.append(("image 960 x 540, shadows", time_images(960, True, seeds)))
    rows.append(("image 1920 x 1080, shadows", time_images(1920, True, seeds)))
    rows.append(("image 1920 x 1080, no shadows", time_images(1920, False, seeds)))
    rows.append(("5 cameras x 29 images, 112 x 64, shadows", time_drives(29, 64, 112, seeds)))
    rows.append(("street of 20 s", [cpu_seconds(lambda seed=seed: build_scene(seed, 20.0)) for seed in seeds]))
    out = sys.stdout.write
    machine, python = platform.machine(), platform.python_version()
    out(f"{machine}, Python {python}, numpy {np.__version__}, {time.strftime('%Y-%m-%d')}\n\n")
    out("| what | CPU s, median | worst |\n|---|---|---|\n")
    for name, times in rows:
        out(f"| {name} | {np.median(times):.2f} | {max(times):.2f} |\n")


if __name__ == "__main__":
    main()
