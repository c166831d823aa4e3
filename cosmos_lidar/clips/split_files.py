"""Files that split a dataset: lists of clip ids, and the YAML in which the tools of nuPlan and NAVSIM have their logs.

nuPlan's full split has some 16,000 logs; users of the dataset have the file,
``nuplan/planning/script/config/common/splitter/nuplan.yaml`` of nuplan-devkit. Two forms are read::

    log_splits: {train: [LOG, …], val: [LOG, …], test: [LOG, …]}            # nuplan-devkit
    train_logs: [LOG, …]                                                     # NAVSIM, with val_logs and test_logs
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_text, read_yaml

SUFFIXES = (".yaml", ".yml")
_DATED = re.compile(r"\d{4}\.\d\d\.\d\d\.")  # 2021.05.12.19.36.12_veh-35_00005_00204
_SPLITS = ("train", "val", "test")
_WANTED = "log_splits: {train: […], val: […], test: […]} as in nuplan-devkit, or train_logs, val_logs, test_logs"


def read_list(path: Path) -> list[str]:
    """Return the clip ids of a list file: one per line, without what follows the first dot, empty lines ignored.

    Names of nuPlan's logs start with a date, whose dots do not end them: they become those of clip ids.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        text = read_text(Path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"split list cannot be read: {error}", file=path, wanted="a text file of clip ids") from error
    names = (line.strip() for line in text.splitlines())
    return [clean_id(name) if _DATED.match(name) else name.split(".")[0] for name in names if name]


def is_split_file(name: str) -> bool:
    """Return whether the value of ``--split`` is a file and not the name of a published split."""
    return Path(name).suffix in SUFFIXES


def split_identity(name: str) -> str:
    """Return what a fingerprint keeps of ``--split``: the name of a published split, or the SHA-256 of a file.

    Raises:
        DataError: the file cannot be read.
    """
    if not is_split_file(name):
        return name
    listed = read_split_file(Path(name))
    return hashlib.sha256("\n".join(f"{split} {log}" for log, split in sorted(listed.items())).encode()).hexdigest()


def read_split_file(path: Path) -> dict[str, str]:
    """Return log -> train, val or test of a split file of nuPlan or NAVSIM.

    Raises:
        DataError: no such file, neither of the two forms, a log in two splits, or no log at all.
    """
    document = read_yaml(path, _WANTED)
    lists = document.get("log_splits")
    if lists is None:
        lists = {split: document[f"{split}_logs"] for split in _SPLITS if f"{split}_logs" in document}
    if not isinstance(lists, dict) or not lists:
        raise DataError("no lists of logs", file=path, wanted=_WANTED)
    found: dict[str, str] = {}
    for split, logs in lists.items():
        for log in _names(path, split, logs):
            if found.setdefault(log, split) != split:
                problem = f"log {log} is in {found[log]} and in {split}"
                raise DataError(problem, file=path, wanted="every log in one split")
    if not found:
        raise DataError("the lists have no log", file=path, wanted=_WANTED)
    return found


def _names(path: Path, split: Any, logs: Any) -> list[str]:
    if split not in _SPLITS:
        raise DataError(f"unknown split {split!r}", file=path, key="log_splits", wanted=", ".join(_SPLITS))
    logs = [] if logs is None else logs
    if not isinstance(logs, list) or not all(isinstance(log, str) for log in logs):
        raise DataError(f"split {split} is no list of names", file=path, key=split, wanted=_WANTED)
    return logs
