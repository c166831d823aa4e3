import os
from pathlib import Path

import pytest

from tests import cpu_times

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    cpu_times.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("cpu"):
        config.pluginmanager.register(cpu_times.CpuTimes())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("cpu"):
        cpu_times.summarize(terminalreporter, config.getoption("cpu"))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of small real recordings; tests that need it are skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get("COSMOS_LIDAR_TEST_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"real recordings not found at {folder}: set COSMOS_LIDAR_TEST_DATA")
    return folder
