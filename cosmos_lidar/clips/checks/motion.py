"""Poses against the sweeps: ICP between neighboring sweeps compared with the difference of their poses.

Pairs are taken where the poses move and turn most. The pose difference, the motions that the poses would mean in other
conventions, and motions along the axes are compared by their fit (share of upright surfaces that coincide); the best of
them are refined by point-to-plane ICP. Poses are wrong where ICP fits clearly better and is clearly elsewhere; the
convention that fits as well as ICP is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.clips.checks._frames import Convention, conventions, given_motion
from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import LidarStream
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.clips.sweep import points_of
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.registration import PlaneCloud, Registration, fit_of, plane_cloud, register
from cosmos_lidar.sensors.rigid import rigid

TITLE = "poses that contradict ICP of neighboring sweeps: of the vehicle, inverse, other axes or units, frozen"
READS = True
_PAIRS = 2
_BETTER = 0.12  # fit of ICP above that of the poses
_AS_GOOD = 0.06  # fit of ICP above that of a convention that explains it
_LEAST_FIT = 0.3
_APART_M, _APART_SHARE, _APART_DEG = 0.15, 0.1, 0.7
_WAYS_M = (0.4, 0.8, 1.2, 1.8, 2.4, 3.0)
_REFINED = 3


def check_lidar(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    """Yield a finding where poses and ICP disagree in all pairs of sweeps that can be compared."""
    poses = _poses(stream)
    if poses is None or not recording.sweeps:
        return
    compared = [one for pair in _pairs(poses) if (one := _compare(recording, stream, poses, pair)) is not None]
    wrong = [one for one in compared if one.wrong]
    if wrong and len(wrong) == len(compared):
        yield _finding(wrong)


def _poses(stream: LidarStream) -> np.ndarray | None:
    """Return (N, 4, 4) poses of the axes that the points of each sweep are in; None where there are none for all."""
    if stream.world_SE3_lidar is None or len(stream) < 2 or len(stream.world_SE3_lidar) != len(stream):
        return None
    poses = np.asarray(stream.world_SE3_lidar, np.float64)[:, 0].copy()
    if stream.motion_compensated and stream.reference_us is not None:
        for index in range(len(stream)):
            motion = stream.motion(index)
            if motion is not None:
                poses[index] = motion.trajectory.at(np.array([stream.reference_us[index]]))[0]
    return poses


def _pairs(poses: np.ndarray) -> list[int]:
    """Return the first sweeps of at most two neighboring pairs: where the poses move most, and where they turn most."""
    good = rigid(poses)
    usable = np.flatnonzero(good[1:] & good[:-1])
    if not len(usable):
        return []
    between = np.linalg.inv(poses[usable]) @ poses[usable + 1]
    way = np.linalg.norm(between[:, :3, 3], axis=1)
    turn = 3.0 - np.trace(between[:, :3, :3], axis1=1, axis2=2)
    usual = float(np.median(way))
    way[way > max(5.0, 3.0 * usual)] = 0.0  # jumps are found by `poses`
    return list(dict.fromkeys(int(usable[np.argmax(one)]) for one in (way, turn)))[:_PAIRS]


@dataclass(frozen=True, eq=False)
class _Compared:
    """A pair of sweeps.

    Attributes:
        index: of the first sweep.
        given: motion by the poses.
        given_fit: of it.
        found: by ICP.
        others: convention -> fit of its motion, in the order of likelihood.
    """

    index: int
    given: np.ndarray
    given_fit: float
    found: Registration
    others: tuple[tuple[Convention, float], ...]

    @property
    def difference(self) -> tuple[float, float]:
        """Meters and degrees between ICP and poses."""
        between = np.linalg.inv(self.given) @ self.found.target_SE3_source
        cosine = np.clip((np.trace(between[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)
        return float(np.linalg.norm(between[:3, 3])), float(np.degrees(np.arccos(cosine)))

    @property
    def wrong(self) -> bool:
        """Whether ICP fits clearly better, and is clearly elsewhere."""
        meters, degrees = self.difference
        allowed = max(_APART_M, _APART_SHARE * float(np.linalg.norm(self.found.target_SE3_source[:3, 3])))
        better = self.found.fit - self.given_fit > _BETTER and self.found.fit > _LEAST_FIT
        return better and (meters > allowed or degrees > _APART_DEG)


def _compare(recording: Recording, stream: LidarStream, poses: np.ndarray, index: int) -> _Compared | None:
    target, source = (_cloud(recording, stream, number) for number in (index, index + 1))
    if target is None or source is None:
        return None
    pair = poses[index], poses[index + 1]
    given = given_motion(*pair)
    mounting = stream.ego_SE3_lidar
    others = tuple((one, fit_of(source, target, one.motion)) for one in conventions(*pair, mounting))
    given_fit = fit_of(source, target, given)
    starts = [(fit, one.motion) for one, fit in others] + [(given_fit, given)]
    starts += [(fit_of(source, target, way), way) for way in _ways()]
    starts.sort(key=lambda start: -start[0])
    found = max((register(source, target, start, 1.0) for _, start in starts[:_REFINED]), key=lambda one: one.fit)
    return _Compared(index, given, given_fit, found, others)


def _cloud(recording: Recording, stream: LidarStream, index: int) -> PlaneCloud | None:
    sweep = recording.sweep(stream, index)
    try:
        return None if sweep is None else plane_cloud(points_of(sweep, stream.sensor))
    except DataError:  # `sweeps` reports it
        return None


def _ways() -> Iterator[np.ndarray]:
    """Yield straight motions (4, 4) along x and y."""
    for axis in (0, 1):
        for way in _WAYS_M:
            for sign in (1.0, -1.0):
                motion = np.eye(4)
                motion[axis, 3] = sign * way
                yield motion


def _finding(wrong: list[_Compared]) -> Finding:
    one = max(wrong, key=lambda pair: pair.difference[0])
    fitting = _fitting(wrong)
    way_given, way_found = (float(np.linalg.norm(motion[:3, 3])) for motion in (one.given, one.found.target_SE3_source))
    meters, degrees = one.difference
    text = f"from sweep {one.index} to {one.index + 1} the poses move {way_given:.2f} m and the points "
    text += f"{way_found:.2f} m, {meters:.2f} m and {degrees:.1f} degrees apart: "
    if fitting:
        text += fitting[0].text + (f" ({len(fitting) - 1} other explanations fit as well)" if fitting[1:] else "")
    elif way_given < 0.02:
        text += "the poses stand still while the lidar moves"
    else:
        text += "the poses are not those of these sweeps, by none of the usual conventions"
    evidence = {
        "pose_motion_m": one.given[:3, 3], "icp_motion_m": one.found.target_SE3_source[:3, 3],
        "difference_m": meters, "difference_deg": degrees, "pose_fit": one.given_fit, "icp_fit": one.found.fit,
        "sweeps": [pair.index for pair in wrong], "fits": [other.name for other in fitting],
    }  # fmt: skip
    kind = "motion.frozen_poses" if not fitting and way_given < 0.02 else "motion.wrong_frame"
    if fitting and fitting[0].name == "moved":
        kind = "motion.moved_points"
    return Finding(kind, "error", text, one.index, evidence=evidence)


def _fitting(wrong: list[_Compared]) -> list[Convention]:
    """Return the conventions that fit as well as ICP in all pairs, likeliest first, none that is the given poses."""
    fitting = []
    for number, (convention, _) in enumerate(wrong[0].others):
        if all(pair.found.fit - pair.others[number][1] < _AS_GOOD for pair in wrong):
            fitting.append(convention)
    return fitting
