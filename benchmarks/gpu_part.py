"""One part of ``gpu.py``: prints a line ``ROW {...}`` of JSON for each row, as it is measured.

python benchmarks/gpu_part.py NAME '{"device": "cuda", "tiny": false, "seconds": 60, "rate_tflops": 0}'
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

MARK = "ROW "
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # a checkout needs no installation


def finite(value: Any) -> Any:
    """Return a value as JSON has it: numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    """Run the part."""
    name, given = sys.argv[1], json.loads(sys.argv[2])
    deadline = time.monotonic() + given.pop("seconds")
    from gpu_parts.common import Options

    part = importlib.import_module(f"gpu_parts.{name}")
    for row in part.rows(Options(deadline=deadline, **given)):
        sys.stdout.write(MARK + json.dumps(finite(row)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
