"""A sampler is one file: every door finds it by listing the folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.diffusion import samplers, solvers
from cosmos_lidar.families.lidargen.generator import SamplingOptions

FAKE = """
from cosmos_lidar.diffusion.solvers import Solver

def integrate(denoise, x, schedule, gain=2.0):
    for sigma in schedule[:-1]:
        for _ in range(3):
            x = gain * denoise(x, sigma)
    return x

SOLVER = Solver("thrice", "made up", integrate, 3, {"gain": 2.0})
"""


@pytest.fixture
def thrice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lay one file beside the solvers, as if it had been added to their folder."""
    (tmp_path / "thrice.py").write_text(FAKE)
    monkeypatch.setattr(solvers, "__path__", [*solvers.__path__, str(tmp_path)])
    yield
    sys.modules.pop("cosmos_lidar.diffusion.solvers.thrice", None)


def test_one_more_file_is_found_by_every_door(thrice: None, capsys: pytest.CaptureFixture):
    assert list(samplers.SOLVERS) == ["2ab", "ddim", "dpm++2m", "heun", "thrice"]
    assert samplers.evaluations("thrice", 4) == 13
    sample = SamplingOptions(steps=1, sampler="thrice,gain=0.5").draw(lambda x, sigma: x, torch.full((2,), 8.0))
    assert sample.tolist() == [8.0 * 80 / 8] * 2
    with pytest.raises(SystemExit):
        main(["generate-lidar", "--help"])
    assert "thrice (made up; gain=2)" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(Exception, match=r"unknown sampler 'twice'; valid: 2ab, ddim, dpm\+\+2m, heun, thrice"):
        SamplingOptions(sampler="twice")


def test_listing_the_solvers_does_not_import_torch():
    code = "from cosmos_lidar.diffusion.solvers import find_solvers; import sys; print(len(find_solvers()))"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "False"]
