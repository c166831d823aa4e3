"""Earlier import paths give what is at the new ones."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

from cosmos_lidar import _moved


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", sorted(_moved._MOVED))
def test_an_earlier_name_gives_todays_content(name: str) -> None:
    pytest.importorskip("nemo")
    pytest.importorskip("megatron.energon")
    old = name if name.startswith("energon_tasks.") else f"cosmos_lidar.{name}"
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=rf"{old} is now (cosmos_lidar|energon_tasks|recipes)\."):
        module = importlib.import_module(old)
    targets = [importlib.import_module(target) for target in _moved.moved_to(old)]
    own = {}
    for one in targets:
        own |= {key: value for key, value in vars(one).items() if getattr(value, "__module__", "") == one.__name__}
    assert own
    assert all(getattr(module, key) is value for key, value in own.items())
    assert all(one.__spec__.name == one.__name__ for one in targets)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_documented_import_of_the_video_codec() -> None:
    from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
    from cosmos_lidar.inference import video_codec  # type: ignore[import-not-found]

    assert video_codec.VideoCodec is VideoCodec


def test_names_that_never_were_are_refused_as_ever() -> None:
    for name in ("cosmos_lidar.inference.nothing", "cosmos_lidar.training.nothing", "inference.video_codec"):
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{name.partition('.')[0]}"):
            importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = importlib.import_module("cosmos_lidar.inference.video_files")
    with pytest.raises(AttributeError, match="neither in .*tokenizer.files nor in cosmos_lidar.clips.footage"):
        files.nothing  # noqa: B018


def test_it_costs_nothing_at_import() -> None:
    program = "import sys; before = set(sys.modules); import cosmos_lidar;print(*sorted(set(sys.modules) - before))"
    assert run(program).split() == ["cosmos_lidar", "cosmos_lidar._checkout", "cosmos_lidar._moved"]


def test_energon_tasks_alone_knows_its_earlier_modules() -> None:
    pytest.importorskip("megatron.energon")
    program = "import energon_tasks.lidar as old, energon_tasks.sweeps as new; print(old is new)"
    assert run(program).strip() == "True"
