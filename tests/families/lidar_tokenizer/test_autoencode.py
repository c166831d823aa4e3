from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cosmos_lidar.clips import Sweep
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidar_tokenizer.autoencode import (
    AutoencodeOptions,
    autoencode_clip,
    decode_maps,
    decodes_validity,
    frame_points,
    from_image,
    full_directions,
    pad_image,
    reconstruct,
    to_image,
)
from cosmos_lidar.families.lidar_tokenizer.evaluate import Identity, Resize
from cosmos_lidar.families.lidar_tokenizer.score import ClipScore
from cosmos_lidar.metrics.lidar import RangeErrors
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.tokenizer.network import ContinuousTokenizer
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.sensors.sensor import RangeMapFormat


class Shift(nn.Module):
    """Decodes every range 1 m too far."""

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents + 2.0 / 95.0


def test_published_padding_is_centred_zeros_to_sixteen():
    padded, (top, left) = pad_image(torch.ones(1, 3, 512, 1800), "published")
    assert padded.shape == (1, 3, 512, 1808)
    assert (top, left) == (0, 4)
    assert padded[..., :4].abs().sum() == 0
    assert padded[..., -4:].abs().sum() == 0


def test_edge_padding_repeats_the_border_to_eight():
    image = torch.arange(12.0).reshape(1, 1, 3, 4).expand(1, 3, 3, 4)
    padded, (top, left) = pad_image(image, "edge")
    assert padded.shape == (1, 3, 8, 8)
    assert padded[0, 0, :, 0].tolist() == [0, 0, 0, 4, 8, 8, 8, 8]
    torch.testing.assert_close(padded[..., top : top + 3, left : left + 4], image)
    assert pad_image(torch.ones(1, 3, 512, 1800), "edge")[0].shape == (1, 3, 512, 1800)


def test_published_row_and_mean_row():
    options = AutoencodeOptions()
    rows = torch.linspace(-1, 1, 8).reshape(1, 1, 8, 1).expand(1, 3, 8, 4)
    published = from_image(rows, options)
    averaged = from_image(rows, replace(options, rows_taken="mean"))
    to_meters = (rows[0, 0, :, 0] + 1) / 2 * 95 + 5
    torch.testing.assert_close(published[0, :, 0], to_meters[2::4])
    torch.testing.assert_close(averaged[0, :, 0], to_meters.reshape(2, 4).mean(1))


@pytest.mark.parametrize("padding", ["edge", "published"])
@pytest.mark.parametrize("rows_taken", ["published", "mean"])
@pytest.mark.parametrize("repeat_columns", [1, 3])
def test_identity_gives_the_clipped_ranges_back(padding, rows_taken, repeat_columns):
    options = AutoencodeOptions(padding=padding, rows_taken=rows_taken, repeat_columns=repeat_columns)
    ranges = torch.rand(2, 5, 9, generator=torch.manual_seed(0)) * 110
    decoded = reconstruct(Identity(), ranges, options)
    torch.testing.assert_close(decoded, ranges.clamp(5, 100), rtol=0, atol=2e-5)


def test_decoded_values_beyond_the_limits_are_clipped():
    options = AutoencodeOptions()
    decoded = reconstruct(Shift(), torch.full((1, 2, 8), 99.8), options)
    torch.testing.assert_close(decoded, torch.full((1, 2, 8), 100.0))
    assert to_image(torch.zeros(1, 2, 8), options).unique().tolist() == [-1.0]


def test_batches_make_no_difference(small_sensor, make_clip):
    clip = make_clip(small_sensor, frames=5)
    one = list(autoencode_clip(Resize(), clip, AutoencodeOptions(format=small_sensor.format)))
    three = list(autoencode_clip(Resize(), clip, AutoencodeOptions(format=small_sensor.format, batch_size=3)))
    assert [frame.frame_id for frame in three] == list(clip.frame_ids)
    for first, second in zip(one, three, strict=True):
        np.testing.assert_allclose(first.decoded_m, second.decoded_m, atol=1e-5)
    assert len(list(autoencode_clip(Resize(), clip, AutoencodeOptions(format=small_sensor.format), max_frames=2))) == 2


def test_input_mask_and_decoded_mask(small_sensor, make_clip):
    clip = make_clip(small_sensor, frames=1)
    options = AutoencodeOptions(format=small_sensor.format)
    (by_input,) = autoencode_clip(Shift(), clip, options)
    (by_decoded,) = autoencode_clip(Shift(), clip, replace(options, mask="decoded"))
    np.testing.assert_array_equal(by_input.reconstruction_m > 0, by_input.reference_m > 5.1)
    # An empty pixel comes back as 6 m: with the decoded mask that is an invented return.
    empty = by_decoded.reference_m == 0
    assert empty.any()
    np.testing.assert_allclose(by_decoded.reconstruction_m[empty], 6.0, atol=1e-4)


