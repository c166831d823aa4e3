"""The Triton kernels compile to machine code of a GPU; that needs no GPU, and the interpreter cannot show it."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("triton", reason="triton is not installed")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter compiles nothing", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cosmos_lidar.kernels import triton_kernels

WIDE, HALF = {"ROWS": 1, "WIDTH": 4096}, {"ROWS": 32, "WIDTH": 64}
KERNELS = [
    ("rms_norm_forward", WIDE),
    ("rms_norm_backward", WIDE),
    ("modulated_norm_forward", {"MODULATED": True, **WIDE}),
    ("modulated_norm_forward", {"MODULATED": False, "shift_ptr": None, "scale_ptr": None, **WIDE}),
    ("modulated_norm_backward", {"MODULATED": True, **WIDE}),
    ("modulated_norm_backward",
     {"MODULATED": False, "scale_ptr": None, "dshift_ptr": None, "dscale_ptr": None, **WIDE}),
    ("rotate_forward", {"NORMED": True, **HALF}),
    ("rotate_forward", {"NORMED": False, "weight_ptr": None, **HALF}),
    ("rotate_backward", {"NORMED": True, **HALF}),
    ("rotate_backward", {"NORMED": False, "x_ptr": None, "weight_ptr": None, "partial_ptr": None, **HALF}),
]  # fmt: skip
FLOAT32 = ("partial_ptr", "dshift_ptr", "dscale_ptr", "cos_ptr", "sin_ptr")


def argument_type(name: str, constants: dict) -> str:
    if name in constants:
        return "constexpr"
    if name.endswith("_ptr"):
        return "*fp32" if name in FLOAT32 else "*bf16"
    return "fp32" if name == "eps" else "i32"


@pytest.mark.parametrize(("name", "constants"), KERNELS)
def test_compiles_for_hopper(name, constants, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(triton_kernels, name)
    signature = {argument: argument_type(argument, constants) for argument in kernel.arg_names}
    places = {(kernel.arg_names.index(key),): value for key, value in constants.items()}
    source = ASTSource(kernel, signature, constexprs=places)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
    assert ".target sm_90" in compiled.asm["ptx"]
    assert len(compiled.asm["cubin"]) > 1000
