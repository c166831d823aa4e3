"""Task encoder for multi-view video diffusion: windows of frames of several cameras, with captions.

:mod:`cosmos_lidar.shards.multiview` has the parts of a sample. A window is the same instants of every camera; only
its frames are decoded, from the key frame before it, and none where the latents of all views are in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.energon import (
    DefaultTaskEncoder,
    Sample,
    SkipSample,
    basic_sample_keys,
    edataclass,
    stateless,
)
from torch import Tensor

from cosmos_lidar.clips.fit_images import Lens
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.multiview import (
    META,
    SAMPLE_TYPE,
    MultiviewFacts,
    MultiviewMeta,
    read_meta,
    read_multiview_facts,
)
from cosmos_lidar.shards.multiview_folder import with_indices
from cosmos_lidar.shards.sources import DataPath, Sources, resolve
from energon_tasks.batches import DeviceBatch
from energon_tasks.captions import Captions, SlotTexts
from energon_tasks.cookers import TypedCooker
from energon_tasks.loader import CheckedLoader
from energon_tasks.seeds import noise_seed, sample_seed
from energon_tasks.skips import SkipReport
from energon_tasks.splits import open_split
from energon_tasks.view_windows import (
    CameraFrames,
    ViewWindow,
    camera_mounts,
    fitted_lens,
    open_streams,
    window_poses,
    window_times_s,
)

FindLatent = Callable[[str], Tensor | None]


@edataclass
class MultiviewSample(Sample):
    """A sample as it lies in the shard: parts still encoded, ``root`` the folder of the files that it names."""

    parts: dict[str, bytes]
    meta: MultiviewMeta
    root: Path | None


@edataclass
class MultiviewClip(Sample):
    """One window of a sample; fields as those of :class:`MultiviewBatch`, without the batch axis."""

    frames: Tensor | None
    latents: Tensor | None
    text: Tensor
    view_ids: Tensor
    fps: float
    times_s: Tensor
    poses: Tensor | None
    mounts: Tensor | None
    lenses: list[Lens | None]
    content: list[str]
    sweeps: Tensor | None
    sweep_latents: Tensor | None
    sweep_content: list[str]
    captions: list[str]
    cameras: list[str]
    clip_id: str
    start: int
    noise_seed: int


@edataclass
class MultiviewBatch(DeviceBatch):
    """A batch of clips of V cameras, T frames each; views are in the order of ``ViewWindow.views``.

    With control videos (``ViewWindow.controls``), ``frames``, ``latents`` and ``content`` have V more entries of each
    kind behind those of the cameras, in the order of the kinds.

    Attributes:
        frames: of each sample, (V, 3, T, H, W) uint8 RGB; None where its latents are there, unless pixels are asked
            for always. ``frames[i].transpose(0, 1).flatten(1, 2)`` is the published (3, V T, H, W), one view after the
            other.
        latents: of each sample, (V, C, t, h, w) float32 from a cache, of this window and size; None where the latent of
            one of its views is not there.
        text: (B, V L, D) float32: embedding of view ``i`` in rows ``i L`` to ``(i + 1) L``, zeros behind its tokens.
            With captions on the front view, all other slots are zero.
        view_ids: (B, V) int64, row of each view in the view table; repeat it over the latent frames of a view.
        fps: (B,) float32, frames per second of the window, after the stride.
        padding_mask: (B, 1, H, W) float32, 1 where there is no image; zeros, as images fill their size.
        times_s: (B, V, T) float64, when each image was taken, seconds after the window's first instant.
        poses: (B, V, T, 4, 4) float64, camera axes (x right, y down, z forward) to world; None where not known.
        mounts: (B, V, 4, 4) float64, camera axes to vehicle axes; None where not known.
        lenses: of each sample and view, for images of this size; None where not known.
        content: of each sample and view, a SHA-256 of the encoded video, frames, size and fit: key of cached latents.
        sweeps: of each sample, (1, 3, T, h, w) uint8 range images of the lidar; None where they are not asked for, or
            where their latents are there.
        sweep_latents: of each sample, (1, C, t, h', w') float32 from a cache, or None.
        sweep_content: of each sample, a list of one SHA-256, as ``content``; an empty one without range images.
        captions: of each sample and view, the text of its slot; empty for slots of zeros.
        cameras: of each sample, the names of its views.
        clip_ids: clip of each sample.
        starts: number of the first frame of each window in its sample.
        noise_seeds: a seed for each sample, as those of :class:`~energon_tasks.latents.LatentBatch`.
    """

    frames: list[Tensor | None]
    latents: list[Tensor | None]
    text: Tensor
    view_ids: Tensor
    fps: Tensor
    padding_mask: Tensor
    times_s: Tensor
    poses: Tensor | None
    mounts: Tensor | None
    lenses: list[list[Lens | None]]
    content: list[list[str]]
    sweeps: list[Tensor | None]
    sweep_latents: list[Tensor | None]
    sweep_content: list[list[str]]
    captions: list[list[str]]
    cameras: list[list[str]]
    clip_ids: list[str]
    starts: list[int]
    noise_seeds: list[int]


class MultiviewTaskEncoder(DefaultTaskEncoder[MultiviewSample, MultiviewClip, MultiviewBatch, MultiviewBatch]):
    """Cuts a window out of each sample: from a random start in training, else from the middle.

    Args:
        window: what to cut.
        texts: embeds captions: the slots of the views.
        fresh: another window each time a sample is read (training).
        seed: of windows and noise.
        report: counts samples read and skipped.
        roots: of folders whose samples name files: folder of shards -> folder of the files.
        find_latent: ``content`` of a view -> its latent (C, t, h, w), or None.
        always_pixels: decode frames although all latents are there.
    """

    decoder = None  # the default one decodes whole videos, and executes pickles

    def __init__(
        self,
        window: ViewWindow,
        texts: SlotTexts,
        fresh: bool,
        seed: int,
        report: SkipReport,
        roots: dict[Path, Path | None] | None = None,
        find_latent: FindLatent | None = None,
        always_pixels: bool = False,
    ) -> None:
        super().__init__()
        self.window, self.texts, self.fresh, self.seed, self.report = window, texts, fresh, seed, report
        self.roots, self.find_latent, self.always_pixels = roots or {}, find_latent, always_pixels
        self.cookers = [TypedCooker(self.cook, SAMPLE_TYPE)]

    @stateless
    def cook(self, crude: dict) -> MultiviewSample:
        """Take the parts of a sample out of what Energon read; nothing is decoded before the shuffle buffer."""
        self.report.count_seen()
        if META not in crude:
            raise DataError("part missing", key=META, wanted="shards of `cosmos-lidar prepare --task multiview`")
        parts = {name: part for name, part in crude.items() if isinstance(part, bytes) and not name.startswith("__")}
        root = self.roots.get(Path(str(crude["__sources__"][0].dataset_path)))
        return MultiviewSample(**basic_sample_keys(crude), parts=parts, meta=read_meta(parts[META]), root=root)

    @stateless
    def encode_sample(self, sample: MultiviewSample) -> MultiviewClip:
        """Choose a window, embed its captions, decode its frames or find their latents."""
        meta, window = sample.meta, self.window
        if meta.frames < window.span:
            self.report.count_short()
            raise SkipSample
        places = [meta.place(view) for view in window.views or meta.cameras]
        chosen = self._start(sample) + window.stride * np.arange(window.frames)
        streams, ranges = open_streams(sample, places, chosen, window)
        content, frames, latents = self._read(streams)
        sweep_content, sweeps, sweep_latents = self._read(ranges) if ranges else ([], None, None)
        text, captions = self.texts.of_sample(sample.parts, meta, places, sample.root, _folder_of(sample))
        return MultiviewClip.derive_from(
            sample,
            frames=frames,
            latents=latents,
            text=text,
            view_ids=torch.tensor([meta.view_ids[place] for place in places]),
            fps=meta.fps / window.stride,
            times_s=window_times_s(meta, places, chosen),
            poses=window_poses(sample.parts, places, chosen),
            mounts=camera_mounts(meta, places),
            lenses=[fitted_lens(meta, place, window) for place in places],
            content=content,
            sweeps=sweeps,
            sweep_latents=sweep_latents,
            sweep_content=sweep_content,
            captions=captions,
            cameras=[meta.cameras[place] for place in places],
            clip_id=meta.clip_id,
            start=int(chosen[0]),
            noise_seed=noise_seed(sample, self.seed, self.fresh),
        )

    @stateless
    def batch(self, samples: list[MultiviewClip]) -> MultiviewBatch:
        """Stack windows."""
        height, width = self.window.size
        return MultiviewBatch.from_samples(
            samples,
            frames=[sample.frames for sample in samples],
            latents=[sample.latents for sample in samples],
            text=torch.stack([sample.text for sample in samples]),
            view_ids=torch.stack([sample.view_ids for sample in samples]),
            fps=torch.tensor([sample.fps for sample in samples], dtype=torch.float32),
            padding_mask=torch.zeros(len(samples), 1, height, width),
            times_s=torch.stack([sample.times_s for sample in samples]),
            poses=_stack_known([sample.poses for sample in samples]),
            mounts=_stack_known([sample.mounts for sample in samples]),
            lenses=[sample.lenses for sample in samples],
            content=[sample.content for sample in samples],
            sweeps=[sample.sweeps for sample in samples],
            sweep_latents=[sample.sweep_latents for sample in samples],
            sweep_content=[sample.sweep_content for sample in samples],
            captions=[sample.captions for sample in samples],
            cameras=[sample.cameras for sample in samples],
            clip_ids=[sample.clip_id for sample in samples],
            starts=[sample.start for sample in samples],
            noise_seeds=[sample.noise_seed for sample in samples],
        )

    def _start(self, sample: MultiviewSample) -> int:
        """Return the first frame, seeded by the place in the stream of samples; of the middle window in validation."""
        step = self.window.start_step
        starts = (sample.meta.frames - self.window.span) // step + 1
        if not self.fresh:
            return (starts - 1) // 2 * step
        return int(np.random.default_rng(sample_seed(sample, self.seed, fresh=True)).integers(starts)) * step

    def _read(self, streams: Sequence[CameraFrames]) -> tuple[list[str], Tensor | None, Tensor | None]:
        """Return content, frames where they are wanted, and latents where all are known, of some videos."""
        content = [stream.content() for stream in streams]
        latents = self._latents(content)
        wanted = latents is None or self.always_pixels
        return content, torch.stack([stream.decode() for stream in streams]) if wanted else None, latents

    def _latents(self, content: Sequence[str]) -> Tensor | None:
        """Return (V, C, t, h, w) where the latents of all views are known."""
        if self.find_latent is None:
            return None
        found = []
        for key in content:
            latent = self.find_latent(key)
            if latent is None:
                return None
            found.append(latent.float())
        return torch.stack(found)


def _stack_known(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Stack what all samples have; None where one has none."""
    known = [part for part in parts if part is not None]
    return torch.stack(known) if len(known) == len(parts) else None


