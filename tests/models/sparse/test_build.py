from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.sparse import SparseTensor, build_backbone
from tests.models.sparse.published import GRADIENTS, SALT, VECTORS, hashed_weights, two_scenes, uniform, wave_weights

SHAPES = json.loads(bytes(VECTORS["I_state_dict_shapes_json"]))
PUBLISHED = {
    "minkunet34": ("MinkUNet34", 1, 37_855_392),
    "minkunet18sc": ("MinkUNet18SC", 4, 21_733_888),
    "spvcnn": ("SPVCNN", 1, 21_785_984),
    "second": ("SECOND(lightning backbone.* minus the backbone. prefix)", 4, 711_872 + 4_576_768 + 512 * 128 + 128),
}


def excerpt(channels: int) -> tuple[SparseTensor, torch.Tensor]:
    """Return the voxels of a part of a real sweep, and the voxel of each point."""
    coords = torch.from_numpy(VECTORS["C_voxel_coords"]).long()
    coords = torch.nn.functional.pad(coords, (1, 0))
    of_point = torch.from_numpy(VECTORS["C_voxel_to_pc_id"]).long()
    feats = torch.from_numpy(VECTORS["C_voxel_x"])
    if channels == 4:
        first = np.unique(of_point.numpy(), return_index=True)[1]
        feats = torch.from_numpy(np.concatenate([VECTORS["C_pos"], VECTORS["C_int"]], 1)[first])
    return SparseTensor(coords, feats), of_point


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_have_the_published_names_and_shapes(name: str) -> None:
    published, channels, count = PUBLISHED[name]
    network = build_backbone(name, in_channels=channels, out_channels=128)
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == SHAPES[published]
    assert count_parameters(network) == count


@pytest.mark.parametrize("name", ["minkunet34", "minkunet18sc", "spvcnn"])
def test_published_features_of_a_real_sweep(name: str) -> None:
    published, channels, _ = PUBLISHED[name]
    network = build_backbone(name, channels, 128).eval()
    wave_weights(network)
    x, of_point = excerpt(channels)
    with torch.no_grad():
        out = network(x)[of_point].double()
    for found, wanted in (
        (out[:64], "out_first64"),
        (out.mean(0), "out_mean"),
        (out.std(0), "out_std"),
    ):
        vector = torch.from_numpy(VECTORS[f"D_{published}_{wanted}"]).double()
        torch.testing.assert_close(found, vector, rtol=0, atol=1e-5 * float(vector.abs().max()))


@pytest.mark.parametrize("name", ["minkunet34", pytest.param("minkunet18sc", marks=pytest.mark.slow), "spvcnn"])
def test_published_gradients_of_a_batch_of_two(name: str) -> None:
    v = {key.removeprefix(f"{name}_"): GRADIENTS[key] for key in GRADIENTS.files if key.startswith(f"{name}_")}
    batch = two_scenes(with_position=name == "minkunet18sc")
    assert batch.tensor.sites.counts == v["voxels"].tolist()
    network = build_backbone(name, batch.tensor.feats.shape[1], 128).eval()
    hashed_weights(network)
    out = network(batch.tensor)[batch.voxel_of_point]
    factors = 2 * uniform(out.numel(), SALT) - 1
    (out * torch.from_numpy(factors).float().view(out.shape)).sum().backward()
    out = out.detach()
    first = batch.point_counts[0]
    largest = float(out.abs().max())
    for found, wanted in ((out[:24], "first"), (out[first : first + 24], "second_cloud_first")):
        torch.testing.assert_close(found, torch.from_numpy(v[wanted]), rtol=0, atol=1e-5 * largest)
    mean, std = float(out.double().mean()), float(out.double().std(correction=0))
    assert (mean, std) == pytest.approx(v["mean_std"].tolist(), abs=1e-6)
    gradients = {key: parameter.grad.double() for key, parameter in network.named_parameters()}
    names = [str(key) for key in GRADIENTS["grad_names"]]
    norms = [float(gradients[key].norm()) for key in names]
    assert norms == pytest.approx(v["grad_norm"].tolist(), rel=1e-3)
    for key, norm, total in zip(names, norms, v["grad_sum"], strict=True):
        sums = float(gradients[key].sum())
        assert sums == pytest.approx(total, abs=1e-3 * norm * gradients[key].numel() ** 0.5), key
    stem = gradients["stem.0.kernel"][:, 0, :4]
    up = gradients["up1.0.net.0.kernel"][:, :4, :4]
    for found, wanted in ((stem, "grad_stem_first"), (up, "grad_up1_first")):
        vector = torch.from_numpy(v[wanted]).double()
        torch.testing.assert_close(found, vector, rtol=0, atol=1e-3 * float(vector.abs().max()))


@pytest.mark.parametrize("name", ["minkunet18", "spvcnn"])
def test_without_a_classifier_and_in_another_order(name: str) -> None:
    network = build_backbone(name, 1, 0).eval()
    x, _ = excerpt(1)
    order = torch.randperm(len(x.coords), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = network(x)
        shuffled = network(SparseTensor(x.coords[order], x.feats[order]))
    assert out.shape == (len(x.coords), network.out_channels) == (len(x.coords), 96)
    torch.testing.assert_close(shuffled, out[order], rtol=1e-4, atol=1e-5)


def test_narrow_networks_have_all_channels_in_proportion() -> None:
    wide = build_backbone("spvcnn", 1, 0).state_dict()
    narrow = build_backbone("spvcnn", 1, 0, width=8).state_dict()
    assert narrow.keys() == wide.keys()
    for name, value in narrow.items():
        if value.ndim == 1:
            assert len(value) * 4 == len(wide[name]), name
    assert build_backbone("minkunet18", 1, 0, width=1).out_channels == 3


def test_wrong_names_sizes_and_inputs_are_named() -> None:
    with pytest.raises(UserError, match="valid: minkunet34, minkunet18, minkunet18sc, spvcnn, second"):
        build_backbone("minkunet50", 1, 128)
    with pytest.raises(UserError, match="0 to 128 channels"):
        build_backbone("minkunet18", 0, 128)
    with pytest.raises(UserError, match="0 channels in its first layer; valid: 1 to 128"):
        build_backbone("minkunet18", 1, 128, width=0)
    with pytest.raises(UserError, match="second of 16 channels in its first layer; valid: 32"):
        build_backbone("second", 4, 128, width=16)
    network = build_backbone("minkunet18", 4, 128, width=2)
    x, _ = excerpt(1)
    with pytest.raises(UserError, match="1 channels: expected 4"):
        network(x)
    with pytest.raises(UserError, match="a single voxel"):
        network(SparseTensor(torch.tensor([[0, 1, 1, 1]]), torch.ones(1, 4)))
    with pytest.raises(UserError, match="grid"):
        build_backbone("second", 4, 128, grid=(100, 160, 40))
    with pytest.raises(DataError, match="x from"):
        build_backbone("second", 4, 128, grid=(160, 160, 40))(
            SparseTensor(torch.tensor([[0, 160, 0, 0]]), torch.ones(1, 4))
        )
