"""The comparison of codings: scores of a known tokenizer, and ratios of its table."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from cosmos_lidar.families.lidar_tokenizer.evaluate import Identity
from tests.families.conftest import build_clip, small_sensor
from tests.families.lidar_tokenizer.test_autoencode import known_channels

__all__ = ["small_sensor"]
FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER / "small_models")
    return importlib.import_module("lidar_scores")


def test_the_image_itself_has_no_error_and_all_returns(scores, small_sensor) -> None:
    identity, averages = scores.score_clips("walls", {"identity": Identity()}, [build_clip(small_sensor, 2)], 1.0)
    assert (identity.name, averages.name) == ("identity", scores.AVERAGES)
    assert identity.values["RMSE m"] < 1e-4
    assert identity.values["Chamfer m, recorded returns"] == pytest.approx(0, abs=1e-4)
    assert (identity.values["precision of returns"], identity.values["recall of returns"]) == (1, 1)
    assert averages.values["RMSE m"] > 1


def test_a_tokenizer_with_an_expected_error_is_scored_without_what_is_above_it(scores, small_sensor) -> None:
    tokenizer, _, returns, error_m = known_channels(small_sensor)
    whole, cut, _ = scores.score_clips("walls", {"known": tokenizer}, [build_clip(small_sensor, 1)], 2.0)
    assert cut.name == "known, expected error up to 2 m"
    assert cut.values["RMSE m"] == whole.values["RMSE m"]
    valid = build_clip(small_sensor, 1).range_map(0)
    measured = valid.reshape(16, 32, 2).max(2) > 0
    assert whole.values["recall of returns"] == pytest.approx((returns & measured).sum() / measured.sum())
    kept = returns & (error_m <= 2.0) & measured
    assert cut.values["recall of returns"] == pytest.approx(kept.sum() / measured.sum())
    shares = scores.calibration(tokenizer, [build_clip(small_sensor, 1)], 4)
    assert [expected for expected, _ in shares] == sorted(expected for expected, _ in shares)


def test_ratios_of_a_table(scores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("range_codings")
    rows = [scores.Row("walls", name, dict.fromkeys(scores.COLUMNS, value)) for name, value in
            (("published", 2.0), ("validity", 1.0))]  # fmt: skip
    assert "Chamfer m 0.500" in module.ratios(rows)
    assert scores.table(rows).count("\n") == 4
