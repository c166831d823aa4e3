import configparser
import re
import runpy
import subprocess
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.launch.tools import find_tool
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = [ROOT / "docker" / "Dockerfile", ROOT / "docker" / "cpu.Dockerfile"]
LEFT_OPEN = ("nvidia-", "cuda-toolkit", "setuptools")  # parts of a CUDA build of torch; the environment's own tool


def constraints() -> dict[str, str]:
    """Return {name: version} of the lines of constraints.txt that this Python takes."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    wanted = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate()]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in wanted}


def declared() -> dict[str, list[Requirement]]:
    """Return {extra, or "": requirements} of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    groups = {"": parser["options"]["install_requires"], **parser["options.extras_require"]}
    return {group: [Requirement(line) for line in text.split("\n") if line] for group, text in groups.items()}


def closure(first: list[Requirement]) -> dict[str, str]:
    """Return {name: version} of what is installed because of ``first``, by the packages' own metadata."""
    found: dict[tuple[str, str], str] = {}
    todo = [(one.name, extra) for one in first for extra in ("", *one.extras)]
    while todo:
        name, extra = todo.pop()
        key = (canonicalize_name(name), extra)
        if key in found or key[0].startswith(LEFT_OPEN):
            continue
        package = distribution(name)
        found[key] = package.version
        for one in map(Requirement, package.requires or []):
            if one.marker is None or one.marker.evaluate(default_environment() | {"extra": extra}):
                todo += [(one.name, wanted) for wanted in ("", *one.extras)]
    return {name: version for (name, _), version in found.items()}


def test_what_is_installed_is_what_constraints_say():
    pinned, installed = constraints(), closure(sum(declared().values(), []))
    assert len(installed) > 100
    assert sorted(set(installed) - set(pinned)) == []
    wrong = {name for name, version in installed.items() if Version(version).public != Version(pinned[name]).public}
    assert wrong == set()


def test_every_declared_requirement_is_pinned_within_its_bounds():
    pinned = constraints()
    for one in sum(declared().values(), []):
        assert one.specifier.contains(pinned[canonicalize_name(one.name)]), one


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_images_install_the_project_and_nothing_else(file: Path):
    text = re.sub(r"\\\n", " ", file.read_text())
    commands = re.findall(r"\bpip install ([^&\n]+)", text)
    assert len(commands) == (2 if file.name == "Dockerfile" else 3)
    for command in commands:
        assert re.search(r"-c \S*constraints\.txt|--no-deps", command), command
        options = r"\$\{\w+:\+[^}]*\}|-c \S+|--[\w-]+"
        wanted = re.sub(options, "", command).split()
        assert wanted in (["."], ["'.[train,trackers,text,diffusers,viz,datasets]'"], ["torch"]), command
    extras = re.search(r"'\.\[(.*?)\]'", text)[1].split(",")
    groups = declared()
    installed = {str(one) for extra in extras for one in groups[extra]}
    assert installed >= {str(one) for extra in set(groups) - {"", "dev", "docs"} for one in groups[extra]}
    assert "apex" not in "".join(commands)


def test_the_gpu_image_keeps_its_torch_and_the_cpu_image_is_not_root():
    gpu, cpu = (file.read_text() for file in DOCKERFILES)
    assert re.search(r"FROM \$\{BASE\}", gpu)
    assert "nvcr.io/nvidia/pytorch:" in gpu
    assert "install torch" not in gpu
    for text in (gpu, cpu):
        assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == "1000"


def test_constraints_of_an_image_keep_its_versions_and_take_ours_for_the_rest():
    merge = runpy.run_path(str(ROOT / "docker" / "image_constraints.py"))["merge"]
    ours = ["# note", "torch==2.13.0", "numpy==2.2.6; python_version < '3.11'", "numpy==2.4.6", "nemo_run==0.11.1", ""]
    merged = list(merge(ours, {"torch": "2.9.0a0+nv25.9", "transformer-engine": "2.7", "nemo-run": "0.1"}))
    assert merged == [ours[2], ours[3], "nemo_run==0.11.1", "torch==2.9.0a0+nv25.9", "transformer-engine==2.7"]
    kept_numpy = list(merge(ours, {"numpy": "1.26.4"}))
    assert kept_numpy == ["torch==2.13.0", "nemo_run==0.11.1", "numpy==1.26.4"]


def test_what_the_dockerfiles_copy_is_not_ignored():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for file in DOCKERFILES:
        for sources in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", file.read_text(), re.MULTILINE):
            for source in sources.split():
                assert (ROOT / source).exists(), source
                assert source == "." or source.split("/")[0] in kept, source


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_finds_nothing(file: Path):
    hadolint = find_tool("hadolint")
    done = subprocess.run([hadolint, str(file)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout
