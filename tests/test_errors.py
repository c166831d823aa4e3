from __future__ import annotations

import pickle

from cosmos_lidar.errors import DataError, UserError


def test_a_message_names_file_clip_key_and_what_was_expected() -> None:
    error = DataError("3 values", file="a.npz", clip="drive", key="pose", wanted="4 values")
    text = str(error)
    assert text.startswith("3 values [file a.npz, clip drive, key pose]")
    assert text.endswith("4 values")
    assert isinstance(error, UserError)
    assert str(DataError("3 values")) == "3 values"
    assert str(DataError("3 values", key="pose")) == "3 values [key pose]"


def test_errors_come_back_from_a_worker_process() -> None:
    error = DataError("3 values", file="a.npz", clip="drive", key="pose", wanted="4 values")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert (copy.problem, copy.file, copy.clip, copy.key, copy.wanted) == (
        "3 values", "a.npz", "drive", "pose", "4 values"
    )  # fmt: skip
