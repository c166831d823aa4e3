"""Coding of range images with validity: interpolation, channels, and what files of weights keep of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.tokenizer import Tokenizer, build_tokenizer, load_tokenizer
from cosmos_lidar.models.tokenizer.checkpoint import open_tokenizer
from cosmos_lidar.models.tokenizer.config import tokenizer_config
from cosmos_lidar.models.tokenizer.export import export_safetensors, export_tokenizer
from cosmos_lidar.models.tokenizer.range_coding import (
    RangeChannels,
    coding_of,
    decode_validity,
    encode_validity,
    fill_missing,
    find_returns,
)
from cosmos_lidar.parallel.materialize import with_weights

SHAPE = {"patch_size": 8, "channels": 32, "channels_mult": (1,), "num_res_blocks": 1, "mid_attention": False}


def small(coding: str = "validity", scale: bool = True) -> Tokenizer:
    torch.manual_seed(4)
    return build_tokenizer("CI8x8", **SHAPE, coding=coding, scale=scale).eval()


def image_with_holes(height: int = 16, width: int = 24) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    value = torch.rand(2, 1, height, width, generator=rng) * 1.8 - 0.9
    holes = torch.rand(value.shape, generator=rng) < 0.4
    holes[0, :, 3] = True
    value[holes] = -1.0
    return value.expand(-1, 3, -1, -1).contiguous()


def test_missing_pixels_are_interpolated_along_rows() -> None:
    image = image_with_holes()
    valid = find_returns(image)
    filled = fill_missing(image[:, :1], valid).numpy()
    columns = np.arange(image.shape[-1])
    for batch, row in np.ndindex(*image.shape[::2]):
        own = valid[batch, 0, row].numpy()
        if own.any():  # numpy repeats the ends beyond the first and the last point, too
            expected = np.interp(columns, columns[own], image[batch, 0, row].numpy()[own])
            np.testing.assert_allclose(filled[batch, 0, row], expected, atol=1e-6)
    np.testing.assert_array_equal(filled[0, 0, 3], filled[0, 0, 2])  # the row above


def test_rows_above_all_returns_and_empty_images() -> None:
    value, valid = torch.full((1, 1, 4, 3), -1.0), torch.zeros(1, 1, 4, 3, dtype=torch.bool)
    assert (fill_missing(value, valid) == 1).all()
    value[0, 0, 2, 1], valid[0, 0, 2, 1] = 0.25, True
    assert (fill_missing(value, valid) == 0.25).all()


def test_limits_are_no_returns_and_inputs_have_validity() -> None:
    image = torch.tensor([-1.0, -0.999, 0.5, 1.0]).expand(1, 3, 1, 4)
    assert find_returns(image).flatten().tolist() == [False, True, True, False]
    coded = encode_validity(image)
    assert coded[0, 1, 0].tolist() == [-1, 1, 1, -1]
    assert torch.equal(coded[:, 0], coded[:, 2])
    assert coded[0, 0, 0].tolist() == pytest.approx([-0.999, -0.999, 0.5, 0.5])


def test_decoded_channels_and_the_published_image() -> None:
    raw = torch.tensor([[0.3, 1.4, -3.0], [0.5, -0.1, 0.2], [0.0, 0.5, -9.0]]).view(1, 3, 1, 3)
    made = decode_validity(raw)
    assert made.logit.flatten().tolist() == pytest.approx([2.0, -0.4, 0.8])
    assert made.log_scale.flatten().tolist() == pytest.approx([-4.0, -2.0, -12.0])
    image = made.published()
    assert image.shape == (1, 3, 1, 3)
    assert image[0, 2, 0].tolist() == pytest.approx([0.3, -1.0, -0.9999])  # a return is never at a limit
    assert find_returns(image).flatten().tolist() == [True, False, True]


@pytest.mark.parametrize("scale", [False, True])
def test_every_file_of_weights_keeps_the_coding(tmp_path: Path, scale: bool) -> None:
    network, image = small(scale=scale), image_with_holes()
    export_tokenizer(network, network, tmp_path, 7)
    latents = network.encode(image)
    for name in ("iter_000000007.pt", "iter_000000007.safetensors", "iter_000000007_enc.jit", "iter_000000007_ema.jit"):
        loaded = load_tokenizer(tmp_path / name)
        assert (loaded.config.coding, loaded.config.scale) == ("validity", scale)
        assert not loaded.config.mid_attention
        assert torch.equal(loaded.encode(image), latents)
    encoder, decoder = (torch.jit.load(tmp_path / f"iter_000000007_{part}.jit") for part in ("enc", "dec"))
    assert torch.allclose(encoder(image)[0], latents, atol=1e-5)
    made = network.decode(latents)
    assert 0 < find_returns(made).float().mean() < 1
    assert torch.allclose(decoder(latents), made, atol=1e-5)


def test_a_published_network_has_no_trace_of_it(tmp_path: Path) -> None:
    network = small("published", False)
    assert not [key for key in network.state_dict() if "coding" in key]
    image = image_with_holes()
    z = network.quant_conv(network.encoder(image))
    assert torch.equal(network.encode(image), z)
    assert torch.equal(network.decode(z), network.decoder(network.post_quant_conv(z)))
    with pytest.raises(UserError, match="published coding, which has no validity"):
        network.decode_channels(z)


def test_a_network_takes_another_coding_when_it_is_opened(tmp_path: Path) -> None:
    network = small("published", False)
    export_safetensors(network, tmp_path / "published.safetensors")
    opened = with_weights(*open_tokenizer(tmp_path / "published.safetensors", ("validity", True)))
    assert (opened.config.coding, opened.config.scale) == ("validity", True)
    own = opened.state_dict()
    assert all(torch.equal(own[key], value) for key, value in network.state_dict().items())
    export_safetensors(opened, tmp_path / "validity.safetensors")
    back = with_weights(*open_tokenizer(tmp_path / "validity.safetensors", ("published", False)))
    assert back.state_dict().keys() == network.state_dict().keys()


def test_the_plain_output_is_that_of_the_channels() -> None:
    network = small()
    z = network.encode(image_with_holes())
    channels = network.decode_channels(z)
    assert isinstance(channels, RangeChannels)
    assert torch.equal(network.decode(z), channels.published())


@pytest.mark.parametrize("values", [[0, 0], [1, 2], [1], [2, 0]])
def test_unknown_codings_in_files_are_refused(tmp_path: Path, values: list[int]) -> None:
    from safetensors.torch import save_file

    state = small().state_dict() | {"range_coding": torch.tensor(values)}
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "odd.safetensors")
    with pytest.raises(DataError, match=r"range_coding is .*expected \[1, 0\] or \[1, 1\]"):
        load_tokenizer(tmp_path / "odd.safetensors")
    assert coding_of(None) == ("published", False)
    with pytest.raises(ValueError, match="expected"):
        coding_of(torch.tensor([1.0, 0.0]))


def test_impossible_configurations() -> None:
    with pytest.raises(UserError, match="coding='inverse'; valid: published, validity"):
        tokenizer_config("CI8x8", coding="inverse")
    with pytest.raises(UserError, match="scale=True needs coding=validity"):
        tokenizer_config("CI8x8", scale=True)
