from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest


def at(clip, first_us: int, step_us: float, length_us: float | None = None):
    starts = first_us + (np.arange(len(clip)) * step_us).astype(np.int64)
    times = np.stack([starts, starts + int(length_us or step_us)], 1)
    return replace(clip.with_lidar(timestamps_us=times), cameras={})


UNIX_US = 1_561_645_825_002_790


@pytest.mark.parametrize("first_us", [0, 5_000_000_000, -50_000, UNIX_US])
def test_plain_clocks_are_quiet(drive, found, first_us):
    assert found("clock", at(drive, first_us, 100_000)) == []


def test_the_year_2464_is_a_wrong_unit(drive, found):
    unit, step = found("clock", at(drive, UNIX_US * 10, 1_000_000))
    assert (unit.kind, unit.severity) == ("clock.unit", "error")
    assert unit.text == "stamps begin in the year 2464, outside of 2000 to 2100; in 2019 with 0.1 times as many " + (
        "microseconds: a wrong unit"
    )
    assert unit.evidence["factor"] == 0.1
    assert (step.kind, step.severity, step.evidence["ratio"]) == ("clock.step", "error", 10.0)


def test_milliseconds_read_as_microseconds_are_of_1970(drive, found):
    unit, step = found("clock", at(drive, UNIX_US // 1000, 100))
    assert (unit.kind, unit.severity, unit.evidence["factor"]) == ("clock.unit", "error", 1000.0)
    assert "year 1970" in unit.text
    assert "in 2019 with 1000 times" in unit.text
    assert (step.kind, step.severity) == ("clock.step", "error")


def test_days_after_1970_with_good_steps_are_a_doubt_and_the_gps_epoch_a_note(drive, found):
    (one,) = found("clock", at(drive, 5 * 86_400_000_000, 100_000))
    assert (one.kind, one.severity, one.evidence["year"]) == ("clock.epoch", "warning", 1970)
    (one,) = found("clock", at(drive, 315_966_265_000_000, 100_000))  # Argoverse 2
    assert (one.kind, one.severity, one.evidence["year"]) == ("clock.epoch", "note", 1980)


@pytest.mark.parametrize(
    ("step_us", "length_us", "severity"),
    [
        (1_000_000, 1_000_000, "error"),  # 0.1 us read as us
        (100_000_000, 100_000_000, "error"),  # ns read as us
        (100, 100, "error"),  # ms read as us
        (1_000_000, 1, "warning"),  # moments: perhaps every tenth
        (100_000_000, 1, "error"),
        (1_000_000, 100_000, None),  # every tenth sweep, each of one revolution
        (500_000, 50_000, None),  # key frames
        (120_000, 120_000, None),
        (50_000, 50_000, None),
    ],
)
def test_steps_against_the_revolution(drive, found, step_us, length_us, severity):
    findings = found("clock", at(drive, UNIX_US, step_us, length_us))
    assert [one.severity for one in findings] == [severity] * (severity is not None)
    assert all(one.kind == "clock.step" for one in findings)


def test_a_camera_on_another_clock(drive, found):
    (name, camera), *_ = drive.cameras.items()
    shifted = replace(camera, timestamps_us=camera.timestamps_us + 3_600_000_000)
    (one,) = found("clock", replace(drive, cameras={name: shifted}))
    assert (one.kind, one.camera, one.severity) == ("clock.apart", name, "error")
    assert one.evidence["apart_us"] == pytest.approx(3.6e9, rel=1e-3)
    assert found("clock", drive) == []


def test_real_recordings_are_quiet(test_data, found):
    from cosmos_lidar.clips import open_clips

    for folder in ("kitti_velodyne", "kitti_object", "nuscenes", "semantickitti"):
        for clip in open_clips(test_data / folder):
            assert found("clock", clip) == []
    assert {one.severity for one in found("clock", open_clips(test_data / "av2")[0])} == {"note"}
    (ddad,) = open_clips(test_data / "ddad_dgp")
    assert [one.kind for one in found("clock", ddad)] == ["clock.contradiction"]  # of the reader
