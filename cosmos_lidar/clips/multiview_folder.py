"""The folder of the published multi-view post-training guide: a video per camera and clip, captions, text embeddings.

    videos/<camera>/<clip>.mp4
    metas/<camera>/<clip>.txt                             captions
    t5_xxl/<camera>/<clip>.safetensors, .pkl or .pickle   embeddings of the captions
    cache/prefix_t5_embeddings_<camera>.pickle            embedding of a sentence about the camera; also prefix_<camera>

A clip has one name in the folders of all cameras, and equally many frames in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cosmos_lidar.bounds import expect_plain_file
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.video import VideoFile, open_video
from cosmos_lidar.clips.view_ids import PUBLISHED_IDS
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible, visible_files

VIDEOS, CAPTIONS, EMBEDDINGS, PREFIXES = "videos", "metas", "t5_xxl", "cache"
_PREFIX_NAMES = ("prefix_t5_embeddings_{}", "prefix_{}")
# Order of the published samples; other cameras follow by name.
_ORDER = ("pinhole_side_left", "pinhole_front_left", "pinhole_front", "pinhole_front_right", "pinhole_side_right")
_WANTED = "the guide's folder: videos/CAMERA/CLIP.mp4 for every camera"


@dataclass(frozen=True)
class MultiviewFolder:
    """A folder of published layout.

    Attributes:
        root: the folder with ``videos``.
        cameras: names of the folders of videos, in the published order.
        clips: names of the files without their ending, sorted.
    """

    root: Path
    cameras: tuple[str, ...]
    clips: tuple[str, ...]

    def video(self, camera: str, clip: str) -> Path:
        """Return the video of a camera."""
        return self.root / VIDEOS / camera / f"{clip}.mp4"

    def caption(self, camera: str, clip: str) -> Path:
        """Return the caption's file, which need not be there."""
        return self.root / CAPTIONS / camera / f"{clip}.txt"

    def embedding(self, camera: str, clip: str) -> Path:
        """Return the path of the embedding without its ending."""
        return self.root / EMBEDDINGS / camera / clip

    def prefixes(self, camera: str) -> list[Path]:
        """Return the paths, without endings, where the embedding of the camera's sentence may be."""
        return [self.root / PREFIXES / name.format(camera) for name in _PREFIX_NAMES]

    def check_cameras(self) -> None:
        """Refuse folders of captions or embeddings whose camera has no videos.

        Raises:
            DataError: which folder is missing.
        """
        known = set(self.cameras)
        for above in (CAPTIONS, EMBEDDINGS):
            for folder in visible(self.root / above, "*") if (self.root / above).is_dir() else ():
                if folder.is_dir() and folder.name not in known:
                    raise DataError(
                        f"no videos of camera {folder.name}, which {above}/{folder.name} belongs to",
                        file=self.root / VIDEOS / folder.name, wanted=_WANTED,
                    )  # fmt: skip

    def facts(self, clip: str) -> tuple[int, float]:
        """Return frames and frames per second of a clip, the same for every camera.

        Raises:
            DataError: a video is missing or cannot be read, or the cameras differ.
        """
        found: dict[str, tuple[int, float]] = {}
        for camera in self.cameras:
            path = self.video(camera, clip)
            if not path.is_file():
                raise DataError("no such video", file=path, clip=clip, key=camera, wanted="the clip in every camera")
            found[camera] = video_facts(path, clip)
        first = self.cameras[0]
        for camera, (frames, fps) in found.items():
            if frames != found[first][0] or abs(fps - found[first][1]) > 0.01 * fps:
                problem = (
                    f"{frames} frames at {fps:.4g} per second; {first} has {found[first][0]} at {found[first][1]:.4g}"
                )
                raise DataError(problem, file=self.video(camera, clip), clip=clip, key=camera,
                                wanted="equal lengths and rates in all cameras")  # fmt: skip
        return found[first]


def find_multiview_folder(path: Path) -> MultiviewFolder | None:
    """Return the folder of published layout at ``path``, or at the folder above its ``videos``; None where it is none.

    Folders of ``videos`` without any mp4 file are no cameras: tables of maps and poses may lie beside them.
    """
    root = path if (path / VIDEOS).is_dir() else path.parent if path.name == VIDEOS else None
    if root is None or not (root / VIDEOS).is_dir():
        return None
    folders = [folder for folder in visible(root / VIDEOS, "*") if folder.is_dir()]
    videos = {folder.name: [file.stem for file in visible_files(folder, "*.mp4")] for folder in folders}
    cameras = sorted((name for name, files in videos.items() if files), key=_place)
    if not cameras:
        return None
    clips = sorted({clip for camera in cameras for clip in videos[camera]})
    return MultiviewFolder(root, tuple(cameras), tuple(clips))


def is_published(folder: MultiviewFolder) -> bool:
    """Return whether names of the published layout are in a folder: of its cameras, or of its other folders."""
    named = any(name in PUBLISHED_IDS for name in folder.cameras)
    return named or any((folder.root / name).is_dir() for name in (CAPTIONS, EMBEDDINGS))


def clip_id_of(clip: str) -> str:
    """Return the id of a clip."""
    return clean_id(clip)


def _place(camera: str) -> tuple[int, str]:
    return (_ORDER.index(camera) if camera in _ORDER else len(_ORDER), camera)


def video_facts(path: Path, clip: str | None = None) -> tuple[int, float]:
    """Return frames and frames per second of a video, from its header where that has them.

    Raises:
        DataError: it cannot be read, or has no frames.
    """
    try:
        expect_plain_file(path, clip)
        with open_video(str(path)) as container:
            stream = container.streams.video[0] if container.streams.video else None
            frames, rate = (stream.frames, stream.average_rate) if stream is not None else (0, None)
    except (OSError, ValueError) as error:
        raise DataError(f"not a readable video: {error}", file=path, clip=clip, wanted="a complete video") from error
    if frames and rate:
        return int(frames), float(rate)
    times_s = VideoFile(path, clip).times_s()
    if not len(times_s):
        raise DataError("no frames in it", file=path, clip=clip, wanted="a video")
    span_s = float(times_s[-1] - times_s[0])
    return len(times_s), (len(times_s) - 1) / span_s if span_s > 0 else 24.0
