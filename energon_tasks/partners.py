"""Random access to samples of a folder of shards by key, for samples that are read together with others."""

from __future__ import annotations

import os
from pathlib import Path

from megatron.energon.epathlib import EPath
from megatron.energon.flavors.webdataset.itar_reader import SqliteITarEntryReader

from energon_tasks import splits  # noqa: F401 - bounds what headers of tars may ask for


class SampleStore:
    """The samples of folders of shards, found in the indexes that Energon made of them."""

    def __init__(self) -> None:
        self._readers: dict[tuple[int, str], SqliteITarEntryReader] = {}

    def read(self, folder: str | Path | EPath, key: str) -> dict[str, bytes] | None:
        """Return the parts of a sample, or None where the folder has none of this key.

        Args:
            folder: of the shards.
            key: of the sample.
        """
        try:
            found = self._reader(str(folder))[key]
        except KeyError:
            return None
        return {name: part for name, part in (found or {}).items() if isinstance(part, bytes)}

    def _reader(self, folder: str) -> SqliteITarEntryReader:
        """Return the reader of a folder; a process that was forked has its own, as files have one position."""
        place = (os.getpid(), folder)
        if place not in self._readers:
            self._readers[place] = SqliteITarEntryReader(EPath(folder))
        return self._readers[place]
