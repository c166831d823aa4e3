from __future__ import annotations

import re

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer.fsq import FSQ
from tests.models.tokenizer.reference import VECTORS


def test_codes_of_the_quantizer():
    quantizer = FSQ((8, 8, 8, 5, 5, 5))
    known = {0: [-1] * 6, 1: [-0.75] + [-1] * 5, 7: [0.75] + [-1] * 5, 8: [-1, -0.75] + [-1] * 4,
             63999: [0.75] * 3 + [1] * 3, 32000: [-1, -1, 0, 0, 0, 0], 12345: [-0.75, 0.75, -1, 1, 1, -1],
             54321: [-0.75, 0.5, -1, -0.5, -0.5, 1]}  # fmt: skip
    codes = quantizer.indices_to_codes(torch.tensor([list(known)]))
    assert codes[0].T.tolist() == list(known.values())
    everything = torch.arange(64000, dtype=torch.int32)[None]
    # Codes lie in the middle of what rounds to them, except that even levels are shifted: undo tanh to come back.
    half = torch.tensor([3.5035, 3.5035, 3.5035, 2.002, 2.002, 2.002]).view(1, 6, 1)
    width = torch.tensor([4.0, 4, 4, 2, 2, 2]).view(1, 6, 1)
    offset = torch.tensor([0.5, 0.5, 0.5, 0, 0, 0]).view(1, 6, 1)
    levels = quantizer.indices_to_codes(everything) * width
    z = torch.atanh((levels + offset) / half) - torch.atanh(offset / half)
    assert torch.equal(quantizer(z)[0], everything)


def test_quantized_batch_and_gradient():
    z = torch.from_numpy(VECTORS["fsq/z"]).requires_grad_()
    indices, codes = FSQ((8, 8, 8, 5, 5, 5))(z)
    assert (indices.numpy() == VECTORS["fsq/idx"]).all()
    assert (codes.detach().numpy() == VECTORS["fsq/codes"]).all()
    assert (indices.dtype, indices.flatten()[:3].tolist()) == (torch.int32, [907, 32294, 53690])
    codes.sum().backward()
    assert (z.grad > 0).all()  # straight through the rounding: the slope of tanh


@pytest.mark.parametrize(
    ("z", "index", "codes"),
    [
        ((0, 0, 0, 0, 0, 0), 32036, (0, 0, 0, 0, 0, 0)),
        ((10,) * 6, 63999, (0.75, 0.75, 0.75, 1, 1, 1)),
        ((-10,) * 6, 0, (-1,) * 6),
        ((0.3, -0.3, 0.6, -0.6, 0.9, -0.9), 21405, (0.25, -0.25, 0.5, -0.5, 0.5, -0.5)),
        ((0.05, -0.05, 0.15, -0.15, 0.25, -0.25), 32100, (0, 0, 0.25, 0, 0, 0)),
        ((1.5, -1.5, 0.75, -0.75, 0.3, 2), 59783, (0.75, -1, 0.5, -0.5, 0.5, 1)),
    ],
)
def test_published_quantization(z: tuple[float, ...], index: int, codes: tuple[float, ...]):
    indices, given = FSQ((8, 8, 8, 5, 5, 5))(torch.tensor(z, dtype=torch.float32).view(1, 6, 1, 1))
    assert indices.tolist() == [[[index]]]
    assert tuple(given.flatten().tolist()) == codes


@pytest.mark.parametrize("index", [-1, 64000])
def test_indices_outside_the_codebook_are_refused(index: int):
    with pytest.raises(DataError, match=re.escape(f"indices from {min(index, 5)} to {max(index, 5)}") + ".*0 to 63999"):
        FSQ((8, 8, 8, 5, 5, 5)).indices_to_codes(torch.tensor([[5, index]]))
