"""Feature maps of images: points get what their own camera shows there; files of all kinds, and broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.image_features import FeatureFiles, read_map, sample_maps
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import pinhole_rig, synthesize_drive

SIZE = (9, 16)  # cells of a map


@pytest.fixture(scope="module")
def clip() -> Clip:
    rig = pinhole_rig(("front", "left"), width=64, fov_deg=110.0)
    return synthesize_drive(3, uniform_sensor(16, 90, name="small"), 2, cameras=rig)


def linear_map(camera: float) -> np.ndarray:
    """Return (9, 16, 3): share of the way from the left, from the top, and a number of the camera."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    parts = ((columns + 0.5) / SIZE[1], (rows + 0.5) / SIZE[0], np.full(SIZE, camera))
    return np.stack(parts, 2).astype(np.float32)


def write_maps(folder: Path, clip: Clip, cameras: dict[str, float], numbers: range) -> FeatureFiles:
    """Write the maps of images, one kind of file after the other."""
    for name, number in [(name, number) for name in cameras for number in numbers]:
        stem = folder / clip.clip_id / name / f"{number:06d}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        array, kind = linear_map(cameras[name]), number % 3
        if kind == 0:
            np.save(stem.with_suffix(".npy"), array)
        elif kind == 1:
            np.savez_compressed(stem.with_suffix(".npz"), features=array.astype(np.float16), other=np.zeros(3))
        else:
            save_file({"anything": torch.from_numpy(array).bfloat16()}, stem.with_suffix(".safetensors"))
    return FeatureFiles(folder)


def test_points_get_the_features_of_their_own_camera(clip: Clip, tmp_path: Path) -> None:
    cameras = {"camera_front": 1.0, "camera_left": 2.0}
    count = len(clip.cameras["camera_front"])
    files = write_maps(tmp_path, clip, cameras, range(count))
    cloud = clip.lidar.cloud(1)
    found = files.of_sweep(clip, 1, cloud.points, cloud.time_us)
    assert found is not None
    assert len(found.maps) == 2
    middle = clip.timestamps_us[1].mean()
    rows, features = sample_maps(found.maps, found.places)
    wanted: dict[int, list[tuple[float, float, float, float]]] = {}
    for name, number in cameras.items():
        stream = clip.cameras[name]
        image = int(np.abs(stream.timestamps_us - middle).argmin())
        seen = project_sweep(clip, stream, 1, image, cloud.points, cloud.time_us)
        for point in np.flatnonzero(seen.visible):
            x, y = (seen.uv[point] + 0.5) / (stream.model.width, stream.model.height)
            wanted.setdefault(point, []).append(((x - 0.5) ** 2 + (y - 0.5) ** 2, x, y, number))
    assert sorted(wanted) == rows.tolist()
    assert 50 < len(rows) < len(cloud.points)
    assert {camera for one in wanted.values() for *_, camera in one} == {1.0, 2.0}
    inner = 0
    for row, feature in zip(rows, features, strict=True):
        _, x, y, camera = min(wanted[row])
        assert feature[2] == camera
        half = 0.5 / np.array(SIZE[::-1])
        if (half < (x, y)).all() and ((x, y) < 1 - half).all():
            assert np.allclose(feature[:2], (x, y), atol=4e-3)  # half precision, bfloat16 of some
            inner += 1
    assert inner > 0.7 * len(rows)


def test_images_without_a_map_and_too_far_in_time(clip: Clip, tmp_path: Path) -> None:
    times = clip.cameras["camera_front"].timestamps_us
    nearest = [int(np.abs(times - span.mean()).argmin()) for span in clip.timestamps_us]
    assert nearest[0] != nearest[1]
    files = write_maps(tmp_path, clip, {"camera_front": 1.0}, range(nearest[0], nearest[0] + 1))
    assert [len(files.files(clip, index)) for index in (0, 1)] == [1, 0]
    cloud = clip.lidar.cloud(0)
    assert FeatureFiles(tmp_path, 0.0).of_sweep(clip, 0, cloud.points, cloud.time_us) is None
    files.expect_some([clip])
    with pytest.raises(UserError, match=rf"no file such as {clip.clip_id}/camera_front/000000.npy"):
        FeatureFiles(tmp_path / "other").expect_some([clip])


def test_the_border_of_a_map_goes_on() -> None:
    one = np.arange(6, dtype=np.float16).reshape(2, 3, 1)
    places = np.array([[0, 0, 0], [-1, 0.5, 0.5], [0, 1, 1], [0, 0.5, 0.5], [0, 1 / 3, 0.25]], np.float32)
    rows, features = sample_maps([one], places)
    assert rows.tolist() == [0, 2, 3, 4]
    assert features[:, 0].tolist() == pytest.approx([0, 5, 2.5, 0.5])


def test_files_that_are_no_maps(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    np.save(tmp_path / "pickled.npy", np.array([Trap()], object), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.zeros((4, 5), np.float32))
    np.save(tmp_path / "whole.npy", np.zeros((4, 5, 2), np.int32))
    np.save(tmp_path / "large.npy", np.full((4, 5, 2), 1e6, np.float32))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2, 2)), b=np.zeros((2, 2, 2)))
    np.savez_compressed(tmp_path / "bomb.npz", features=np.zeros((512, 512, 128), np.float32))
    (tmp_path / "text.safetensors").write_text("no tensors")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "large.npy").read_bytes()[:-8])
    for name, problem in {
        "pickled.npy": "Python objects", "flat.npy": r"\(4, 5\)", "whole.npy": "int32", "large.npy": "half precision",
        "two.npz": "2 arrays", "bomb.npz": "MB|bytes|GiB|MiB", "text.safetensors": "not a safetensors file",
        "cut.npy": "152 of 160 bytes",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=problem) as caught:
            read_map(tmp_path / name)
        assert name in str(caught.value)
    assert not (tmp_path / "executed").exists()
