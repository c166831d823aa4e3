"""Text embeddings of the captions of clips of several cameras: in a published folder, or beside shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.multiview_folder import CAPTIONS, MultiviewFolder
from cosmos_lidar.clips.view_ids import FRONT
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.captions import decode_caption, join_prefix, prefix_sentences, read_caption
from cosmos_lidar.shards.check import read_samples
from cosmos_lidar.shards.multiview import CAPTION, META, MultiviewMeta, read_facts, read_meta
from cosmos_lidar.shards.multiview_folder import published_views
from cosmos_lidar.shards.text_files import ONE, TEXTS, TextStore, find_embedding, text_key, write_embeddings

Encode = Callable[[Sequence[str]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Embedder:
    """What makes embeddings.

    Attributes:
        load: returns the function texts -> one (tokens, width) array for each; called when the first text is embedded.
        facts: of the encoder: name, longest text; they go into the header of files.
        batch: texts at once.
    """

    load: Callable[[], Encode]
    facts: Mapping[str, str]
    batch: int = 8

    def each(self, texts: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield every text with its embedding; texts of like length are embedded together."""
        ordered = sorted(dict.fromkeys(texts), key=len, reverse=True)
        if not ordered:
            return
        encode = self.load()
        with Meter("embed", "texts", len(ordered)) as meter:
            for start in range(0, len(ordered), self.batch):
                some = ordered[start : start + self.batch]
                yield from zip(some, encode(some), strict=True)
                meter.advance(len(some))


@dataclass(frozen=True)
class Embedded:
    """What was done: texts that were embedded, and files or entries that were there before."""

    texts: int
    kept: int


def embed_folder(
    folder: MultiviewFolder, embedder: Embedder, prompts: Mapping[str, str] | None = None, prefixes: bool = True
) -> Embedded:
    """Embed the captions of a folder of published layout: ``t5_xxl/CAMERA/CLIP.safetensors``; what is there is kept.

    Args:
        folder: with captions in ``metas``.
        embedder: makes the embeddings.
        prompts: camera -> caption that is written to ``metas`` for clips that have none.
        prefixes: embed a sentence about each camera, too: ``cache/prefix_t5_embeddings_CAMERA.safetensors``.

    Raises:
        DataError: a clip without a caption and no prompt for it, or a file that cannot be read or written.
    """
    _write_prompts(folder, prompts or {})
    wanted: dict[str, list[Path]] = defaultdict(list)
    kept = 0
    for stem, text in (*_captions_of(folder), *(_prefixes_of(folder) if prefixes else ())):
        if find_embedding(stem) is None:
            wanted[text].append(stem)
        else:
            kept += 1
    for text, rows in embedder.each(list(wanted)):
        for stem in wanted[text]:
            path = stem.with_name(stem.name + ".safetensors")
            write_embeddings(path, {ONE: rows}, {**embedder.facts, "sha256": text_key(text)})
    return Embedded(len(wanted), kept)


def _write_prompts(folder: MultiviewFolder, prompts: Mapping[str, str]) -> None:
    for camera, text in prompts.items():
        for clip in folder.clips:
            path = folder.caption(camera, clip)
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(path) as partial:
                    partial.write_text(text, encoding="utf-8")


def _captions_of(folder: MultiviewFolder) -> Iterator[tuple[Path, str]]:
    """Yield the path of each embedding without its ending, and the text; the front camera has to have one."""
    views = published_views(folder.cameras)
    for camera in folder.cameras:
        for clip in folder.clips:
            path = folder.caption(camera, clip)
            if path.is_file():
                yield folder.embedding(camera, clip), read_caption(path)
            elif views[camera] == FRONT and find_embedding(folder.embedding(camera, clip)) is None:
                wanted = f"{CAPTIONS}/{camera}/{clip}.txt, or --prompt"
                raise DataError("no caption", file=path, clip=clip, key=camera, wanted=wanted)


def _prefixes_of(folder: MultiviewFolder) -> Iterator[tuple[Path, str]]:
    for camera, sentence in prefix_sentences(published_views(folder.cameras)).items():
        stems = folder.prefixes(camera)
        yield next((stem for stem in stems if find_embedding(stem) is not None), stems[0]), sentence


def embed_shards(folder: Path, embedder: Embedder, prefixes: bool = False) -> Embedded:
    """Embed the captions in shards of type ``multiview``: ``text.safetensors`` beside them, by the text itself.

    What was embedded is written even if the work is interrupted; the same call resumes from there.

    Args:
        folder: of `cosmos-lidar prepare --task multiview`.
        embedder: makes the embeddings.
        prefixes: embed the captions of every view with its prefix sentence, instead of those alone.

    Raises:
        DataError: a shard or a file that cannot be read or written, or no caption in the shards.
        UserError: the file is of another encoder.
    """
    path = folder / TEXTS
    texts = list(dict.fromkeys(_texts_of(folder, prefixes)))
    if not texts:
        wanted = "shards prepared with --captions or --prompt"
        raise DataError("no captions in the shards", file=folder, wanted=wanted)
    store = TextStore(path)
    _expect_same(path, store.facts(), embedder.facts)
    found = {name: _numpy(store, name) for name in store}
    missing = [text for text in texts if text_key(text) not in found]
    made: dict[str, np.ndarray] = {}
    try:
        for text, rows in embedder.each(missing):
            made[text_key(text)] = rows
    finally:
        if made:
            write_embeddings(path, found | made, embedder.facts)
    return Embedded(len(made), len(texts) - len(missing))


def _numpy(store: TextStore, name: str) -> np.ndarray:
    tensor = store.get(name)
    assert tensor is not None  # the name is one of its own
    return tensor.numpy()


def _expect_same(path: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for key, value in wanted.items():
        if found.get(key, value) != value:
            raise UserError(
                f"{path} holds embeddings with {key} {found[key]}, not {value}: use the same, or move the file away"
            )


def _texts_of(folder: Path, prefixes: bool) -> Iterator[str]:
    facts = read_facts(folder)
    shards = sorted(folder.glob("*.tar"))
    for shard in shards:
        for place, parts in read_samples(shard):
            if META not in parts:
                raise DataError("part missing", file=shard, key=META, wanted="shards of --task multiview")
            try:
                yield from _texts_of_sample(parts, read_meta(parts[META]), facts.prefixes if prefixes else None)
            except DataError as error:
                raise error.at(file=shard, key=f"{place.key}.{error.key}") from error


def _texts_of_sample(
    parts: Mapping[str, bytes], meta: MultiviewMeta, prefixes: Mapping[str, str] | None
) -> Iterator[str]:
    """Yield the texts of the slots of a sample: of the front view, or of every view behind its prefix sentence."""
    own = {name: _caption(parts, name + CAPTION) for name in meta.cameras if name + CAPTION in parts}
    front = meta.cameras[meta.front]
    if prefixes is None:
        if front in own:
            yield own[front]
        return
    for name in meta.cameras:
        text = own.get(name, own.get(front))
        if text is not None:
            yield join_prefix(prefixes.get(name, ""), text)


def _caption(parts: Mapping[str, bytes], part: str) -> str:
    try:
        return decode_caption(parts[part])
    except DataError as error:
        raise error.at(key=part) from error
