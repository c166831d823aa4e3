import os
from pathlib import Path

import pytest

from tests import cpu_times, garbage, levels

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    cpu_times.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(garbage)
    if config.getoption("cpu"):
        config.pluginmanager.register(cpu_times.CpuTimes())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("cpu"):
        cpu_times.summarize(terminalreporter, config.getoption("cpu"))


# Folders of expensive files, in the order in which they begin: with several processes the end is then of small files.
EXPENSIVE = ("training", "families", "launch", "recipes", "parallel", "commands", "energon_tasks", "models")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    levels.mark(items)

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        return EXPENSIVE.index(folder) if folder in EXPENSIVE else len(EXPENSIVE)

    items.sort(key=place)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of small real recordings; tests that need it are skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get("COSMOS_LIDAR_TEST_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"real recordings not found at {folder}: set COSMOS_LIDAR_TEST_DATA")
    return folder


@pytest.fixture(autouse=True)
def warnings_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for a minute to pass since a warning that another one caused."""
    from cosmos_lidar import log

    monkeypatch.setattr(log, "_said", {})