@pytest.mark.parametrize("mask", ["input", "decoded"])
def test_what_is_valid_lies_inside_the_range_limits(small_sensor, make_clip, mask):
    clip = make_clip(small_sensor, frames=1)
    wide = clip.with_lidar(read_sweep=lambda index: Sweep(range_m=np.maximum(3 * clip.range_map(index) - 27, 0)))
    (frame,) = autoencode_clip(Shift(), wide, AutoencodeOptions(format=small_sensor.format, mask=mask))
    measured = frame.reference_m
    inside = (measured > 5.1) & (measured < 99.9)
    assert np.array_equal(frame.valid_m, np.where(inside, measured, 0))
    assert ((measured > 0) & (measured < 5)).any()
    assert (measured > 100).any()  # the maps reach from 3 to 117 m


def test_points_keep_the_azimuth_of_the_pixel_they_came_from(make_clip):
    sensor = uniform_sensor(3, 8)
    options = AutoencodeOptions()
    range_m = np.zeros((3, 8), np.float32)
    range_m[1, 5], range_m[2, 2] = 20.0, 30.0
    clip = make_clip(sensor, frames=1).with_lidar(read=lambda index: Sweep(range_m=range_m))
    (frame,) = autoencode_clip(Identity(), clip, options)
    directions = full_directions(sensor, options)
    points = frame_points(frame.reconstruction_m, frame.source, directions)
    np.testing.assert_allclose(points, [20 * directions[1, 5], 30 * directions[2, 2]], atol=1e-4)


def test_wrong_shape_and_nan_name_clip_and_frame(small_sensor, make_clip):
    clip = make_clip(small_sensor, frames=1)
    wrong = clip.with_lidar(read=lambda index: Sweep(range_m=np.ones((4, 8), np.float32)))
    expected = r"a range map of 4 x 8 pixels .*clip drive.*frame 000000.*16 x 64 of sensor small"
    with pytest.raises(DataError, match=expected):
        next(autoencode_clip(Identity(), wrong, AutoencodeOptions()))
    broken = clip.with_lidar(read=lambda index: Sweep(range_m=np.full((16, 64), np.nan, np.float32)))
    with pytest.raises(DataError, match=r"ranges that are not finite .*clip drive.*frame 000000"):
        next(autoencode_clip(Identity(), broken, AutoencodeOptions()))


def test_no_frames(small_sensor, make_clip):
    with pytest.raises(DataError, match=r"no frames in it .*clip drive"):
        next(autoencode_clip(Identity(), make_clip(small_sensor, frames=0), AutoencodeOptions()))
    with pytest.raises(UserError, match="max_frames is 0"):
        next(autoencode_clip(Identity(), make_clip(small_sensor), AutoencodeOptions(), max_frames=0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"padding": "mirror"}, "padding is 'mirror': choose edge or published"),
        ({"mask": "both"}, "mask is 'both': choose input or decoded"),
        ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
        ({"format": RangeMapFormat(repeat_rows=0)}, "repeat_rows is 0"),
        ({"format": RangeMapFormat(min_range_m=50, max_range_m=20)}, "range limits 50 to 20 m"),
    ],
)
def test_impossible_options(values, message):
    with pytest.raises(UserError, match=message):
        AutoencodeOptions(**values)


def test_a_network_of_another_type_is_explained():
    traced = torch.jit.trace(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8))

    class Traced(nn.Module):
        encode = staticmethod(traced)
        decode = staticmethod(traced)

    with pytest.raises(UserError, match=r"images of 32 x 8 in bfloat16.*--tokenizer_dtype float32"):
        reconstruct(Traced(), torch.ones(1, 8, 8), AutoencodeOptions(), torch.bfloat16)


