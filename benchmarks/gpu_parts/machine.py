"""The machine: rate of matrix products, bandwidth of copies, and which optional packages import."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import torch
from host import processor

from cosmos_lidar import kernels
from gpu_parts.common import Options, Row, attempts, seconds_of


def rows(options: Options) -> Iterator[Row]:
    """Yield name and versions, rates in TFLOP/s, and GB/s of a copy (read and write)."""
    yield {"name": "versions", **versions(options)}
    size = 256 if options.tiny else 8192
    rates = {"bfloat16": (torch.bfloat16, False), "float32": (torch.float32, False), "tf32": (torch.float32, True)}
    if options.device == "cpu":
        rates = {"float32": rates["float32"]}
    works = {name: lambda way=way: products(options, size, *way) for name, way in rates.items()}
    yield from attempts(options, {**works, "copy": lambda: copy(options)})


def versions(options: Options) -> Row:
    """Return names and versions, and why an optional backend does not run here."""
    cuda = options.device == "cuda"
    device = torch.cuda.get_device_name() if cuda else processor()
    missing = {name: kernels.obstacle(name, options.torch_device) for name in ("cudnn", "triton", "te", "apex")}
    return {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda or "", "python":
            platform.python_version(), "missing": {name: why for name, why in missing.items() if why}}  # fmt: skip


def products(options: Options, size: int, dtype: torch.dtype, tf32: bool) -> Row:
    """Return the rate of square matrix products of a size."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    a, b = (torch.randn(size, size, device=options.device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    inner = 1 if options.tiny else 20

    def work() -> None:
        for _ in range(inner):
            torch.mm(a, b, out=out)

    _, seconds = seconds_of(work, options.torch_device, 3 if options.tiny else 5)
    torch.backends.cuda.matmul.allow_tf32 = False
    return {"size": size, "tflops": 2 * size**3 * inner / seconds / 1e12}


def copy(options: Options) -> Row:
    """Return the bandwidth of a copy on the device."""
    count = 1 << (20 if options.tiny else 30)
    a = torch.ones(count, dtype=torch.uint8, device=options.device)
    b = torch.empty_like(a)
    _, seconds = seconds_of(lambda: b.copy_(a), options.torch_device, 5)
    return {"gb_s": 2 * count / seconds / 1e9}
