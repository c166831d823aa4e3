"""Files at the root: they agree with each other and with the code."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import cosmos_lidar

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_version_is_written_once_and_released_versions_are_in_the_changelog():
    assert setup_cfg()["metadata"]["version"] == "attr: cosmos_lidar.__version__"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == cosmos_lidar.__version__
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert cosmos_lidar.__version__ in headings


def test_the_license_is_that_of_the_metadata():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert setup_cfg()["metadata"]["license"] == "Apache-2.0"


def test_types_are_declared():
    assert (ROOT / "cosmos_lidar" / "py.typed").is_file()
    assert "py.typed" in setup_cfg()["options.package_data"]["cosmos_lidar"].split()


def test_packages_whose_types_are_not_read_are_not_imported_by_what_is_checked():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    [skipped] = [one["module"] for one in settings["overrides"] if one.get("follow_imports") == "skip"]
    names = "|".join(name.removesuffix(".*") for name in skipped)
    line = re.compile(rf"^\s*(?:import|from) (?:{names})\b", re.MULTILINE)
    assert line.search("    from transformers import AutoModel")
    files = [file for folder in settings["files"] for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    assert not [file for file in files if line.search(file.read_text(encoding="utf-8"))]


def test_package_data_matches_files():
    for package, patterns in setup_cfg()["options.package_data"].items():
        for pattern in patterns.split():
            folder = package.removeprefix("cosmos_lidar.").replace(".", "/")  # launch lies at the root
            assert list((ROOT / folder).glob(pattern)), f"{package}: {pattern}"


def test_every_folder_of_modules_is_a_package():
    for top in ("cosmos_lidar", "energon_tasks", "launch", "recipes"):
        for module in (ROOT / top).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), f"{module.parent} would not be installed"


def test_make_alone_lists_every_target_with_a_line_of_help():
    listed = subprocess.run(["make", "-s", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    names = {line.split()[1] for line in listed.splitlines()}
    assert names == TARGETS
    assert all(len(line.split()) > 3 for line in listed.splitlines())
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
    assert set(phony) == TARGETS


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_call_make(file):
    jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
    called = [step["run"] for job in jobs.values() for step in job["steps"] if step.get("run", "").startswith("make ")]
    assert called
    assert {name for line in called for name in line.split()[1:]} <= TARGETS


def test_pre_commit_hooks_are_programs_of_the_environment():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    packages = {"ruff": "ruff", "codespell": "codespell", "check-added-large-files": "pre-commit-hooks"}
    extra = {re.split(r"[;<>=\s]", line)[0] for line in setup_cfg()["options.extras_require"]["dev"].split("\n")}
    for repo in config["repos"]:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            assert hook["language"] == "system"
            program = Path(hook["entry"].split()[0])
            assert program.parent == Path(".venv/bin")
            assert packages[program.name] in extra
