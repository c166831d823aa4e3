"""Registers, shared memory and spills of every Triton kernel, compiled ahead of time: no GPU is needed.

    python benchmarks/triton_resources.py
    python benchmarks/triton_resources.py --capabilities 90 --channels 2048 --dtypes bfloat16 float32

Each kernel is compiled to machine code just as it is launched, with its tile, its warps and what Triton assumes of
alignment, for the widths of the published transformers (2 B: 2048 channels, 7 B: 4096, 14 B: 5120; 128 channels per
head). Registers are those of a thread; ``threads`` are those that a multiprocessor holds at the same time (2048 at
most), as far as registers allow. ``spilled`` are bytes of a thread that do not fit into registers.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from tables import row, table_head
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cosmos_lidar.kernels import triton_kernels, triton_ops

CAPABILITIES = (80, 90, 100)
CHANNELS = (2048, 4096, 5120)
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
KERNELS = tuple(
    f"{operation}_{way}" for operation in ("rms_norm", "modulated_norm", "rotate") for way in ("forward", "backward")
)
_HEAD, _LENGTH, _EPS = 128, 64, 1e-6
_TYPES = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32"}
_REGISTERS, _THREADS = 65536, 2048  # of a multiprocessor


@dataclass(frozen=True)
class Launch:
    """A kernel and the arguments of one launch."""

    kernel: str
    channels: int
    arguments: dict[str, Any]
    warps: int

    @property
    def name(self) -> str:
        """Of the table, with the flags that are on."""
        flags = [key.lower() for key, value in self.arguments.items() if value is True]
        return " ".join([self.kernel, *flags])

    @property
    def key(self) -> tuple[Any, ...]:
        """Launches of the same key are one compilation."""
        return self.kernel, self.warps, *self._signature().items(), *self._constants().items()

    def source(self) -> ASTSource:
        """Return what Triton compiles: types, constants, and which arguments divide by 16."""
        kernel = getattr(triton_kernels, self.kernel)
        constants = {(kernel.arg_names.index(name),): value for name, value in self._constants().items()}
        whole = [name for name, value in self.arguments.items() if name not in self._constants() and _divides(value)]
        attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in whole}
        return ASTSource(kernel, self._signature(), constexprs=constants, attrs=attributes)

    def _constants(self) -> dict[str, Any]:
        return {name: value for name, value in self.arguments.items() if name.isupper() or _is_constant(value)}

    def _signature(self) -> dict[str, str]:
        return {
            name: "constexpr" if name in self._constants() else _type(value) for name, value in self.arguments.items()
        }


@dataclass(frozen=True)
class Resources:
    """What a thread of a kernel takes, and a program's shared memory, in bytes; its machine code and its PTX."""

    warps: int
    registers: int
    shared: int
    spilled: int
    code: bytes
    ptx: str

    @property
    def threads(self) -> int:
        """Threads that a multiprocessor holds at the same time: whole programs, by registers alone."""
        each = 32 * self.warps
        by_registers = _REGISTERS // (-(-self.registers // 8) * 8 * each)  # registers are given out in eights
        return each * min(_THREADS // each, by_registers)


def launches(channels: Sequence[int], dtype: torch.dtype) -> list[Launch]:
    """Return every kind of launch of every operation, forward and backward."""
    found: dict[tuple[Any, ...], Launch] = {}
    for count in channels:
        with _recording(found):
            for operation, inputs in _operations(count, dtype):
                out = operation(*inputs)
                torch.autograd.grad(out, [x for x in inputs if x.requires_grad], torch.ones_like(out))
    return list(found.values())


def _operations(channels: int, dtype: torch.dtype) -> Iterator[tuple[Callable[..., Tensor], list[Tensor]]]:
    def leaf(*shape: int) -> Tensor:
        return torch.ones(shape, dtype=dtype, requires_grad=True)

    x, part = leaf(2, _LENGTH, channels), leaf(2, 1, channels)
    heads, weight, table = leaf(2, _LENGTH, channels // _HEAD, _HEAD), leaf(_HEAD), torch.ones(_LENGTH, _HEAD)
    yield lambda x, w: triton_ops.rms_norm(x, w, _EPS), [heads, weight]
    yield lambda x, w: triton_ops.rms_norm(x, w, _EPS), [x, leaf(channels)]
    yield lambda x: triton_ops.layer_norm(x, _EPS), [x]
    yield lambda x, a, b: triton_ops.modulated_norm(x, a, b, _EPS), [x, part, leaf(2, 1, channels)]
    yield lambda x, c, s: triton_ops.rotate(x, c, s), [heads, table, table]
    yield lambda x, w, c, s: triton_ops.qk_norm_rotate(x, w, c, s, _EPS), [heads, weight, table, table]


@contextmanager
def _recording(found: dict[tuple[Any, ...], Launch]) -> Iterator[None]:
    """Note launches instead of making them."""

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*arguments: Any, num_warps: int, **flags: Any) -> None:
                names = getattr(triton_kernels, self.name).arg_names
                given = dict(zip(names, arguments, strict=False)) | flags
                sizes = given.get("channels") or 2 * given["half"]
                one = Launch(self.name, sizes, {name: given[name] for name in names}, num_warps)
                found.setdefault(one.key, one)

            return launch

    before = {name: getattr(triton_ops, name) for name in KERNELS}
    for name in KERNELS:
        setattr(triton_ops, name, Recorder(name))
    try:
        yield
    finally:
        for name, kernel in before.items():
            setattr(triton_ops, name, kernel)


def compile_launch(launch: Launch, capability: int) -> Resources:
    """Compile a kernel to machine code of a compute capability, such as 90."""
    options = {"num_warps": launch.warps}
    compiled = triton.compile(launch.source(), target=GPUTarget("cuda", capability, 32), options=options)
    code = compiled.asm["cubin"]
    registers, stack, local = _usage(code)
    return Resources(launch.warps, registers, compiled.metadata.shared, stack + local, code, compiled.asm["ptx"])


def _is_constant(value: Any) -> bool:
    """Whether Triton compiles an argument into the kernel."""
    return value is None or (isinstance(value, int) and value == 1)


def _divides(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0)


def _type(value: Any) -> str:
    if isinstance(value, Tensor):
        return _TYPES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def _usage(code: bytes) -> tuple[int, int, int]:
    """Return registers, and bytes of stack and local memory, that machine code states."""
    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(code)
        done = subprocess.run([program, "--dump-resource-usage", file], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", done.stdout)
    if found is None:
        raise ValueError(f"cuobjdump printed no resources: {done.stdout[:200]}")
    registers, stack, local = map(int, found.groups())
    return registers, stack, local


def main() -> None:
    """Compile and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capabilities", nargs="+", type=int, default=CAPABILITIES)
    parser.add_argument("--channels", nargs="+", type=int, default=CHANNELS)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16"], choices=DTYPES)
    args = parser.parse_args()
    heads = (f"sm_{one}: registers, threads, shared B, spilled B" for one in args.capabilities)
    for dtype in args.dtypes:
        sys.stdout.write(f"Triton {triton.__version__}, {dtype}\n\n{table_head('kernel', 'channels', 'warps', *heads)}")
        for launch in launches(args.channels, DTYPES[dtype]):
            found = [compile_launch(launch, capability) for capability in args.capabilities]
            cells = (f"{one.registers}, {one.threads}, {one.shared}, {one.spilled}" for one in found)
            sys.stdout.write(row(f"`{launch.name}`", launch.channels, launch.warps, *cells))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
