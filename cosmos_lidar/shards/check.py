"""Integrity check of shards with a manifest: every part of every sample is decoded and compared with it."""

from __future__ import annotations

import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import file_sha256
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.energon_index import EnergonIndex, SamplePlace, read_energon_index, read_tar_index
from cosmos_lidar.shards.energon_yaml import read_dataset_yaml
from cosmos_lidar.shards.files import ShardRecord
from cosmos_lidar.shards.manifest import ENERGON, Manifest, read_manifest
from cosmos_lidar.shards.sweeps import META, SampleMeta, read_meta, verify_parts
from cosmos_lidar.tars import BROKEN_TAR, open_tar

_MEMBER = re.compile(r"([^./]+)\.([^/]+)")  # key, part: Energon ends the key at the first dot


@dataclass(frozen=True)
class Problem:
    """One problem: in which shard, clip and key, as far as known."""

    problem: str
    shard: str | None = None
    clip: str | None = None
    key: str | None = None


@dataclass
class CheckResult:
    """Counts of what was checked, and the problems found."""

    shards: int = 0
    samples: int = 0
    frames: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)


def check_shards(folder: Path) -> CheckResult:
    """Check a folder written by `cosmos-lidar prepare`, without changing it.

    Raises:
        DataError: it is not a finished folder of shards.
    """
    checker = _Checker(folder, read_manifest(folder))
    checker.check_folder()
    with Meter("check", "frames", sum(shard.frames for shard in checker.manifest.shards)) as meter:
        for shard in checker.manifest.shards:
            _ShardChecker(checker, shard).check(meter)
    checker.check_between_shards()
    return checker.result


class _Checker:
    """The folder as a whole, and what must be compared between shards."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest, self.result = folder, manifest, CheckResult()
        self.shards_of_key: dict[str, list[str]] = defaultdict(list)
        self.splits_of_clip: dict[str, set[str]] = defaultdict(set)
        self.index: EnergonIndex | None = None

    def report(self, problem: str, shard: str | None = None, clip: str | None = None, key: str | None = None) -> None:
        self.result.problems.append(Problem(problem, shard, clip, key))

    def check_folder(self) -> None:
        """Compare the tars that are there, and the splits of Energon's index, with the manifest."""
        known = {shard.name for shard in self.manifest.shards}
        for path in sorted(self.folder.rglob("*.tar")):
            if path.name not in known or path.parent != self.folder:
                self.report("this tar is not in the manifest, but Energon would read it", path.name)
        for file in self.manifest.sensors:
            if not (self.folder / file).is_file():
                self.report(f"sensor file {file} missing")
        try:
            read_dataset_yaml(self.folder / ENERGON / "dataset.yaml")
            self.index = read_energon_index(self.folder)
        except DataError as error:
            self.report(str(error))
            return
        for split in self.manifest.splits:
            mine = {shard.name for shard in self.manifest.of_split(split)}
            indexed = set(self.index.splits.get(split, ()))
            for name in sorted(mine ^ indexed):
                where = "does not count" if name in mine else "counts"
                self.report(f"Energon's split.yaml {where} this shard among {split}", name)

    def check_between_shards(self) -> None:
        """Look for keys and clips that occur where they must not."""
        for key, shards in self.shards_of_key.items():
            if len(shards) > 1:
                self.report(f"the key occurs {len(shards)} times, in {', '.join(shards)}", shards[0], key=key)
        for clip, splits in self.splits_of_clip.items():
            if len(splits) > 1:
                self.report(f"frames of one clip are in the splits {' and '.join(sorted(splits))}", clip=clip)


