"""Inputs of multi-view generation: conditioning frames of files, and text in the slots of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.families.multiview.inputs import front_slot, input_of_files, text_slots
from cosmos_lidar.viz.video import write_video

DATA = MultiviewDataConfig(view_ids=[5, 0, 1], latent_shape=[16, 2, 4, 6], text_shape=[4, 8])


def embed(texts: list[str]) -> list[torch.Tensor]:
    return [torch.full((6, 8), float(len(text))) for text in texts]


def slot_values(slots: torch.Tensor | None) -> list[float]:
    assert slots is not None
    return [float(value) for value in slots.view(3, 4, 8)[:, -1, 0]]


def test_the_front_view_has_the_text() -> None:
    slots, texts = text_slots("a street", DATA, embed)
    assert texts == ["", "a street", ""]
    assert slot_values(slots) == [0.0, 8.0, 0.0]
    assert front_slot(MultiviewDataConfig(view_ids=[3, 4])) == 0


def test_every_view_has_its_line_with_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("one\ntwo\nthree\n")
    data = MultiviewDataConfig(view_ids=[5, 0, 1], text_shape=[4, 8], captions="every")
    slots, texts = text_slots(str(tmp_path / "prompts.txt"), data, embed)
    assert [text.split()[-1] for text in texts] == ["one", "two", "three"]
    assert texts[1].startswith("A camera on a car looks straight ahead.")
    assert slot_values(slots) == [float(len(text)) for text in texts]


def test_embeddings_of_one_text_and_of_all_slots(tmp_path: Path) -> None:
    torch.save(torch.arange(96.0).view(1, 12, 8), tmp_path / "all.pt")
    assert torch.equal(text_slots(str(tmp_path / "all.pt"), DATA, None)[0], torch.arange(96.0).view(12, 8))
    np.save(tmp_path / "one.npy", np.ones((2, 8), np.float16))
    save_file({"embedding": torch.ones(2, 8)}, tmp_path / "one.safetensors")
    for name in ("one.npy", "one.safetensors"):
        slots, _ = text_slots(str(tmp_path / name), DATA, None)
        assert slots.sum(1).tolist() == [0.0] * 4 + [8.0, 8.0] + [0.0] * 6


def test_control_videos_of_files_begin_with_the_result(tmp_path: Path) -> None:
    """The first frames of control videos, whereas conditioning frames are the last ones of theirs."""
    for name in ("a", "b", "c"):
        write_video(tmp_path / f"{name}.mp4", [np.full((32, 48, 3), 20 * n, np.uint8) for n in range(7)], crf=0)
    files = [tmp_path / f"{name}.mp4" for name in ("a", "b", "c")]
    found = input_of_files("x", files, DATA, 1, None, controls={"depth": files})
    levels = found.controls["depth"].float().mean((1, 3, 4))
    assert found.controls["depth"].shape == (3, 3, 5, 32, 48)
    assert torch.allclose(levels, torch.tensor([0.0, 20, 40, 60, 80]).expand(3, 5), atol=2)
    assert float(found.frames.float().mean()) == pytest.approx(120, abs=2)
    data = MultiviewDataConfig(view_ids=[5, 0, 1], latent_shape=[16, 3, 4, 6])
    with pytest.raises(DataError, match="7 frames of a control video"):
        input_of_files("x", files, data, 1, None, controls={"depth": files})


def test_no_text() -> None:
    assert text_slots("", DATA, embed) == (None, [])
    assert text_slots("x", MultiviewDataConfig(text_shape=[]), embed) == (None, [])


def test_text_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a text encoder"):
        text_slots("a street", DATA, None)
    (tmp_path / "two.txt").write_text("one\ntwo\n")
    with pytest.raises(UserError, match="2 lines for 3 views"):
        text_slots(str(tmp_path / "two.txt"), DATA, embed)
    np.save(tmp_path / "wide.npy", np.ones((2, 9), np.float32))
    with pytest.raises(DataError, match="width 9"):
        text_slots(str(tmp_path / "wide.npy"), DATA, None)
    torch.save({"a": 1}, tmp_path / "table.pt")
    with pytest.raises(DataError, match=r"dict .*table.pt"):
        text_slots(str(tmp_path / "table.pt"), DATA, None)


def test_the_last_frames_are_taken_and_cover_the_size(tmp_path: Path) -> None:
    files = []
    for view in range(3):
        images = [np.full((64, 128, 3), 40 * view + 10 * frame, np.uint8) for frame in range(6)]
        files.append(tmp_path / f"{view}.mp4")
        write_video(files[-1], images, crf=0)
    found = input_of_files("x", files, DATA, 5, None)
    assert found.frames.shape == (3, 3, 5, 32, 48)
    wanted = torch.tensor([[40.0 * view + 10 * frame for frame in range(1, 6)] for view in range(3)])
    assert torch.allclose(found.frames.float().mean((1, 3, 4)), wanted, atol=2)
    assert found.cameras == ("view_5", "view_0", "view_1")
    none = input_of_files("x", [], DATA, 0, None)
    assert none.frames.shape == (3, 3, 0, 32, 48)


def test_videos_that_do_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    write_video(file, [np.zeros((32, 48, 3), np.uint8)] * 4)
    with pytest.raises(UserError, match="2 videos for 3 views"):
        input_of_files("x", [file, file], DATA, 1, None)
    with pytest.raises(DataError, match=r"4 frames .*a.mp4.*3 views of equal length"):
        input_of_files("x", [file], DATA, 1, None)
    with pytest.raises(DataError, match="4 frames of a view"):
        input_of_files("x", [file] * 3, DATA, 5, None)