def _fill_b(network: nn.Module) -> None:
    """The deterministic weights of the published-pipeline vector."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            wave = torch.sin(0.7 * torch.arange(parameter.numel(), dtype=torch.float64) + 0.3).reshape(parameter.shape)
            weight = name.endswith("weight")
            if "norm" in name:
                value = 1 + 0.2 * wave if weight else 0.1 * wave
            else:
                value = (0.03 if weight else 0.05) * wave
            parameter.copy_(value.float())


def test_published_pipeline_vector(make_clip):
    from cosmos_lidar.models.tokenizer import build_tokenizer

    network = build_tokenizer("CI8x8", resolution=512).eval()
    _fill_b(network)
    row, column = np.mgrid[0:8, 0:36]
    range_m = (4 + np.abs(60 * np.sin(0.11 * (36 * row + column)))).astype(np.float32)
    range_m[(36 * row + column) % 7 == 0] = 0
    sensor = uniform_sensor(8, 36)
    clip = make_clip(sensor, frames=1).with_lidar(read=lambda index: Sweep(range_m=range_m))
    options = AutoencodeOptions(padding="published")
    (frame,) = autoencode_clip(network, clip, options)
    errors = RangeErrors()
    errors.add(frame.reference_m, frame.decoded_m)
    result = errors.result().published
    assert result.pixels == 141
    assert np.clip(frame.reference_m, 5, 100).sum() == pytest.approx(5791.6621, rel=1e-6)
    normalized = to_image(torch.from_numpy(frame.reference_m)[None], options)[0, 0, ::4]
    assert normalized.sum().item() == pytest.approx(-37.228168, rel=1e-5)
    padded, (top, left) = pad_image(to_image(torch.from_numpy(frame.reference_m)[None], options), "published")
    assert (tuple(padded.shape), top, left) == ((1, 3, 32, 32), 0, 7)
    with torch.inference_mode():
        latents = network.encode(padded)
    assert latents.shape == (1, 16, 4, 4)
    assert latents.sum().item() == pytest.approx(1.2282152, rel=1e-4)
    assert frame.reconstruction_m.sum() == pytest.approx(8263.087, rel=1e-4)
    assert (result.rmse_m, result.mae_m, result.relative) == pytest.approx((32.37544, 24.85512, 1.425376), rel=1e-4)


class Known(ContinuousTokenizer):
    """Tokenizer of the coding with validity that decodes known channels: range, logit, log of the expected error."""

    def __init__(self, raw: torch.Tensor) -> None:
        shape = {"patch_size": 8, "channels": 32, "channels_mult": (1,), "num_res_blocks": 1, "mid_attention": False}
        super().__init__(build_tokenizer("CI8x8", **shape, coding="validity", scale=True).config)
        self.decoder = nn.Identity()
        self.raw = raw

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x), 16, x.shape[2] // 8, x.shape[3] // 8)

    def decode_channels(self, z: torch.Tensor):
        from cosmos_lidar.models.tokenizer.range_coding import decode_validity

        return decode_validity(self.raw.expand(len(z), -1, -1, -1))


def known_channels(sensor) -> tuple[Known, np.ndarray, np.ndarray, np.ndarray]:
    """A tokenizer, and the meters, returns and expected errors (rows, columns) that it decodes."""
    rows, columns = sensor.rows, sensor.columns // 2
    rng = torch.Generator().manual_seed(6)
    raw = torch.rand(1, 3, rows, columns, generator=rng) * 2 - 1
    repeated = raw.repeat_interleave(sensor.format.repeat_rows, dim=2)
    error_m = np.exp(raw[0, 2].numpy() * 4 - 4) * 47.5
    return Known(repeated), (raw[0, 0].numpy() + 1) * 47.5 + 5, raw[0, 1].numpy() > 0, error_m


def test_decoded_validity_gives_returns_and_expected_errors(make_clip, small_sensor):
    tokenizer, meters, returns, error_m = known_channels(small_sensor)
    assert decodes_validity(tokenizer)
    assert not decodes_validity(Identity())
    options = AutoencodeOptions(format=small_sensor.format, mask="decoded")
    (frame,) = autoencode_clip(tokenizer, make_clip(small_sensor, 1), options)
    np.testing.assert_allclose(frame.decoded_m, meters, rtol=1e-5)
    np.testing.assert_allclose(frame.expected_error_m, error_m, rtol=1e-4)
    np.testing.assert_array_equal(frame.reconstruction_m > 0, returns)
    (cut,) = autoencode_clip(tokenizer, make_clip(small_sensor, 1), replace(options, max_error_m=2.0))
    np.testing.assert_array_equal(cut.reconstruction_m > 0, returns & (error_m <= 2.0))
    (given,) = autoencode_clip(tokenizer, make_clip(small_sensor, 1), replace(options, mask="input"))
    np.testing.assert_array_equal(given.reconstruction_m > 0, given.valid_m > 0)
    drop = ClipScore(options, None)
    drop.add(frame)
    found = drop.errors.result().ray_drop
    none = frame.reference_m == 0
    assert found.recall == pytest.approx((~returns & none).sum() / none.sum())


def test_an_expected_error_is_needed_to_cut_by_it(small_sensor):
    ranges = torch.full((1, *small_sensor.shape), 20.0)
    options = AutoencodeOptions(format=small_sensor.format, max_error_m=1.0)
    with pytest.raises(UserError, match="this tokenizer decodes no expected error"):
        decode_maps(Identity(), ranges, options)
    with pytest.raises(UserError, match="max_error_m is 0"):
        AutoencodeOptions(max_error_m=0)
