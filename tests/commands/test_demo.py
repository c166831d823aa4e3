from __future__ import annotations

from types import SimpleNamespace

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.demo import run as demo


@pytest.mark.parametrize(("signal", "status"), [(0, 0), (2, 130), (15, 143)])
def test_options_reach_the_demo_and_its_end_is_the_status(
    signal: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SimpleNamespace] = []
    monkeypatch.setattr(demo, "run_demo", lambda options: asked.append(options) or signal)
    assert main(["demo", "--out", "here", "--drives", "3", "--steps", "7"]) == status
    (options,) = asked
    assert (str(options.out), options.drives, options.steps, options.data, options.format) == ("here", 3, 7, None, None)


@pytest.mark.parametrize(("words", "message"), [(["--drives", "1"], "--drives 1"), (["--format", "kitti"], "--data")])
def test_options_that_do_not_go_together(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *words]) == 2
    assert message in capsys.readouterr().err
