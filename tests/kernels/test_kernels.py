"""Every operation on every backend against its formula in float64: values and all gradients.

Triton's cases run on a GPU, or in its interpreter on the CPU: the last test starts this file again with it switched on.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cosmos_lidar import kernels
from cosmos_lidar.kernels import Backends
from tests.kernels.contract import EPS, OPERATIONS, check, check_contract, formula_modulated, formula_norm
from tests.waiting import PATIENCE_S

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
INTERPRETER = os.environ.get("TRITON_INTERPRET") == "1"
CASES = [
    pytest.param(name, backend, shape, dtype, id=f"{name}-{backend}-{'x'.join(map(str, shape))}-{str(dtype)[6:]}")
    for name, operation in OPERATIONS.items()
    for backend in operation.backends
    for shape in operation.shapes
    for dtype in (torch.float32, torch.bfloat16)
]


@pytest.fixture
def use():
    """Set backends for one test, or skip it with the reason why they cannot run."""

    def set_backends(**wishes: str) -> None:
        for backend in wishes.values():
            if problem := kernels.obstacle(backend, DEVICE):
                pytest.skip(f"{backend}: {problem}")
        kernels.use(replace(kernels.Backends(), **wishes))

    before = kernels.current()
    yield set_backends
    kernels.use(before)


@pytest.mark.parametrize(("name", "backend", "shape", "dtype"), CASES)
def test_contract(name, backend, shape, dtype, use):
    use(**dict.fromkeys(OPERATIONS[name].fields, backend))
    check_contract(name, shape, dtype, DEVICE)


@pytest.mark.parametrize("name", ["rms_norm", "modulated_norm", "qk_norm_rotate"])
def test_triton_programs_take_several_tiles(name, use, monkeypatch):
    """Few programs and small tiles: each walks over many rows, the last one over the end."""
    use(norm="triton")
    from cosmos_lidar.kernels import triton_ops

    monkeypatch.setattr(triton_ops, "_TILE", 256)
    monkeypatch.setattr(triton_ops, "_SMALL_TILE", 128)
    monkeypatch.setattr(triton_ops, "_PROGRAMS", 3)
    use(**dict.fromkeys(OPERATIONS[name].fields, "triton"))
    check_contract(name, OPERATIONS[name].shapes[0], torch.float32, DEVICE)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_parts_of_one_tensor(backend, use):
    """A shift out of a chunked (B, 3 C) modulation, tokens cut out of a sequence, gradients not contiguous."""
    use(modulation=backend)
    torch.manual_seed(0)
    whole, scale, x = (torch.randn(*shape, device=DEVICE) for shape in ((2, 288), (2, 96), (2, 50, 96)))
    gradients = []
    for run in (lambda *parts: kernels.modulated_norm(*parts, EPS), formula_modulated):
        leaves = [value.clone().requires_grad_() for value in (whole, scale, x)]
        y = run(leaves[2][:, 5:38], leaves[0].chunk(3, -1)[1], leaves[1])
        gradients.append(torch.autograd.grad(y.transpose(1, 2).square().sum(), leaves))
    for found, wanted in zip(*gradients, strict=True):
        check("gradient", found, wanted.double(), 1e-5)
    assert gradients[0][0][:, 192:].abs().max() == 0
    assert gradients[0][2][:, :5].abs().max() == 0


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_one_modulation_for_all_samples(backend, use):
    """Shift and scale (1, 1, C) broadcast, and their gradients are summed."""
    use(modulation=backend)
    torch.manual_seed(0)
    inputs = [torch.randn(*shape, device=DEVICE, requires_grad=True) for shape in ((3, 7, 20), (1, 1, 20), (1, 20))]
    exact = [value.detach().double().requires_grad_() for value in inputs]
    found = kernels.modulated_norm(*inputs, EPS)
    wanted = formula_norm(exact[0]) * (1 + exact[2]) + exact[1]
    check("result", found, wanted, 1e-5)
    gradients = (torch.autograd.grad(y.pow(3).sum(), leaves) for y, leaves in ((found, inputs), (wanted, exact)))
    for gradient, true in zip(*gradients, strict=True):
        check("gradient", gradient, true, 1e-5)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_wrong_shapes_are_refused(backend, use):
    """Rather than read past the end of a table."""
    use(norm=backend, rotary=backend)
    x, table, weight = torch.ones(1, 5, 2, 8), torch.ones(4, 8), torch.ones(6)
    x, table, weight = (value.to(DEVICE) for value in (x, table, weight))
    for run in (lambda: kernels.rotate(x, table, table), lambda: kernels.rms_norm(x, weight, EPS),
                lambda: kernels.qk_norm_rotate(x, torch.ones(8, device=DEVICE), table, table, EPS)):  # fmt: skip
        with pytest.raises((ValueError, RuntimeError), match="4|6"):
            run()


@pytest.fixture
def mesh():
    """A tensor mesh of this process alone."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,), mesh_dim_names=("tensor",))
    dist.destroy_process_group()


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_norms_split_over_heads_keep_their_hooks(backend, use, mesh):
    """Attention whose norms are DTensors gives the same values and gradients, whatever the backend."""
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor.parallel import SequenceParallel, parallelize_module

    from cosmos_lidar.models.dit.layers import Attention

    if DEVICE.type == "cuda":
        pytest.skip("the mesh of this test is on the CPU")
    use(norm=backend, rotary=backend)
    torch.manual_seed(0)
    attention, x = Attention(24, 24, 3), torch.randn(2, 5, 24)
    rotary = torch.randn(5, 8), torch.randn(5, 8)
    with torch.no_grad():
        attention.to_q[1].weight.normal_()

    def step():
        attention.zero_grad()
        y = attention(x, rotary=rotary)
        y.square().sum().backward()
        gradients = [p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad for p in attention.parameters()]
        return [y.detach(), *gradients]

    wanted = step()
    plan = {name: SequenceParallel(sequence_dim=2, use_local_output=True) for name in ("to_q.1", "to_k.1")}
    parallelize_module(attention, mesh, plan)
    assert isinstance(attention.to_q[1].weight, DTensor)
    for found, value in zip(step(), wanted, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_types_promote_alike(backend, use):
    """Norms keep the type of x, modulation takes the wider one; each gradient has the type of its tensor."""
    use(norm=backend, modulation=backend, rotary=backend)
    x = torch.randn(2, 5, 2, 8, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
    weight, table = torch.ones(8, device=DEVICE, requires_grad=True), torch.ones(5, 8, device=DEVICE)
    part = torch.ones(2, 16, device=DEVICE, requires_grad=True)
    norms = [kernels.rms_norm(x, weight, EPS), kernels.qk_norm_rotate(x, weight, table, table, EPS),
             kernels.rotate(x, table, table), kernels.layer_norm(x, EPS)]  # fmt: skip
    modulated = kernels.modulated_norm(x.flatten(2), part, part, EPS)
    assert ({out.dtype for out in norms}, modulated.dtype) == ({torch.bfloat16}, torch.float32)
    outs = [*norms, modulated]
    sum(out.sum() for out in outs).backward()
    assert (x.grad.dtype, weight.grad.dtype, part.grad.dtype) == (torch.bfloat16, torch.float32, torch.float32)


def test_triton_leaves_what_it_cannot_read(use):
    """Float64 and wrapped tensors take the torch formula, to the last bit."""
    use(norm="triton", modulation="triton", rotary="triton")

    class Wrapped(Tensor):
        pass

    x, part = torch.randn(1, 5, 8, dtype=torch.float64, device=DEVICE), torch.ones(1, 1, 8, device=DEVICE).double()
    wanted = torch.nn.functional.layer_norm(x, (8,), eps=EPS)
    assert torch.equal(kernels.layer_norm(x, EPS), wanted)
    assert torch.equal(kernels.modulated_norm(x, 0 * part, 0 * part, EPS), wanted)
    assert not kernels.is_plain(x, x.as_subclass(Wrapped))
    assert isinstance(kernels.layer_norm(x.float().as_subclass(Wrapped), EPS), Wrapped)


def loss_of_all(x, weight, shift, scale, cos, sin):
    """All operations behind each other; x (B, L, heads, D)."""
    x = kernels.rotate(kernels.qk_norm_rotate(x, weight, cos, sin, EPS), cos, sin)
    x = kernels.attention(x, x, x)
    y = kernels.modulated_norm(kernels.rms_norm(x, weight, EPS).flatten(2), shift, scale, EPS)
    return kernels.gated_add(kernels.layer_norm(y, EPS), shift, y).square().sum()


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compiler_holds_all_operations(backend, use):
    """One graph without breaks, the same gradients."""
    use(norm=backend, modulation=backend, rotary=backend)
    torch.manual_seed(0)
    shapes = ((2, 5, 3, 8), (8,), (2, 1, 24), (2, 24))
    inputs = [torch.randn(*shape, device=DEVICE, requires_grad=True) for shape in shapes]
    tables = [torch.randn(5, 8, device=DEVICE) for _ in range(2)]
    eager = torch.autograd.grad(loss_of_all(*inputs, *tables), inputs)
    torch._dynamo.reset()
    compiled = torch.compile(loss_of_all, fullgraph=True, backend="aot_eager")
    for found, wanted in zip(torch.autograd.grad(compiled(*inputs, *tables), inputs), eager, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_triton_operations_are_registered_soundly(use):
    """PyTorch's own check: schema, shapes for the compiler, derivatives."""
    use(norm="triton", modulation="triton", rotary="triton")
    ops = torch.ops.cosmos_lidar
    x, w, t = (torch.randn(*shape, device=DEVICE, requires_grad=True) for shape in ((2, 5, 3, 8), (8,), (2, 24)))
    table = torch.randn(5, 8, device=DEVICE)
    for op, inputs in ((ops.rms_norm, (x, w, EPS)), (ops.layer_norm, (x, EPS)), (ops.rotate, (x, table, table)),
                       (ops.qk_norm_rotate, (x, w, table, table, EPS)),
                       (ops.modulated_norm, (x.detach().flatten(2).requires_grad_(), t, t.clone(), EPS))):  # fmt: skip
        torch.library.opcheck(op.default, inputs)


def test_network_on_triton(use):
    """The diffusion transformer forward and backward: Triton against torch."""
    from cosmos_lidar.models.dit import build_dit

    torch.manual_seed(0)
    network = build_dit("faditv2_debug").to(DEVICE)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    c = network.config
    x = torch.randn(1, c.in_channels, 2 * c.n_views, 4, 6, device=DEVICE)
    text = torch.randn(1, 3 * c.n_views, c.crossattn_emb_channels, device=DEVICE)
    results = []
    for backend in ("torch", "triton"):
        use(norm=backend, modulation=backend, rotary=backend)
        network.zero_grad()
        y = network(x, torch.zeros(1, device=DEVICE), text, fps=10.0)
        y.square().sum().backward()
        gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
        results.append({"output": y.detach(), **gradients})
    for name, wanted in results[0].items():
        check(name, results[1][name], wanted.double(), 2e-5)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.skipif(INTERPRETER, reason="this is the interpreter's own run")
def test_triton_in_its_interpreter():
    """This file again, in a process of its own: Triton reads the switch when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rN", "-k", "triton", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= sum(case.values[1] == "triton" for case in CASES) + 12, done.stdout[-1000:]


def test_import_has_no_side_effects():
    """The door opens without the optional packages, and stands on torch until someone chooses."""
    code = (
        "import sys; from cosmos_lidar import kernels; import cosmos_lidar.models.dit; "
        "heavy = {'triton', 'transformer_engine', 'nemo', 'lightning', 'torch.distributed.tensor'} & set(sys.modules); "
        "assert not heavy, heavy; assert kernels.current() == kernels.Backends()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_use_and_current():
    before = kernels.current()
    kernels.use(Backends(attention="cudnn"))
    try:
        assert kernels.current().attention == "cudnn"
        # On the CPU the wish for a CUDA kernel is void.
        q = torch.randn(1, 3, 2, 8)
        assert kernels.attention(q, q, q).shape == q.shape
    finally:
        kernels.use(before)
