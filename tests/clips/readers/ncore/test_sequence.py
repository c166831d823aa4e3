"""Poses between coordinate frames of an NCore sequence, and stores that do not belong together."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.readers.ncore.sequence import Edge, Sequence, beyond_us, frame_times, path_between, poses_along
from cosmos_lidar.errors import DataError
from tests.clips.readers.ncore.recording import LIDAR, Interval, v4


def shift(x: float, y: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, 3] = x, y
    return pose


TURN = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
EDGES = [
    Edge("rig", "world", np.stack([shift(0), shift(10)]), np.array([0, 100])),
    Edge("rig", "camera", TURN),
    Edge("lidar", "rig", shift(1)),
    Edge("world", "map", shift(0, 5)),
]


def test_paths_go_along_and_against_edges():
    times = np.array([0, 50, 200])
    steps = path_between(EDGES, "camera", "map")
    assert [(edge.source, backwards) for edge, backwards in steps] == [("rig", True), ("rig", False), ("world", False)]
    poses = poses_along(steps, times)
    for time, pose in zip(times, poses, strict=True):
        assert np.allclose(pose, shift(0, 5) @ shift(time / 10) @ TURN.T)
    assert np.allclose(poses_along(path_between(EDGES, "lidar", "camera"), np.zeros(())), TURN @ shift(1))
    assert (path_between(EDGES, "rig", "moon"), path_between(EDGES, "rig", "rig")) == (None, [])
    assert (beyond_us(steps, times), beyond_us(steps, times[:2]), beyond_us([], times)) == (100, 0, 0)


class Poses:
    """A store with one entry of poses."""

    def __init__(self, pair: object, entry: object) -> None:
        self.entry = {"static_poses": {pair: entry}}

    def attributes(self, path: str) -> dict:
        if path == "":
            return {"version": "v4", "sequence_id": "s"}
        return self.entry.get(path.rsplit("/", 1)[-1], {"component_version": "v1"} if path == "poses/p" else {})

    def children(self, path: str) -> list[str]:
        return ["p"] if path == "poses" else []

    def broken(self, problem: str, key: str, wanted: str = "") -> DataError:
        return DataError(problem, file="store", key=key, wanted=wanted)


@pytest.mark.parametrize(
    ("pair", "entry", "found"),
    [
        ("('a', 'b')", {"pose": np.eye(3).tolist()}, r"shape \(3, 3\)"),
        ("('a', 'b')", {"pose": (2 * np.eye(4)).tolist()}, "rigid"),
        ("('a', 'b')", {"pose": [["x"]]}, "no numbers"),
        ("('a', 'b')", {}, "no numbers|shape"),
        ("('a', 'b')", [], "no pair"),
        ("__import__('os')", {"pose": np.eye(4).tolist()}, "no pair"),
        (5, {"pose": np.eye(4).tolist()}, "no pair"),
        ("('a', 'b')", {"poses": [np.eye(4).tolist()] * 2, "timestamps_us": [5, 5]}, "do not increase"),
        ("('a', 'b')", {"poses": [np.eye(4).tolist()], "timestamps_us": [5, 6]}, "shape"),
        ("('a', 'b')", {"poses": [np.eye(4).tolist()], "timestamps_us": ["x"]}, "no numbers"),
        ("('a', 'b')", {"poses": [], "timestamps_us": []}, "shape"),
    ],
)
def test_broken_poses_are_named(pair, entry, found):
    sequence = Sequence.__new__(Sequence)
    sequence.stores = [Poses(pair, entry)]
    with pytest.raises(DataError, match=found) as caught:
        sequence.edges()
    assert str(pair)[:10] in caught.value.key


def _write(root, name="a", sequence="s", version=None):
    writer = v4.SequenceComponentGroupsWriter(root, name, sequence, Interval(0, 10), {}, "itar")
    lidar = writer.register_component_writer(v4.LidarSensorComponent.Writer, LIDAR)
    if version is not None:
        lidar._component_meta_data["component_version"] = version
    return [*writer.finalize()][0]


def test_stores_of_other_sequences_and_versions_are_refused(tmp_path, monkeypatch):
    one, other = _write(tmp_path / "a"), _write(tmp_path / "b", sequence="t")
    with pytest.raises(DataError, match="sequence 't'.*key sequence_id.*s, as"):
        Sequence((tmp_path / "a" / one.name, tmp_path / "b" / other.name))
    newer = _write(tmp_path / "c", version="v2")
    with pytest.raises(DataError, match=f"component version 'v2'.*key lidars/{LIDAR}"):
        Sequence((tmp_path / "c" / newer.name,)).components("lidars")
    monkeypatch.setattr("ncore.impl.data.v4.components.VERSION", "v5")
    future = _write(tmp_path / "d")
    with pytest.raises(DataError, match="version 'v5'.*NCore v4"):
        Sequence((tmp_path / "d" / future.name,))


@pytest.mark.parametrize(
    "times", [None, 5, [[1, 2, 3]], [[2, 1]], [[1, 2], [1, 3]], [["a", "b"]], [[0.5, 1.5]], [[2**70, 1]]]
)
def test_times_of_frames_are_checked(times):
    store = Poses("('a', 'b')", {})
    store.entry = {"frames": {"frames_timestamps_us": times}}
    with pytest.raises(DataError, match="frames_timestamps_us"):
        frame_times(store, "lidars/x")


def test_sensors_without_frames_have_no_times():
    store = Poses("('a', 'b')", {})
    store.entry = {"frames": {"frames_timestamps_us": []}}
    assert frame_times(store, "lidars/x").shape == (0, 2)
