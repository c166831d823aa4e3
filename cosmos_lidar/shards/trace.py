"""Trace of a training sample: from its key in a batch to folder, split, shard, byte offset, clip and frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.errors import DataError, nearest
from cosmos_lidar.files import parse_json
from cosmos_lidar.shards.energon_index import EnergonIndex, SamplePlace, read_energon_index

_DESCRIPTION = "meta.json"  # the part that names clip and frames


@dataclass(frozen=True)
class Trace:
    """Where a sample lies and what it was made of.

    Attributes:
        folder: of the shards, the dataset.
        splits: that the shard belongs to.
        shard: name of the tar.
        key: of the sample.
        start: byte offset of the sample's first header in the tar.
        stop: one past its last byte.
        parts: part name -> (byte offset, size) of the content.
        clip: the clip it was made of; None where the shards do not name it.
        frame_ids: the dataset's names of its frames; empty where the shards do not name them.
        frame_numbers: their places in the clip; empty where not known.
        timestamps_us: start and end of each frame; empty where not known.
        sensor: name of the sensor; None where not known.
    """

    folder: str
    splits: tuple[str, ...]
    shard: str
    key: str
    start: int
    stop: int
    parts: dict[str, tuple[int, int]]
    clip: str | None
    frame_ids: tuple[str, ...] = ()
    frame_numbers: tuple[int, ...] = ()
    timestamps_us: tuple[tuple[int, int], ...] = ()
    sensor: str | None = None

    def frame(self, frame_id: str) -> int:
        """Return the position in the sample of a frame.

        Raises:
            DataError: it is not in this sample.
        """
        if frame_id not in self.frame_ids:
            wanted = f"one of {', '.join(self.frame_ids[:20]) or 'none'}"
            where = Path(self.folder) / self.shard
            raise DataError(f"no frame {frame_id!r}", file=where, clip=self.clip, key=self.key, wanted=wanted)
        return self.frame_ids.index(frame_id)


class Tracer:
    """Traces samples of one folder of shards; Energon's index is read once.

    Args:
        folder: of the shards.

    Raises:
        DataError: it has no index of Energon.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index: EnergonIndex = read_energon_index(folder)
        self._places: dict[str, list[tuple[str, SamplePlace]]] = {}
        for shard, places in self.index.samples.items():
            for place in places:
                self._places.setdefault(place.key, []).append((shard, place))

    def trace(self, key: str, shard: str | None = None) -> list[Trace]:
        """Return the samples of a key: one, or several where shards repeat it.

        Args:
            key: as in ``batch.__key__``.
            shard: only in this tar.

        Raises:
            DataError: there is no such sample, or its description is damaged.
        """
        found = [one for one in self._places.get(key, ()) if shard in (None, one[0])]
        if not found:
            like = f"; the nearest is {nearest(key, self._places)}" if self._places else ""
            wanted = f"a key of one of its {sum(map(len, self._places.values()))} samples{like}"
            raise DataError("no sample of this key", file=self.folder / (shard or ""), key=key, wanted=wanted)
        return [self._trace(*one) for one in found]

    def _trace(self, shard: str, place: SamplePlace) -> Trace:
        described = self._described(shard, place)
        splits = tuple(split for split, shards in self.index.splits.items() if shard in shards)
        return Trace(
            str(self.folder), splits, shard, place.key, place.start, place.stop, dict(place.parts), **described
        )  # fmt: skip

    def _described(self, shard: str, place: SamplePlace) -> dict[str, Any]:
        """Return what the sample's description has of clip, frames, times and sensor."""
        if _DESCRIPTION not in place.parts:
            return {"clip": None}
        path, key = self.folder / shard, f"{place.key}.{_DESCRIPTION}"
        start, size = place.parts[_DESCRIPTION]
        try:
            expect_size(size, "the description of a sample", limit=1 << 26, file=path, key=key)
            with path.open("rb") as file:
                file.seek(start)
                document = parse_json(file.read(size))
            return _fields(document)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            problem = f"the description of the sample cannot be read: {error}"
            raise DataError(problem, file=path, key=key, wanted="intact shards: `cosmos-lidar check`") from error


def _fields(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise TypeError(f"a {type(document).__name__}")
    clip, sensor = document.get("clip_id"), document.get("sensor")
    frames, numbers, times = (document.get(name, ()) for name in ("frame_ids", "frame_numbers", "timestamps_us"))
    if document.get("frame_id") is not None:  # samples of one frame
        frames = [document["frame_id"]]
        numbers = [document["frame_number"]] if "frame_number" in document else ()
        times = [times] if times else ()
    return {
        "clip": None if clip is None else str(clip),
        "frame_ids": tuple(str(frame) for frame in frames),
        "frame_numbers": tuple(int(number) for number in numbers),
        "timestamps_us": tuple((int(start), int(end)) for start, end in times),
        "sensor": None if sensor is None else str(sensor),
    }
