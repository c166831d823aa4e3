"""Rig files: there and back, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from cosmos_lidar.clips.rig import MountedCamera, load_rig, save_rig
from cosmos_lidar.errors import DataError
from cosmos_lidar.synth import ftheta_rig, pinhole_rig


def test_there_and_back(tmp_path: Path):
    cameras = [
        MountedCamera(camera.name, camera.model, camera.vehicle_SE3_camera)
        for camera in (*ftheta_rig(("front", "left")), *pinhole_rig(("right",)))
    ]
    bent = replace(cameras[2].model, distortion=(0.04, -0.33, 0.001, -0.0015, 0.0))
    cameras.append(replace(cameras[2], name="bent", model=bent))
    save_rig(tmp_path / "rig.yaml", cameras)
    for was, found in zip(cameras, load_rig(tmp_path / "rig.yaml"), strict=True):
        assert found.name == was.name
        assert np.array_equal(found.lidar_SE3_camera, was.lidar_SE3_camera)
        pixels = np.array([[10.0, 20.0], [900.0, 500.0]])
        assert np.array_equal(found.model.unproject(pixels), was.model.unproject(pixels))


GOOD = {
    "name": "front",
    "lens": {"kind": "pinhole", "fx": 1, "fy": 1, "cx": 1, "cy": 1, "width": 2, "height": 2},
    "lidar_SE3_camera": np.eye(4).tolist(),
}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "not a mapping"),
        ({"camera": []}, "no cameras"),
        ({"cameras": [{**GOOD, "lens": None}]}, "camera front: kind None"),
        ({"cameras": [{"name": "front", "lens": GOOD["lens"]}]}, "camera front has no lidar_SE3_camera"),
        ({"cameras": [{**GOOD, "lens": {"kind": "pinhole", "fx": 1}}]}, "camera front: KeyError.*key lens"),
        ({"cameras": [{**GOOD, "lens": {**GOOD["lens"], "distortion": [1]}}]}, "k1, k2, p1, p2, k3"),
        ({"cameras": [{**GOOD, "lens": {**GOOD["lens"], "distortion": 1}}]}, "camera front: TypeError.*key lens"),
        ({"cameras": [{**GOOD, "lens": {"kind": "ftheta", "intrinsics": [1, 2]}}]}, "2 intrinsics.*11 or 14"),
        ({"cameras": [{**GOOD, "lidar_SE3_camera": [[1, 0], [0, 1]]}]}, r"shape \(2, 2\).*rigid 4 x 4 pose"),
        ({"cameras": [{**GOOD, "lidar_SE3_camera": (2 * np.eye(4)).tolist()}]}, "no rigid motion"),
        ({"cameras": [{**GOOD, "lidar_SE3_camera": [["a"]]}]}, "camera front: could not convert"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, document: object, message: str):
    file = tmp_path / "rig.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    with pytest.raises(DataError, match=message):
        load_rig(file)
