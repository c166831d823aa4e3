"""Data frames out of pickles of several versions of pandas, and programs in their place."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.data_frames import load_frame
from tests.clips.pickled_frames import _Call, _Name, dumps, new_frame, old_frame

COLUMNS = {
    "x": np.arange(5.0),
    "y": np.arange(5.0) ** 2,
    "d": np.arange(5),
    "t": np.arange(5) / 7,
    "small": np.arange(5, dtype=np.uint8),
}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("make", [old_frame, new_frame])
def test_frames_of_old_and_new_versions(make, protocol):
    found = load_frame(dumps(make(COLUMNS), protocol))
    assert set(found) == set(COLUMNS)
    for name, values in COLUMNS.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_frames_of_the_pandas_that_is_installed(protocol):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(COLUMNS)
    frame.columns = pandas.Index(list(COLUMNS), dtype=object)
    found = load_frame(pickle.dumps(frame, protocol))
    assert all(np.array_equal(found[name], values) for name, values in COLUMNS.items())


def test_columns_of_arrow_texts_are_refused_by_name():
    pandas = pytest.importorskip("pandas", minversion="3")
    pytest.importorskip("pyarrow")
    with pytest.raises(pickle.UnpicklingError, match="refers to (pyarrow|pandas)"):
        load_frame(pickle.dumps(pandas.DataFrame(COLUMNS)))


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_programs_are_not_run(tmp_path):
    marker = tmp_path / "executed"
    frame = old_frame(COLUMNS)
    frame.state["more"] = Hostile(marker)
    with pytest.raises(pickle.UnpicklingError, match=r"refers to pathlib.*may run anything"):
        load_frame(dumps(frame))
    assert not marker.exists()


def _named(module: str, name: str, *arguments: object) -> _Call:
    return _Call(_Name(module, name), arguments)


@pytest.mark.parametrize(
    "document",
    [
        {"x": [1.0]},
        _named("pandas.core.frame", "DataFrame"),
        _named("pandas", "read_pickle", "other.pkl"),
        _named("pandas.core.internals.managers", "BlockManager", 5, 6),
        _Call(_Name("pandas.core.frame", "DataFrame"), (), {"_mgr": 5}, new=True),
        _Call(_Name("pandas.core.frame", "DataFrame"), (1,), new=True),
        _Call(_Name("numpy", "dtype"), ("O",), new=True),
        _Call(_Name("pandas.core.internals.managers", "BlockManager"), (), (1, 2, 3, {}), new=True),
        _Call(_Name("pandas.core.internals.managers", "BlockManager"), (), {"_axes": 1}, new=True),
        _named("builtins", "slice", "a", "b"),
        _named("builtins", "getattr", "a", "b"),
    ],
)
def test_other_documents_are_refused(document):
    with pytest.raises((pickle.UnpicklingError, AttributeError, TypeError)):
        load_frame(dumps(document))


def test_columns_that_do_not_fit_are_refused():
    for change in (
        lambda axes, blocks: blocks.pop(),
        lambda axes, blocks: blocks[0].update(values=np.zeros((1, 5))),
        lambda axes, blocks: blocks[0].update(values=np.zeros((2, 4))),
        lambda axes, blocks: blocks[0].update(mgr_locs=slice(0, 99)),
        lambda axes, blocks: blocks[0].update(values=[1, 2]),
        lambda axes, blocks: axes.reverse(),
        lambda axes, blocks: axes.clear(),
    ):
        frame = old_frame(COLUMNS)
        known = frame.state["_data"].state[3]["0.14.1"]
        change(known["axes"], known["blocks"])
        with pytest.raises(pickle.UnpicklingError):
            load_frame(dumps(frame))


def test_objects_in_arrays_are_refused():
    frame = old_frame(COLUMNS)
    known = frame.state["_data"].state[3]["0.14.1"]
    known["blocks"][0]["values"] = np.array([[1, {}]], object)
    with pytest.raises(pickle.UnpicklingError, match="objects that are not texts"):
        load_frame(dumps(frame))


def test_damaged_pickles_raise_nothing_worse_than_an_exception():
    whole, rng = dumps(old_frame(COLUMNS)), np.random.default_rng(0)
    for _ in range(300):
        wreck = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            wreck[place] = rng.integers(256)
        with suppress(Exception):
            assert isinstance(load_frame(bytes(wreck)), dict)
