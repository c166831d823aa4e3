"""The lidar tokenizer over time: sequences of sweeps through a video tokenizer."""

from __future__ import annotations

import pytest

pytest.importorskip("nemo")