def _folder_of(sample: Sample) -> Path | None:
    return Path(str(sample.__sources__[0].dataset_path)) if sample.__sources__ else None


def multiview_loader(
    path: DataPath,
    split: str,
    *,
    window: ViewWindow,
    training: bool,
    captions: Captions = "front",
    text_shape: tuple[int, int] = (512, 1024),
    seed: int = 0,
    shuffle_buffer: int = 8,
    find_latent: FindLatent | None = None,
    always_pixels: bool = False,
    trust_sample_loaders: bool = False,
    **options: Any,
) -> CheckedLoader:
    """Open a split of clips of several cameras as an Energon loader of :class:`MultiviewBatch`, savable and exact.

    Args:
        path: folder of `cosmos-lidar prepare --task multiview`, or of the published guide (``videos``, ``t5_xxl``,
            which is indexed first), several, or a metadataset YAML.
        split: such as ``train``.
        window: frames, image size, views.
        training: shuffled and endless, random windows; otherwise in order, once, the middle window of each sample.
        captions: which slots of the text hold what, see :class:`~energon_tasks.captions.SlotTexts`.
        text_shape: (L, D): rows of each view's slot, width of the text embeddings.
        seed: of order, windows and noise.
        shuffle_buffer: encoded samples to draw from in training.
        find_latent: looks for the latent of a view by its ``content``; called in the worker processes.
        always_pixels: hand over frames although all latents are there.
        trust_sample_loaders: run the Python functions that a ``dataset.yaml`` names.
        **options: of :func:`~energon_tasks.splits.open_split`.

    Raises:
        DataError: not an indexed folder of such shards, or the split is empty.
        UserError: views that are not there, no front view for captions on it, or no sample is long enough.
    """
    sources = resolve(with_indices(path, options.get("bad_sample_budget", 0.001)), split, trust_sample_loaders)
    facts = read_multiview_facts(sources, window.views, window.controls, window.sweeps)
    _check_length(sources, facts, window)
    texts = SlotTexts(captions, text_shape, {folder: found.prefixes for folder, found in facts.items()})
    for folder, found in facts.items():
        texts.check_views(folder, found, window.views)

    def make_encoder(report: SkipReport) -> MultiviewTaskEncoder:
        roots = {folder: found.root for folder, found in facts.items()}
        return MultiviewTaskEncoder(window, texts, training, seed, report, roots, find_latent, always_pixels)

    options |= {"shuffle_buffer": shuffle_buffer}
    return open_split(sources, SAMPLE_TYPE, make_encoder, training=training, seed=seed, **options)


def _check_length(sources: Sources, facts: dict[Path, MultiviewFacts], window: ViewWindow) -> None:
    """Refuse windows that no sample is long enough for: Energon would look for one for ever."""
    longest = max(found.longest for found in facts.values())
    if window.span > longest:
        raise UserError(
            f"{window.frames} frames with stride {window.stride} need samples of {window.span} frames, and those in "
            f"{sources.text} have at most {longest}: prepare longer ones, at a higher --fps or from longer clips"
        )
