from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.finding import Finding, plain


def test_evidence_is_ready_for_json():
    evidence = {"step_us": np.float32(1 / 3), "frames": np.arange(3), "nan": np.nan, "path": Path("a"), "none": None}
    found = Finding("clock.step", "error", "text", np.int64(4), evidence=evidence)
    assert found.evidence == {"step_us": 0.333333, "frames": [0, 1, 2], "nan": "nan", "path": "a", "none": None}
    assert json.loads(json.dumps(found.evidence, allow_nan=False)) == found.evidence
    assert type(found.frame) is int


def test_large_whole_numbers_stay_exact():
    assert plain(np.int64(1_561_645_825_002_790)) == 1_561_645_825_002_790
    assert plain((True, [np.inf, -0.0])) == [True, ["inf", 0.0]]