class _ShardChecker:
    """One shard."""

    def __init__(self, checker: _Checker, shard: ShardRecord) -> None:
        self.checker, self.shard, self.path = checker, shard, checker.folder / shard.name
        self.places: list[SamplePlace] = []
        self.frames: Counter[str] = Counter()

    def report(self, problem: str, clip: str | None = None, key: str | None = None) -> None:
        self.checker.report(problem, self.shard.name, clip, key)

    def check(self, meter: Meter) -> None:
        if not self.path.is_file():
            self.report("shard missing")
            return
        size = self.path.stat().st_size
        self.checker.result.shards += 1
        self.checker.result.bytes += size
        if size != self.shard.bytes:
            self.report(f"{size} bytes instead of {self.shard.bytes}")
        elif file_sha256(self.path) != self.shard.sha256:
            self.report("sha256 differs from the one in the manifest")
        try:
            for place, parts in read_samples(self.path):
                self.places.append(place)
                meter.advance(self.check_sample(place.key, parts))
        except (DataError, *BROKEN_TAR) as error:
            self.report(f"the tar is cut or damaged after {len(self.places)} samples: {error}")
        self.check_counts()
        self.check_index()

    def check_sample(self, key: str, parts: dict[str, bytes]) -> int:
        """Verify one sample; returns its frames."""
        self.checker.shards_of_key[key].append(self.shard.name)
        meta = _try_meta(parts)
        clip = meta.clip_id if meta else None
        try:
            verify_parts(parts)
        except DataError as error:
            self.report(f"{error.problem}. Expected: {error.wanted}", clip, f"{key}.{error.key}")
        if meta is None:
            return 0
        self.checker.result.samples += 1
        self.checker.result.frames += len(meta.frame_ids)
        self.checker.splits_of_clip[meta.clip_id].add(self.shard.split)
        self.frames[meta.clip_id] += len(meta.frame_ids)
        if meta.sensor_file not in self.checker.manifest.sensors:
            self.report(f"sensor file {meta.sensor_file} is not in the manifest", clip, f"{key}.{META}")
        return len(meta.frame_ids)

    def check_counts(self) -> None:
        """Compare samples and frames with the manifest."""
        if len(self.places) != self.shard.samples:
            self.report(f"{len(self.places)} samples instead of {self.shard.samples}")
        for clip in sorted(set(self.frames) | set(self.shard.clips)):
            found, wanted = self.frames.get(clip, 0), self.shard.clips.get(clip, 0)
            if found != wanted:
                self.report(f"{found} frames instead of {wanted}", clip)

    def check_index(self) -> None:
        """Compare what lies in the tar with Energon's index."""
        if self.checker.index is None:
            return
        indexed = self.checker.index.samples.get(self.shard.name, [])
        if len(indexed) != len(self.places):
            self.report(f"Energon's index has {len(indexed)} samples, the tar {len(self.places)}")
        for mine, theirs in zip(self.places, indexed, strict=False):
            if mine != theirs:
                self.report("Energon's index has this sample elsewhere, or with other parts", key=mine.key)
                break
        try:
            offsets = read_tar_index(self.path)
        except DataError as error:
            self.report(str(error))
            return
        if offsets != [place.start for place in self.places] + [place.stop for place in self.places[-1:]]:
            self.report(f"{self.path.name}.idx does not fit the tar")


def _try_meta(parts: dict[str, bytes]) -> SampleMeta | None:
    try:
        return read_meta(parts[META])
    except (KeyError, DataError):
        return None


def read_samples(path: Path) -> Iterator[tuple[SamplePlace, dict[str, bytes]]]:
    """Yield the samples of a tar, as Energon groups them: neighboring members of one key.

    Raises:
        tarfile.TarError: the tar is damaged, or holds something else than files named ``KEY.PART``, each once.
        OSError: it cannot be read.
    """
    place: SamplePlace | None = None
    parts: dict[str, bytes] = {}
    with open_tar(path) as tar:
        for member in tar.members():
            match = _MEMBER.fullmatch(member.name)
            if match is None:
                raise tarfile.TarError(f"member {member.name!r} is not a file named KEY.PART")
            key, part = match.groups()
            if place is None or place.key != key:
                if place is not None:
                    yield _ended(place, member.offset), parts
                place, parts = SamplePlace(key, member.offset, 0, {}), {}
            if part in parts:
                raise tarfile.TarError(f"two members {member.name!r}")
            parts[part] = tar.read(member)
            place.parts[part] = (member.offset_data, member.size)
        if place is not None:
            yield _ended(place, tar.end), parts
        if tar.left_out:
            raise tarfile.TarError(f"no plain files: {'; '.join(tar.left_out[:3])}")


def _ended(place: SamplePlace, stop: int) -> SamplePlace:
    return SamplePlace(place.key, place.start, stop, place.parts)
