"""Captions to embeddings to training: the guide's folder and shards, with a T5 of random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("megatron.energon")

from cosmos_lidar.cli import main
from cosmos_lidar.files import read_header
from cosmos_lidar.models.text_encoder import TextEncoder, load_text_encoder
from cosmos_lidar.shards.captions import ClipCaptions, prefix_sentences
from cosmos_lidar.shards.files import write_tar
from cosmos_lidar.shards.multiview import MultiviewMeta, write_meta
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.sweeps import PackedRun
from cosmos_lidar.shards.text_files import TextStore, read_embedding, text_key
from energon_tasks.multiview import ViewWindow, multiview_loader
from tests.clips.readers.test_multiview import write_sample
from tests.models.tiny_t5 import WIDTH, write_tiny_t5
from tests.shards.cameras import IDS, NAMES, camera_clip

ROWS = 24


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_t5(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="module")
def encoder(t5: Path) -> TextEncoder:
    return load_text_encoder(t5)


def embed(folder: Path, t5: Path, *words: str) -> int:
    return main(["embed-captions", str(folder), "--encoder", str(t5), "--device", "cpu", *words])


def slots(path: Path, captions: str) -> tuple[torch.Tensor, list[str]]:
    window = ViewWindow(frames=2, size=(48, 64))
    (batch, *_) = multiview_loader(path, "train", window=window, training=False, captions=captions, batch_size=1,
                                   text_shape=(ROWS, WIDTH), rank=0, world_size=1)  # fmt: skip
    return batch.text[0].reshape(-1, ROWS, WIDTH), batch.captions[0]


def padded(encoder: TextEncoder, *texts: str) -> torch.Tensor:
    rows = torch.cat([rows.half().float() for text in texts for rows in encoder.encode([text])])[:ROWS]
    return torch.cat([rows, torch.zeros(ROWS - len(rows), WIDTH)])


def test_the_guides_folder(t5: Path, encoder: TextEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_sample(tmp_path, clips=("a", "b"))
    (tmp_path / "metas" / "pinhole_front" / "a.txt").write_text("a car in the rain")
    (tmp_path / "metas" / "pinhole_front" / "b.txt").unlink()
    assert embed(tmp_path, t5) == 2
    assert "no caption" in capsys.readouterr().err
    assert embed(tmp_path, t5, "--prompt", "a street") == 0
    assert "11 texts embedded, 0 were there" in capsys.readouterr().out  # 2 of the front, 4 others, 5 sentences
    path = tmp_path / "t5_xxl" / "pinhole_front" / "a.safetensors"
    assert torch.equal(torch.from_numpy(read_embedding(path)), encoder.encode(["a car in the rain"])[0].half())
    assert read_header(path, "x") == {"encoder": "tiny", "max_length": "512",
                                      "sha256": text_key("a car in the rain")}  # fmt: skip
    assert (tmp_path / "metas" / "pinhole_front" / "b.txt").read_text() == "a street"
    text, captions = slots(tmp_path, "front")
    assert captions == ["", "", "a car in the rain", "", ""]
    assert torch.allclose(text[2], padded(encoder, "a car in the rain"))
    assert not text[[0, 1, 3, 4]].any()
    sentence = prefix_sentences({NAMES[0]: 4})[NAMES[0]]
    text, _ = slots(tmp_path, "every")
    assert torch.allclose(text[0], padded(encoder, sentence, "A street, seen by pinhole_side_left."), atol=2e-3)
    before = path.stat().st_mtime_ns
    assert embed(tmp_path, t5) == 0
    assert "0 texts embedded, 15 were there" in capsys.readouterr().out
    assert path.stat().st_mtime_ns == before


def test_a_prompt_file_has_a_line_for_every_view(t5: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_sample(tmp_path / "waymo", clips=("a",))
    for file in (tmp_path / "waymo" / "metas").rglob("*.txt"):
        file.unlink()
    (tmp_path / "p.txt").write_text("\n".join(["a fence", "a car", "rain"]))
    assert embed(tmp_path / "waymo", t5, "--prompt-file", str(tmp_path / "p.txt")) == 2
    assert "3 lines for 5 views" in capsys.readouterr().err
    (tmp_path / "p.txt").write_text("\n".join(f"a car {name}" for name in NAMES))
    assert embed(tmp_path / "waymo", t5, "--prompt-file", str(tmp_path / "p.txt"), "--no-prefixes") == 0
    assert "5 texts embedded" in capsys.readouterr().out
    assert (tmp_path / "waymo" / "metas" / NAMES[1] / "a.txt").read_text() == f"a car {NAMES[1]}"
    assert not (tmp_path / "waymo" / "cache").exists()


def test_shards(t5: Path, encoder: TextEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    captions = ClipCaptions("a street", {"clip0": {"pinhole_front": "the rain", NAMES[0]: "a fence"}})
    clips = [camera_clip(f"clip{number}", 2) for number in range(3)]
    write_multiview(clips, tmp_path / "out", MultiviewOptions(captions=captions), PrepareOptions(split=(1.0,)))
    assert embed(tmp_path / "out", t5) == 0
    assert "2 texts embedded, 0 were there" in capsys.readouterr().out
    assert sorted(TextStore(tmp_path / "out" / "text.safetensors")) == sorted(map(text_key, ("the rain", "a street")))
    text, texts = slots(tmp_path / "out", "front")
    assert torch.allclose(text[IDS.index(0)], padded(encoder, texts[IDS.index(0)]), atol=2e-3)
    assert embed(tmp_path / "out", t5, "--prefixes", "--batch-size", "3") == 0
    assert "10 texts embedded, 0 were there" in capsys.readouterr().out
    text, texts = slots(tmp_path / "out", "every")
    for rows, caption in zip(text, texts, strict=True):
        assert torch.allclose(rows, padded(encoder, caption), atol=2e-3)
    assert len(set(texts)) == 5
    assert embed(tmp_path / "out", t5, "--max-length", "8") == 2
    assert "holds embeddings with max_length 512, not 8" in capsys.readouterr().err
    assert embed(tmp_path / "out", t5, "--prompt", "x") == 2


def test_what_is_no_such_folder(t5: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert embed(tmp_path, t5) == 2
    assert "expected multiview.json" in capsys.readouterr().err
    write_sample(tmp_path / "waymo", clips=("a",))
    assert embed(tmp_path / "waymo", tmp_path / "nothing") == 2
    assert "config.json, weights and tokenizer of T5" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        embed(tmp_path / "waymo", t5, "--batch-size", "0")
    write_multiview([camera_clip("a", 2)], tmp_path / "out", MultiviewOptions(), PrepareOptions(split=(1.0,)))
    assert embed(tmp_path / "out", t5) == 2
    assert "no captions in the shards" in capsys.readouterr().err
    meta = write_meta(MultiviewMeta(clip_id="a", cameras=["front"], view_ids=[0], frames=1, fps=1.0))
    (shard,) = (tmp_path / "out").glob("*.tar")
    write_tar(shard, [PackedRun("a_000000", {"meta.json": meta, "front.txt": b"\xff"}, 1, 0)])
    assert embed(tmp_path / "out", t5) == 2
    assert f"[file {shard}, key a_000000.front.txt]" in capsys.readouterr().err
