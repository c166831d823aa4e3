"""The T5 encoder: what padding and cutting do, against one text at a time by transformers itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.text_encoder import TextEncoder, load_text_encoder
from tests.models.tiny_t5 import WIDTH, write_tiny_t5

TEXTS = ("a street in the rain.", "a car", "the fence in the street in the rain in a street")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return load_text_encoder(folder)


def test_a_batch_gives_what_padding_to_512_gives(folder: Path, encoder: TextEncoder):
    from transformers import AutoTokenizer, T5EncoderModel

    tokenizer, network = AutoTokenizer.from_pretrained(folder), T5EncoderModel.from_pretrained(folder).eval()
    found = encoder.encode(TEXTS)
    for text, rows in zip(TEXTS, found, strict=True):
        tokens = tokenizer(text, padding="max_length", truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            states = network(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        length = int(tokens.attention_mask.sum())
        assert rows.shape == (length, WIDTH)
        assert torch.allclose(rows, states[0, :length], atol=1e-5)
    assert len({len(rows) for rows in found}) == 3
    assert rows.std() > 0.1


def test_long_texts_are_cut(folder: Path):
    short = load_text_encoder(folder, max_length=4)
    assert [len(rows) for rows in short.encode(TEXTS)] == [4, 3, 4]


def test_an_empty_caption_is_its_end_mark(encoder: TextEncoder):
    assert encoder.encode([""])[0].shape == (1, WIDTH)


def test_what_cannot_be(folder: Path, encoder: TextEncoder, tmp_path: Path):
    with pytest.raises(UserError, match="no texts"):
        encoder.encode([])
    with pytest.raises(UserError, match="overflows in float16"):
        load_text_encoder(folder, dtype=torch.float16)
    with pytest.raises(UserError, match=f"text encoder {tmp_path}.*config.json, weights and tokenizer"):
        load_text_encoder(tmp_path)
    with pytest.raises(UserError, match="max_length 0"):
        load_text_encoder(folder, max_length=0)


def test_pickled_weights_are_not_run(folder: Path, tmp_path: Path):
    import os
    import shutil

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    shutil.copytree(folder, tmp_path / "t5")
    (tmp_path / "t5" / "model.safetensors").unlink()
    torch.save({"encoder": Evil()}, tmp_path / "t5" / "pytorch_model.bin")
    with pytest.raises(UserError, match="text encoder"):
        load_text_encoder(tmp_path / "t5")
    assert not (tmp_path / "executed").exists()
