from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer import export_jit, export_safetensors, load_tokenizer
from tests.models.tokenizer.reference import image, small_tokenizer, small_video_tokenizer, wave_video
from tests.workers.client import python


@pytest.mark.parametrize("name", ["CV8x8x8", "DV4x8x8"])
def test_exported_files(name: str, tmp_path: Path):
    network, x = small_video_tokenizer(name), wave_video(17, 16, 32)
    encoder, decoder, whole = map(torch.jit.load, export_jit(network, tmp_path))
    assert load_tokenizer(tmp_path).config == network.config
    with torch.no_grad():
        expected = network(x).reconstructions
        assert torch.allclose(decoder(encoder(x)[0]), expected, atol=1e-5)
        assert torch.allclose(whole(x)[0], expected, atol=1e-5)
        assert torch.allclose(whole(x[:, :, :1])[0], network(x[:, :, :1]).reconstructions, atol=1e-5)


FRESH = """
import sys, torch
encoder, decoder, whole = (torch.jit.load(path) for path in sys.argv[1:4])
expected = torch.load(sys.argv[4], weights_only=True)
with torch.no_grad():
    encoded = encoder(expected["x"])
    output = whole(expected["x"])
    decoded = decoder(encoded[0])
    if len(encoded) == 2:
        assert [t.shape for t in encoded[1]] == [torch.Size([1])] * 2 and not encoded[1][0].any(), encoded[1]
        assert [t.shape for t in output[1]] == [torch.Size([1])] * 2 and torch.equal(output[2], encoded[0])
    else:
        assert encoded[0].dtype == torch.int32 and not encoded[2].any()
        assert not output[1].any() and torch.equal(output[2], encoded[0])
assert torch.equal(encoded[0], expected["latents"])
for name, got in (("decoder", decoded), ("whole", output[0])):
    error = (got - expected["y"]).abs().max().item()
    assert error <= 1e-6 * expected["y"].abs().max().item(), (name, error)
assert "cosmos_lidar" not in sys.modules
assert torch.isfinite(whole.to(torch.bfloat16)(expected["x"].bfloat16())[0]).all()
"""


@pytest.mark.parametrize("name", ["CI8x8", "DI8x8"])
def test_exports_run_in_a_fresh_process_without_this_project(name: str, tmp_path: Path):
    network, x = small_tokenizer(name, resolution=512), torch.cat((image(40, 72), -image(40, 72)))
    files = export_jit(network, tmp_path, "x")
    with torch.no_grad():
        latents = network.encode(x) if name == "CI8x8" else network.encode(x)[0]
        torch.save({"x": x, "latents": latents, "y": network(x).reconstructions}, tmp_path / "expected.pt")
    script = tmp_path / "fresh.py"
    script.write_text(FRESH)
    command = [sys.executable, str(script), *map(str, files), str(tmp_path / "expected.pt")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_averaged_weights_are_exported_when_given(tmp_path: Path):
    network, averaged = small_tokenizer(), small_tokenizer()
    with torch.no_grad():
        averaged.quant_conv.bias += 1
    export_jit(network.train(), tmp_path, "x", averaged)
    assert network.training  # exporting in the middle of training changes nothing
    for source in (tmp_path / "x_enc.jit", tmp_path / "x_ema.jit"):
        assert torch.equal(load_tokenizer(source).quant_conv.bias, averaged.quant_conv.bias)


def test_an_export_that_would_lie_is_not_written(tmp_path: Path):
    network = small_tokenizer()

    class SizeDependent(torch.nn.Module):  # a trace freezes this branch at the size it saw
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.shape[-1] == 16 else 2 * x

    network.encoder.patcher = torch.nn.Sequential(network.encoder.patcher, SizeDependent())
    with pytest.raises(UserError, match=r"x_enc\.jit: the exported network differs by .*; nothing was written"):
        export_jit(network, tmp_path, "x")
    assert list(tmp_path.iterdir()) == []


def test_not_finite_weights_are_not_exported(tmp_path: Path):
    network = small_tokenizer()
    with torch.no_grad():
        network.quant_conv.bias[0] = float("nan")
    with pytest.raises(UserError, match="differs by nan"):
        export_jit(network, tmp_path, "x")


def test_folders_are_made_for_safetensors(tmp_path: Path):
    assert export_safetensors(small_tokenizer(), tmp_path / "a" / "b" / "x.safetensors").is_file()


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from cosmos_lidar.models.tokenizer.export import _write
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))  # no file takes more bytes
try:
    _write(torch.nn.Linear(9, 9), torch.zeros(1, 9), torch.zeros(2, 9), Path(sys.argv[1], "x.jit"))
except OSError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)  # standard output may be a file
    print("raised", error.errno)
"""


@pytest.mark.parametrize("room", [0, 99, 999])
def test_a_full_disk_is_an_error_and_does_not_end_the_process(room: int, tmp_path: Path) -> None:
    done = python("-c", FULL_DISK, tmp_path, room)
    assert done.returncode == 0, done.stderr[-500:]
    assert not list(tmp_path.iterdir())
