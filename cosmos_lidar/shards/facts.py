"""What loaders and networks must know of range images before they read one: from manifests, else the first samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from cosmos_lidar.sensors.sensor import RangeMapFormat, Sensor, load_sensor
from cosmos_lidar.shards.check import read_samples
from cosmos_lidar.shards.energon_index import shards_of
from cosmos_lidar.shards.manifest import MANIFEST, read_manifest
from cosmos_lidar.shards.sources import Part, Sources
from cosmos_lidar.shards.sweeps import META, SAMPLE_TYPE, SampleMeta, read_meta
from cosmos_lidar.tars import BROKEN_TAR, open_tar


@dataclass(frozen=True)
class SweepFacts:
    """What the range maps of all folders of a split have in common.

    Attributes:
        format: how they become images.
        rows: of a range map.
        columns: of the narrowest range map.
        frames_per_sample: of the folder that has the fewest: the longest run of frames in one sample.
        sensor: of the first folder; None where no file describes it.
    """

    format: RangeMapFormat
    rows: int
    columns: int
    frames_per_sample: int
    sensor: Sensor | None

    @property
    def merged_columns(self) -> int:
        """Columns of an image: neighboring columns of the range map are merged."""
        return self.columns // self.format.pair_columns

    @property
    def height(self) -> int:
        """Rows of an image: rows of the range map are repeated."""
        return self.rows * self.format.repeat_rows


@dataclass(frozen=True)
class _Kind:
    """One kind of range map in a folder: of which file it is known, its shape, its format and sensor if known."""

    where: Path
    shape: tuple[int, int]
    sensor: Sensor | None


def read_sweep_facts(sources: Sources, format: RangeMapFormat | None = None, any_width: bool = False) -> SweepFacts:
    """Return what the folders have in common; shards that their manifest lists are there in full length.

    Args:
        sources: folders of sweeps.
        format: how to make images, instead of as the sensor files say.
        any_width: range maps of different widths may be mixed, because images are cropped.

    Raises:
        DataError: a shard is missing or cut, or a file cannot be read.
        UserError: range maps whose images differ (both files, key and values are named), or no format is known.
    """
    sources.expect(SAMPLE_TYPE)
    kinds: list[_Kind] = []
    frames: list[int] = []
    for part in sources.parts:
        found, longest = _from_manifest(part) if part.ours else _from_samples(part)
        kinds += found
        frames.append(longest)
    agree([(kind.where, _image_facts(kind, format, any_width)) for kind in kinds], "range images")
    known = [kind.sensor for kind in kinds if kind.sensor is not None]
    if format is None and not known:
        raise UserError(f"{kinds[0].where}: no such sensor file, which defines how ranges become images: copy it there")
    columns = min(kind.shape[1] for kind in kinds)
    return SweepFacts(format or known[0].format, kinds[0].shape[0], columns, min(frames), known[0] if known else None)


def agree(facts: Iterable[tuple[Path, Mapping[str, Any]]], what: str) -> None:
    """Refuse folders that cannot be read together.

    Args:
        facts: (folder or file, values that must be the same in all, by name); what is not known is left out.
        what: that is compared, for the message, such as ``range images``.

    Raises:
        UserError: which names both folders, the key, and both values.
    """
    first: dict[str, tuple[Path, Any]] = {}
    for where, found in facts:
        for key, value in found.items():
            before, known = first.setdefault(key, (where, value))
            if value != known:
                raise UserError(
                    f"{what} differ in {key}: {known} in {before}, {value} in {where}: "
                    "train on one of them, or prepare them alike"
                )


def first_sample(part: Part) -> dict[str, bytes]:
    """Return the parts of the first sample of a folder's split, as a cooker gets them.

    Raises:
        DataError: the shard is missing or cannot be read.
    """
    path = part.folder / shards_of(part.folder, part.reference.split, part.reference.split_config)[0]
    found: dict[str, bytes] = {}
    first = None
    try:
        with open_tar(path) as tar:
            for member in tar.members():
                folder, slash, name = member.name.rpartition("/")
                key, _, name = name.partition(".")
                first = first or (folder, slash, key)
                if (folder, slash, key) != first:
                    break
                found[name] = tar.read(member)
    except BROKEN_TAR as error:
        raise DataError(f"cannot be read: {error}", file=path, wanted="an intact shard") from error
    return part.loaded(first[2] if first else "", found)


def _from_manifest(part: Part) -> tuple[list[_Kind], int]:
    """Return the sensors of a folder that ``cosmos-lidar prepare`` wrote, after a look at its shards."""
    manifest = read_manifest(part.folder)
    for shard in manifest.of_split(part.reference.split):
        path = part.folder / shard.name
        size = path.stat().st_size if path.is_file() else 0
        if size != shard.bytes:
            wanted = f"{shard.bytes} bytes, as in {MANIFEST}: copy the folder again"
            raise DataError(f"{size} bytes" if size else "shard missing", file=path, wanted=wanted)
    sensors = {part.folder / file: load_sensor(part.folder / file) for file in manifest.sensors}
    return [_Kind(file, sensor.shape, sensor) for file, sensor in sensors.items()], manifest.frames_per_sample


def _from_samples(part: Part) -> tuple[list[_Kind], int]:
    """Return the sensors that the first shard of a folder without manifest names."""
    name = shards_of(part.folder, part.reference.split, part.reference.split_config)[0]
    metas = list(_read_metas(part.folder / name) if part.yaml.loader is None else _load_metas(part, name))
    if not metas:
        raise DataError("no samples of range maps", file=part.folder / name, key=META, wanted="shards of sweeps")
    kinds = {}
    for meta in metas:
        sensor = _sensor_of(part.folder, meta)
        shape = (meta.shape[0], meta.shape[1])
        kinds[meta.sensor_fingerprint] = _Kind(part.folder / meta.sensor_file, shape, sensor)
        text = "as in its sensor file" if sensor else "no sensor file"
    longest = max(len(meta.frame_ids) for meta in metas)
    logger.info(
        "%s: no %s; from the first shard: range maps of %s, %s, at most %d frames per sample",
        part.folder, MANIFEST, shape, text, longest,
    )  # fmt: skip
    return list(kinds.values()), longest


def _read_metas(shard: Path) -> Iterator[SampleMeta]:
    tar = TarIndex.of(shard)
    for name in tar.members:
        if name.endswith(f".{META}"):
            yield read_meta(tar.read(name))


def _load_metas(part: Part, shard: str) -> Iterator[SampleMeta]:
    """Yield what the user's sample loader makes of the samples of a shard."""
    for place, parts in read_samples(part.folder / shard):
        made = part.loaded(place.key, parts)
        if META in made:
            yield read_meta(made[META])


def _sensor_of(folder: Path, meta: SampleMeta) -> Sensor | None:
    """Return the sensor of a sample: of the folder's file, else the shipped one of that name and geometry."""
    for name in (folder / meta.sensor_file, meta.sensor):
        try:
            sensor = load_sensor(name)
        except UserError:
            continue
        if sensor.fingerprint() == meta.sensor_fingerprint:
            return sensor
    return None


def _image_facts(kind: _Kind, format: RangeMapFormat | None, any_width: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"rows": kind.shape[0]}
    if not any_width:
        facts["columns"] = kind.shape[1]
    if format is None and kind.sensor is not None:
        chosen = kind.sensor.format
        facts |= {f"format.{field.name}": getattr(chosen, field.name) for field in fields(chosen)}
    return facts
