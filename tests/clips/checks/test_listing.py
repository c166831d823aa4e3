from __future__ import annotations

import importlib
import pkgutil

import pytest

from cosmos_lidar.clips import checks
from cosmos_lidar.clips.checks._listing import find_checks
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import UserError

NAMES = sorted(info.name for info in pkgutil.iter_modules(checks.__path__) if not info.name.startswith("_"))


@pytest.mark.parametrize("name", NAMES)
def test_every_check_keeps_the_contract(name):
    module = importlib.import_module(f"{checks.__name__}.{name}")
    assert module.TITLE
    assert "\n" not in module.TITLE
    assert isinstance(module.READS, bool)
    assert any(hasattr(module, function) for function in ("check_lidar", "check_camera", "check_clip"))


def test_checks_are_found_by_listing_those_that_read_last():
    assert sorted(find_checks()) == NAMES
    reads = [module.READS for module in find_checks().values()]
    assert reads == sorted(reads)
    assert list(find_checks(["sweeps", "clock"])) == ["clock", "sweeps"]
    assert list(find_checks(["sweeps", "clock"], reading=False)) == ["clock"]
    with pytest.raises(UserError, match=r"unknown check 'clok', did you mean 'clock'\? Valid: .*clock.*times"):
        find_checks(["clok"])


def test_findings_name_clip_stream_frame_and_file(drive, make_clip):
    findings = check_clip(drive.with_lidar(timestamps_us=drive.timestamps_us * 10)).findings
    assert {one.kind for one in findings} == {"clock.unit", "clock.step", "clock.apart"}
    first = next(one for one in findings if one.kind == "clock.unit")
    assert (first.clip, first.lidar, first.frame, first.frame_id) == ("drive", "lidar", 0, "000000")
    assert first.file == str(drive.source)
    assert [one.kind.split(".")[0] in NAMES for one in findings] == [True] * len(findings)


def test_a_good_drive_has_no_finding(drive):
    assert check_clip(drive).findings == ()
