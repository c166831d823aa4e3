"""Networks, kernels, diffusion, parallelism and their benchmarks on a machine with torch and Triton alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bare_machine import REFUSED, ROOT, bare_environment
from tests.waiting import PATIENCE_S

PACKAGES = ("cosmos_lidar.models", "cosmos_lidar.kernels", "cosmos_lidar.diffusion", "cosmos_lidar.parallel")
OPTIONAL = ("te_ops", "apex_ops")  # for machines that have TransformerEngine or apex
BENCHMARKS = ("engine", "engine_step", "kernels", "lidargen", "sparse_conv", "tokenizer", "video_tokenizer", "wan_vae")
PROGRAM = """
import importlib, pkgutil, sys
names = []
for package in sys.argv[1].split(","):
    paths = importlib.import_module(package).__path__
    names += [package, *(found.name for found in pkgutil.walk_packages(paths, package + "."))]
names = [name for name in names if name.rpartition(".")[2] not in sys.argv[2].split(",")]
for name in (*names, *sys.argv[3].split(",")):
    importlib.import_module(name)
print(len(names), *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    return bare_environment(tmp_path)


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)


def test_the_packages_are_not_there(bare: dict[str, str]) -> None:
    done = run(bare, "-c", "import torch; import numpy.linalg")
    assert done.returncode != 0
    assert "ModuleNotFoundError: No module named 'numpy'" in done.stderr


def test_every_module_and_the_benchmarks_import(bare: dict[str, str]) -> None:
    bare["PYTHONPATH"] += f":{ROOT / 'benchmarks'}"
    done = run(bare, "-c", PROGRAM, ",".join(PACKAGES), ",".join(OPTIONAL), ",".join(BENCHMARKS))
    assert done.returncode == 0, done.stderr[-2000:]
    count, *found = done.stdout.split()
    files = [path for package in PACKAGES for path in (ROOT / package.replace(".", "/")).rglob("*.py")]
    assert int(count) == len([path for path in files if path.stem not in OPTIONAL])
    assert not set(found) & set(REFUSED)


def test_all_requirements_are_refused() -> None:
    """A requirement that is new in setup.cfg belongs in the list, by the name that it is imported by."""
    import configparser

    known = {
        "huggingface-hub": "huggingface_hub", "pillow": "PIL", "pyyaml": "yaml", "megatron-energon": "megatron",
        "nemo-toolkit[common]": "nemo", "nemo-run": "nemo_run", "mlflow-skinny": "mlflow", "rerun-sdk": "rerun",
        "dracopy": "DracoPy", "openexr": "OpenEXR", "laspy[lazrs]": "laspy", "nvidia-ncore": "ncore",
    }  # fmt: skip
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {name: text for name, text in config["options.extras_require"].items() if name not in ("dev", "docs")}
    for text in (config["options"]["install_requires"], *extras.values()):
        for line in filter(None, text.splitlines()):
            name = line.split(";")[0].split(">")[0].split("=")[0].split("<")[0].strip().lower().replace("_", "-")
            assert name == "torch" or known.get(name, name) in REFUSED, f"{line}: missing in tests/bare_machine.py"
