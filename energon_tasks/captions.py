"""Text slots of multi-view clips: which embedding stands in the rows of which view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from cosmos_lidar.clips.view_ids import FRONT
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.captions import decode_caption, join_prefix, read_caption
from cosmos_lidar.shards.multiview import CAPTION, EMBEDDING, MultiviewFacts, MultiviewMeta
from cosmos_lidar.shards.text_files import PREFIXES, TEXTS, TextStore, read_embedding, read_npy_embedding, text_key

Captions = Literal["front", "every", "none"]


class SlotTexts:
    """Embeds the captions of samples: (V L, D), slot ``i`` for the i-th view in the order of the sample.

    Args:
        captions: ``front``: the caption of the front view (view id 0) in its slot, zeros in all others, as published;
            ``every``: in every slot the prefix sentence of the view and its own caption, or that of the front view;
            ``none``: zeros.
        shape: (L, D): embeddings are cut to L rows, or filled with zeros.
        prefixes: of each folder, camera -> sentence.

    Embeddings are looked for in the file that a sample names, in its parts, then by the text in the folder's
    ``text.safetensors``. A prefix whose sentence was embedded by itself (``prefixes.safetensors``) stands before the
    caption's rows.
    """

    def __init__(
        self, captions: Captions, shape: tuple[int, int], prefixes: Mapping[Path, Mapping[str, str]] | None = None
    ) -> None:
        if captions not in get_args(Captions):
            raise UserError(f"captions {captions!r}: valid: {', '.join(get_args(Captions))}")
        if min(shape) < 1:
            raise UserError(f"text_shape {shape}: rows and width must be at least 1")
        self.captions, self.shape, self.prefixes = captions, shape, dict(prefixes or {})
        self._stores: dict[Path, tuple[TextStore, TextStore]] = {}

    def check_views(self, folder: Path, facts: MultiviewFacts, views: Sequence[str | int]) -> None:
        """Refuse captions on the front view of clips that have none.

        Raises:
            UserError: no view of id 0 is taken.
        """
        names = dict(zip(facts.cameras, facts.view_ids, strict=True))
        ids = [names[view] if isinstance(view, str) else view for view in views or facts.cameras]
        if self.captions == "front" and FRONT not in ids:
            raise UserError(
                f"{folder}: captions=front, and no view has id {FRONT} (there are {ids}): take the front view, "
                "or captions=every or none"
            )

    def of_sample(
        self,
        parts: Mapping[str, bytes],
        meta: MultiviewMeta,
        places: Sequence[int],
        root: Path | None,
        folder: Path | None,
    ) -> tuple[Tensor, list[str]]:
        """Return (V L, D) float32, and the text of each slot.

        Args:
            parts: of the sample.
            meta: its description.
            places: of the views in the sample.
            root: of the files that the description names.
            folder: of the shards.

        Raises:
            DataError: a caption or its embedding is missing, or has another width.
        """
        rows, width = self.shape
        slots, texts = torch.zeros(len(places), rows, width), [""] * len(places)
        finder = _Finder(self, parts, meta, root, folder)
        for slot, place in enumerate(places):
            if self.captions == "front" and place == meta.front:
                found, texts[slot] = finder.caption(place)
            elif self.captions == "every":
                found, texts[slot] = finder.prefixed(place)
            else:
                continue
            if found.shape[1] != width:
                raise DataError(
                    f"a text embedding of width {found.shape[1]}", clip=meta.clip_id, key=meta.cameras[place],
                    wanted=f"width {width}, as text_shape has it",
                )  # fmt: skip
            kept = found[:rows]
            slots[slot, : len(kept)] = kept
        return slots.flatten(0, 1), texts

    def stores(self, folder: Path | None) -> tuple[TextStore, TextStore]:
        """Return the embeddings of a folder: of texts, and of the prefixes of cameras."""
        folder = folder or Path()
        if folder not in self._stores:
            self._stores[folder] = TextStore(folder / TEXTS), TextStore(folder / PREFIXES)
        return self._stores[folder]


class _Finder:
    """Looks for the captions of one sample and their embeddings."""

    def __init__(
        self, texts: SlotTexts, parts: Mapping[str, bytes], meta: MultiviewMeta, root: Path | None, folder: Path | None
    ) -> None:
        self.parts, self.meta, self.root = parts, meta, root
        self.texts, self.by_camera = texts.stores(folder)
        self.prefixes = texts.prefixes.get(folder, {}) if folder is not None else {}

    def caption(self, place: int) -> tuple[Tensor, str]:
        """Return embedding and text of a camera's own caption, else of the front camera's."""
        front = self.meta.front
        for number in dict.fromkeys((place, front)):
            text = self._text(number)
            found = self._embedding(number, text)
            if found is not None:
                return found, text or ""
        name = self.meta.cameras[front]
        if self._text(front) is None:
            wanted = f"{name}{CAPTION}, an embedding of it, or data.captions=none"
            raise DataError("no caption", clip=self.meta.clip_id, key=name, wanted=wanted)
        wanted = f"`cosmos-lidar embed-captions` for this folder, {name}{EMBEDDING}, or data.captions=none"
        raise DataError("the caption has no embedding", clip=self.meta.clip_id, key=name, wanted=wanted)

    def prefixed(self, place: int) -> tuple[Tensor, str]:
        """Return embedding and text of a camera's prefix sentence followed by its caption."""
        name = self.meta.cameras[place]
        text = self._text(place)
        text = self._text(self.meta.front) if text is None else text
        sentence = self.prefixes.get(name)
        if sentence is not None and text is not None:
            both = join_prefix(sentence, text)
            found = self.texts.get(text_key(both))
            if found is not None:
                return found.float(), both
        prefix = self.by_camera.get(name)
        if prefix is None:
            wanted = f"a prefix sentence of each camera: `cosmos-lidar embed-captions --prefixes`, or {PREFIXES}"
            raise DataError("no prefix for this camera", clip=self.meta.clip_id, key=name, wanted=wanted)
        found, own = self.caption(place)
        return torch.cat([prefix.float(), found]), join_prefix(sentence or "", own)

    def _text(self, place: int) -> str | None:
        name = self.meta.cameras[place]
        try:
            if name + CAPTION in self.parts:
                return decode_caption(self.parts[name + CAPTION])
            if self.root is not None and self.meta.files and self.meta.files[place].caption:
                return read_caption(self.root / self.meta.files[place].caption)
        except DataError as error:
            raise error.at(clip=self.meta.clip_id, key=name + CAPTION) from error
        return None

    def _embedding(self, place: int, text: str | None) -> Tensor | None:
        name = self.meta.cameras[place]
        if self.root is not None and self.meta.files and self.meta.files[place].embedding:
            return torch.from_numpy(read_embedding(self.root / self.meta.files[place].embedding)).float()
        if name + EMBEDDING in self.parts:
            return torch.from_numpy(read_npy_embedding(self.parts[name + EMBEDDING], name + EMBEDDING)).float()
        found = None if text is None else self.texts.get(text_key(text))
        return None if found is None else found.float()
