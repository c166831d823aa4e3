"""Samples that Energon's reader cannot read: a damaged tar header, or an index that does not fit its tar.

Such a sample becomes one that its cooker refuses, so that it is named, counted against the budget and skipped like any
other unusable sample, instead of ending the run with an error that names none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from megatron.energon import SourceInfo
from megatron.energon.flavors.webdataset.itar_reader import ITarReader
from megatron.energon.flavors.webdataset.structs import FilteredSample

from cosmos_lidar.errors import DataError, problem_of
from cosmos_lidar.tars import BROKEN_TAR

_DAMAGED = "damaged"  # part of a sample that holds what is wrong
_WANTED = "a complete tar and its index (`cosmos-lidar check`)"
_read = ITarReader.__getitem__


def _read_or_mark(self: ITarReader, index: int) -> FilteredSample | None:
    """Return a sample, or a marked one in its place where tar or index are damaged."""
    try:
        return _read(self, index)
    except BROKEN_TAR as error:
        shard = _shard_of(self, index)
        source = SourceInfo(dataset_path=self.base_path, index=index, shard_name=shard, file_names=())
        return FilteredSample(
            __key__=f"sample {index}",
            __shard__=shard,
            __restore_key__=("Webdataset", index),
            __sources__=(source,),
            **damage(f"damaged: {problem_of(error)}", _WANTED),
        )


def _shard_of(reader: ITarReader, index: int) -> str:
    try:
        return reader.tar_filenames[reader._get_itar_sample_pointer(index).tar_file_id]
    except BROKEN_TAR:
        return "a shard whose index cannot be read"


def damage(problem: str, wanted: str | None) -> dict[str, Any]:
    """Return the parts of a crude sample that its cooker refuses with this error."""
    return {_DAMAGED: (problem, wanted)}


def is_damaged(sample: Any) -> bool:
    """Return whether a crude sample stands for one that Energon's reader could not read."""
    return _DAMAGED in sample


def refuse_damaged(cook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a cooker's function that refuses samples marked with :func:`damage`.

    Raises:
        DataError: by the function; it names the shard and the number of the sample in the split.
    """

    @functools.wraps(cook)
    def cook_whole(sample: Any) -> Any:
        if is_damaged(sample):
            problem, wanted = sample[_DAMAGED]
            raise DataError(problem, file=sample["__shard__"], key=sample["__key__"], wanted=wanted)
        return cook(sample)

    return cook_whole


ITarReader.__getitem__ = _read_or_mark
