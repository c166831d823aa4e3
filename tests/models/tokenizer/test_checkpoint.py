"""Tokenizers to files and back: every published container, wrong files, exports that run without this project."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from safetensors.torch import load_file, save_file

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer import build_tokenizer, export_jit, export_safetensors, load_mean_std, load_tokenizer
from tests.models.tokenizer.reference import fill, image, small_tokenizer

CONTAINERS = ["folder of a pair", "pair", "encoder file", "whole jit", "autoencoder.jit in a folder", "TorchScript .pt",
              "autoencoder.jit alone", "training .pt", "bare .pt", "safetensors"]  # fmt: skip
BUFFERS = ("wavelets", "_arange", "_levels", "_basis", "implicit_codebook")


@cache
def exported() -> dict[str, bytes]:
    """The three TorchScript files of the small tokenizer by name: tracing takes seconds."""
    with TemporaryDirectory() as folder:
        files = export_jit(small_tokenizer(), folder, "x")
        return {file.name: file.read_bytes() for file in files}


def write_jit(network: torch.nn.Module, folder: Path) -> list[Path]:
    """Write encoder, decoder and whole network as TorchScript."""
    if network.config != small_tokenizer().config:
        return list(export_jit(network, folder, "x"))
    for name, content in exported().items():
        (folder / name).write_bytes(content)
    return [folder / name for name in exported()]


def write(container: str, network: torch.nn.Module, folder: Path) -> object:
    """Write the network as users find it, and return what they would name."""
    state = network.state_dict()
    if container == "training .pt":
        kept = {f"network.{k}": v for k, v in state.items() if not k.endswith(BUFFERS)}
        averaged = {"ema.network-" + k.replace(".", "-"): v + 1 for k, v in state.items() if not k.endswith(BUFFERS)}
        optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}}
        torch.save(
            {"model": kept | averaged | {"loss.vgg": torch.zeros(1)}, "optimizer": optimizer, "iteration": 7},
            folder / "iter_000000007.pt",
        )
        return folder / "iter_000000007.pt"
    if container == "bare .pt":
        torch.save(state, folder / "autoencoder.pt")
        return folder / "autoencoder.pt"
    if container == "safetensors":
        return export_safetensors(network, folder / "network.safetensors")
    encoder, decoder, whole = write_jit(network, folder)
    if container == "folder of a pair":
        encoder.rename(folder / "encoder.jit")
        decoder.rename(folder / "decoder.jit")
        return folder
    if container == "autoencoder.jit alone":
        return whole.rename(folder / "autoencoder.jit")
    if container in ("autoencoder.jit in a folder", "TorchScript .pt"):
        target = whole.rename(folder / ("autoencoder.jit" if container[0] == "a" else "autoencoder.pt"))
        return folder if container[0] == "a" else target
    return {"pair": (str(encoder), str(decoder)), "encoder file": encoder, "whole jit": whole}[container]


@pytest.mark.parametrize("name", ["CI8x8", "DI16x16_LowRes"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_network_back(container: str, name: str, tmp_path: Path):
    network = small_tokenizer(name)
    loaded = load_tokenizer(write(container, network, tmp_path))
    assert not loaded.training
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())
    assert torch.equal(loaded(image(32, 48)).reconstructions, network(image(32, 48)).reconstructions)


def test_averaged_weights_are_taken_when_asked_for_or_alone(tmp_path: Path):
    network = small_tokenizer()
    path = write("training .pt", network, tmp_path)
    content = torch.load(path, weights_only=True)
    torch.save({"model": {k: v for k, v in content["model"].items() if k.startswith("ema.")}}, tmp_path / "alone.pt")
    for loaded in (load_tokenizer(path, ema=True), load_tokenizer(tmp_path / "alone.pt")):
        assert torch.equal(loaded.quant_conv.weight, network.quant_conv.weight + 1)
    with pytest.raises(DataError, match=r"holds no averaged weights \[file .*autoencoder\.pt\]"):
        load_tokenizer(write("bare .pt", network, tmp_path), ema=True)


def test_bfloat16_files_come_back_in_float32_with_their_taps(tmp_path: Path):
    network = small_tokenizer().bfloat16()
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")
    loaded = load_tokenizer(tmp_path)
    assert loaded.encoder.conv_in.weight.dtype == torch.float32
    assert torch.equal(loaded.encoder.conv_in.weight, network.encoder.conv_in.weight.float())
    assert loaded.encoder.patcher.wavelets.tolist() == [0.70703125] * 2
    assert torch.equal(network.state_dict()["quant_conv.bias"].float(), loaded.quant_conv.bias)


@pytest.mark.slow
def test_the_published_lidar_pair(tmp_path: Path):
    """Full size: entries of the files, and the three attention blocks found without being told."""
    network = fill(build_tokenizer("CI8x8", resolution=512))
    encoder, decoder, whole = export_jit(network, tmp_path, "iter_000002000")
    names = ["iter_000002000_dec.jit", "iter_000002000_ema.jit", "iter_000002000_enc.jit"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert [len(torch.jit.load(file).state_dict()) for file in (encoder, decoder, whole)] == [90, 142, 232]
    loaded = load_tokenizer((encoder, decoder))
    assert sum(p.numel() for p in loaded.parameters()) == 79_944_416
    with torch.no_grad():
        assert torch.equal(loaded.encode(image()), network.encode(image()))


def refused(source: object, *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        load_tokenizer(source)
    for part in parts:
        assert part in str(caught.value)


def test_missing_files_and_halves_are_named(tmp_path: Path):
    encoder, decoder, _ = write_jit(small_tokenizer(), tmp_path)
    refused(tmp_path / "none.pt", "no such file", "none.pt", "Expected: a tokenizer: encoder.jit and decoder.jit")
    refused(tmp_path, "no tokenizer in this folder", str(tmp_path))
    refused((encoder, tmp_path / "gone.jit"), "no such file", "gone.jit")
    refused((encoder, encoder), "half of one: missing decoder.conv_in, decoder.conv_out", "x_enc.jit + ")
    decoder.rename(tmp_path / "elsewhere.jit")
    refused(encoder, "x_dec.jit is missing beside it", "x_enc.jit")
    encoder.rename(tmp_path / "encoder.jit")
    refused(tmp_path, "decoder.jit is missing beside encoder.jit")


def test_files_of_another_kind_are_refused(tmp_path: Path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    for name in ("image.pt", "image.jit", "image.safetensors"):
        (tmp_path / name).write_bytes((tmp_path / "image.png").read_bytes())
    refused(tmp_path / "image.png", "not a checkpoint that is safe to read", "image.png", "autoencoder.jit")
    refused(tmp_path / "image.pt", "not a checkpoint that is safe to read", "image.pt")
    refused(tmp_path / "image.jit", "not a TorchScript file", "image.jit")
    refused(tmp_path / "image.safetensors", "not a safetensors file", "image.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    refused(tmp_path / "list.pt", "holds no weights", "list.pt")
    torch.save({"model": {"loss.a": torch.zeros(1)}}, tmp_path / "loss.pt")
    refused(tmp_path / "loss.pt", "holds no weights of a network", "loss.pt")
    torch.save({"some.weight": torch.zeros(1)}, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", "no tokenizer, or half of one", "it holds some.weight", "other.pt")


@pytest.mark.parametrize("container", ["whole jit", "bare .pt", "safetensors"])
def test_truncated_files_are_refused(container: str, tmp_path: Path):
    path = Path(write(container, small_tokenizer(), tmp_path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, path.name, "not a ")


@pytest.mark.parametrize("container", ["whole jit", "bare .pt"])
def test_damaged_weights_are_refused(container: str, tmp_path: Path):
    """Zeros in the middle of the weights: torch loads such a file without a word."""
    path = Path(write(container, small_tokenizer(), tmp_path))
    content = bytearray(path.read_bytes())
    weight = small_tokenizer().decoder.mid.block_1.conv1.weight.detach().numpy().tobytes()
    start = content.find(weight)
    content[start : start + 100] = bytes(100)
    path.write_bytes(content)
    refused(path, "a damaged file: 1 members differ from their checksums", path.name, "key ", "downloaded again")


def test_files_written_without_checksums_are_read(tmp_path: Path):
    before = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(False)
        torch.save(small_tokenizer().state_dict(), tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(load_tokenizer(tmp_path / "x.pt").quant_conv.bias, small_tokenizer().quant_conv.bias)


class Stranger:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("pickle_was_executed"),))


def test_pickled_code_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"a": torch.zeros(1)}, "extra": Stranger()}, tmp_path / "x.pt")
    refused(tmp_path / "x.pt", "not a checkpoint that is safe to read", "x.pt")
    assert not (tmp_path / "pickle_was_executed").exists()


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "no level", "no shape"])
def test_nothing_is_loaded_partially(change: str, tmp_path: Path):
    path = export_safetensors(small_tokenizer(), tmp_path / "x.safetensors")
    state = load_file(path)
    if change == "missing":
        for _ in range(10):
            state.pop(sorted(key for key in state if key.startswith("decoder.up.1"))[0])
        parts = ["tensors do not fit a CI tokenizer: 10 missing: decoder.up.1.block.0.conv1.bias, ", " and 2 more"]
    elif change == "unexpected":
        state["decoder.up.3.block.0.conv1.weight"] = torch.zeros(1)
        parts = ["tensors do not fit a CI tokenizer: 1 unexpected: decoder.up.3.block.0.conv1.weight"]
    elif change == "shape":
        state["decoder.mid.attn_1.q.weight"] = torch.zeros(32, 16, 1, 1)
        parts = ["1 of another shape: decoder.mid.attn_1.q.weight (32, 16, 1, 1) for (32, 32, 1, 1)"]
    elif change == "no level":
        state = {key: value for key, value in state.items() if not key.startswith("encoder.down.")}
        parts = ["tensors of no known shape: no encoder.down.0.block.0.conv1.weight"]
    else:
        state["encoder.conv_in.weight"] = torch.zeros(48, 48, 3, 3)
        parts = ["levels of [32, 32, 32] channels are no multiples of the 48 of encoder.conv_in"]
    save_file(state, path)
    refused(path, *parts, "x.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("quant_conv.bias", torch.full((16,), float("nan")), ["weights that are not finite", "quant_conv.bias"]),
        ("quant_conv.bias", torch.zeros(16, dtype=torch.int8), ["a tensor of torch.int8", "floating-point weights"]),
        (
            "encoder.patcher.wavelets",
            torch.tensor([0.5, 0.5]),
            ["unexpected values in buffer 'wavelets'", "Expected: Haar patches"],
        ),
        ("encoder.conv_in.weight", torch.zeros(0, 48, 3, 3), ["tensors of no known shape"]),
        ("encoder.conv_in.weight", torch.zeros(32), ["tensors of no known shape"]),
        ("quant_conv.weight", torch.tensor(1.0), ["tensors of no known shape"]),
    ],
)
def test_tensors_that_cannot_be_right_are_named(key: str, value: torch.Tensor, parts: list[str], tmp_path: Path):
    path = tmp_path / "x.safetensors"
    save_file(small_tokenizer().state_dict() | {key: value}, path)
    refused(path, *parts, "x.safetensors")


@pytest.mark.parametrize("levels", [torch.tensor(8), torch.full((6,), 9999), torch.zeros(6, dtype=torch.int32)])
def test_impossible_levels_are_refused(levels: torch.Tensor, tmp_path: Path):
    path = tmp_path / "x.safetensors"
    save_file(small_tokenizer("DI8x8").state_dict() | {"quantizer._levels": levels}, path)
    refused(path, "tensors of no known shape", "x.safetensors")


@pytest.mark.slow
def test_parts_of_two_networks_are_refused(tmp_path: Path):
    own, *_ = export_jit(small_tokenizer(), tmp_path, "own")
    _, narrow, _ = export_jit(small_tokenizer(z_channels=8, latent_channels=8), tmp_path, "narrow")
    refused((own, narrow), "the encoder gives 16 latent channels, the decoder takes 8", "own_enc.jit + ")
    _, discrete, _ = export_jit(small_tokenizer("DI8x8"), tmp_path, "discrete")
    refused((own, discrete), "the encoder gives 16 latent channels, the decoder takes 6", "discrete_dec.jit")
    _, patches, _ = export_jit(small_tokenizer(patch_size=2), tmp_path, "patches")
    refused((own, patches), "tensors do not fit a CI tokenizer", "decoder.up.1.upsample.conv.bias", "patches_dec.jit")


def test_files_that_contradict_each_other_are_refused(tmp_path: Path):
    network = small_tokenizer()
    encoder, decoder, whole = export_jit(network, tmp_path, "old")
    assert torch.equal(load_tokenizer((whole, decoder)).quant_conv.bias, network.quant_conv.bias)
    assert torch.equal(load_tokenizer((decoder, encoder)).quant_conv.bias, network.quant_conv.bias)
    with torch.no_grad():
        network.quant_conv.bias += 1
    newer, *_ = export_jit(network, tmp_path, "new")
    refused((newer, whole), "an earlier file holds another value for this key", "old_ema.jit", "key quant_conv.bias")
    refused((), "no files given")


def test_checkpoints_with_numbers_for_names(tmp_path: Path):
    torch.save({"model": small_tokenizer().state_dict() | {3: torch.zeros(1)}}, tmp_path / "x.pt")
    assert torch.equal(load_tokenizer(tmp_path / "x.pt").quant_conv.bias, small_tokenizer().quant_conv.bias)
    torch.save({"model": {3: torch.zeros(1)}}, tmp_path / "y.pt")
    refused(tmp_path / "y.pt", "holds no weights of a network", "y.pt")


@pytest.mark.parametrize("shape", [(16,), (16, 1), (1, 16, 1, 1)])
def test_mean_and_deviation_of_latents(shape: tuple[int, ...], tmp_path: Path):
    mean, std = torch.arange(16.0), torch.arange(16.0) + 1
    torch.save((mean.view(shape), std.view(shape).bfloat16()), tmp_path / "mean_std.pt")
    loaded = load_mean_std(tmp_path / "mean_std.pt")
    assert torch.equal(loaded[0], mean)
    assert torch.equal(loaded[1], std)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((torch.zeros(16, 3), torch.ones(16, 3)), "holds [(16, 3), (16, 3)]"),
        ((torch.zeros(16),), "holds [(16,)]"),
        ({"mean": torch.zeros(16)}, "holds a dict"),
        ((torch.zeros(16), torch.zeros(16)), "values that cannot normalize latents"),
        ((torch.full((16,), float("nan")), torch.ones(16)), "values that cannot normalize latents"),
    ],
)
def test_other_contents_of_mean_std_are_refused(content: object, message: str, tmp_path: Path):
    torch.save(content, tmp_path / "mean_std.pt")
    wanted = re.escape(message) + r" \[file .*mean_std\.pt\] Expected: a pair \(mean, std\) of 16 finite values"
    with pytest.raises(DataError, match=wanted):
        load_mean_std(tmp_path / "mean_std.pt")


def test_a_missing_mean_std_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"no such file \[file .*mean_std\.pt\] Expected: a pair"):
        load_mean_std(tmp_path / "mean_std.pt")
