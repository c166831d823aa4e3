"""Files of Waymo Open v2: folders of components, each with one Parquet file per drive segment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible, visible_files

# Folders that only this dataset has; ``lidar`` alone is also another one's.
COMPONENTS = ("vehicle_pose", "lidar_pose", "lidar_calibration", "lidar_camera_projection", "lidar_segmentation",
              "camera_calibration", "camera_image", "camera_hkp", "lidar_hkp", "lidar_box")  # fmt: skip


@dataclass(frozen=True)
class SegmentFiles:
    """The files of one segment: ``folder/COMPONENT/name.parquet``."""

    folder: Path
    name: str

    def file(self, component: str) -> Path | None:
        """Return the file of a component; None where it is not on disk."""
        path = self.folder / component / f"{self.name}.parquet"
        return path if path.is_file() else None

    def needed(self, component: str, why: str) -> Path:
        """Return the file of a component.

        Raises:
            DataError: it is not on disk.
        """
        path = self.file(component)
        if path is None:
            missing = self.folder / component / f"{self.name}.parquet"
            raise DataError(f"no {component} on disk", file=missing, clip=self.name, wanted=f"the file, for {why}")
        return path


def find_segments(path: Path) -> list[SegmentFiles]:
    """Return the segments at ``path``: a folder of components, or of splits with components, a component, or a file."""
    if path.is_file():
        there = path.suffix == ".parquet" and path.parent.name in COMPONENTS
        return [SegmentFiles(path.parent.parent, path.stem)] if there else []
    if path.name in COMPONENTS and (files := visible_files(path, "*.parquet")):
        return [SegmentFiles(path.parent, file.stem) for file in files]
    if own := _segments(path):
        return own
    return [one for folder in visible(path, "*/vehicle_pose") for one in _segments(folder.parent)]


def _segments(folder: Path) -> list[SegmentFiles]:
    components = [folder / name for name in COMPONENTS]
    names = sorted({file.stem for one in components if one.is_dir() for file in visible_files(one, "*.parquet")})
    return [SegmentFiles(folder, name) for name in names]
