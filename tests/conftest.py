import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of small real recordings; tests that need it are skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get("COSMOS_LIDAR_TEST_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"real recordings not found at {folder}: set COSMOS_LIDAR_TEST_DATA")
    return folder
