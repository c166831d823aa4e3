"""Which backends are chosen: wishes, what is impossible and why, and what the log says."""

from __future__ import annotations

import logging
import sys

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.kernels import Backends, choose


@pytest.fixture
def half_installed(tmp_path, monkeypatch):
    """TransformerEngine as a bare ``pip install`` leaves it: it is found, and raises RuntimeError on import."""
    package = tmp_path / "transformer_engine"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('no compiled extension\\nmore')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformer_engine"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def lines():
    """What is logged during one test."""
    found: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: found.append(record.getMessage())
    logger = logging.getLogger("cosmos_lidar")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def cuda(monkeypatch):
    """A machine with CUDA, as far as the choice can see."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_default_on_cpu_is_torch_and_logged_in_one_line(lines):
    assert choose("cpu") == Backends() == Backends("torch", "torch", "torch", "torch", "torch", "torch")
    assert lines == ["kernels on cpu: attention=torch norm=torch modulation=torch rotary=torch linear=torch "
                     "optimizer=torch (no te: cpu is no CUDA device)"]  # fmt: skip


def test_empty_wishes_are_none():
    assert choose("cpu", {"norm": "", "linear": None, "rotary": "auto", "attention": "torch"}) == Backends()


def test_wishes_reach_their_operation(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(sys.modules, "triton", sys)  # the real one would keep the interpreter for all later tests
    assert choose("cpu", {"norm": "triton"}) == Backends(norm="triton")


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (
            {"norms": "triton"},
            "unknown operation kernels.norms; valid: attention, norm, modulation, rotary, linear, opt",
        ),
        ({"norm": "te"}, "kernels.norm=te; valid: torch, triton, apex"),
        ({"attention": "triton"}, "kernels.attention=triton; valid: torch, cudnn, te"),
        ({"norm": "triton"}, "kernels.norm=triton: cpu is no CUDA device; leave it out or set kernels.norm=torch"),
        ({"attention": "te"}, "kernels.attention=te: cpu is no CUDA device; leave it out or set kernels.att"),
        ({"linear": "te"}, "kernels.linear=te: cpu is no CUDA device"),
        ({"optimizer": "apex"}, "kernels.optimizer=apex: cpu is no CUDA device"),
    ],
)
def test_impossible_wishes_say_why(wishes, message, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UserError) as caught:
        choose("cpu", wishes)
    assert str(caught.value).startswith(message)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device():
    with pytest.raises(UserError, match="kernels.attention=cudnn: no CUDA device"):
        choose("cuda", {"attention": "cudnn"})


def test_half_installed_transformer_engine_is_no_obstacle(half_installed, cuda, lines):
    assert choose("cuda") == Backends()
    assert "(no te: transformer_engine.pytorch does not import: no compiled extension)" in lines[0]
    assert len(lines) == 1
    assert "\n" not in lines[0]


def test_wish_for_half_installed_transformer_engine(half_installed, cuda):
    with pytest.raises(UserError, match="attention=te: transformer_engine.pytorch does not import: no compiled ext"):
        choose("cuda", {"attention": "te"})


def test_missing_packages_are_named(cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setitem(sys.modules, "transformer_engine", None)
    with pytest.raises(UserError, match="kernels.norm=triton: triton is not installed"):
        choose("cuda", {"norm": "triton"})
    with pytest.raises(UserError, match="kernels.linear=te: transformer_engine is not installed"):
        choose("cuda", {"linear": "te"})


def test_apex_without_its_extensions(cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "apex", None)
    with pytest.raises(UserError, match="kernels.norm=apex: apex is not installed; leave it out or set kernels.norm"):
        choose("cuda", {"norm": "apex"})
    for name in ("apex", "apex.multi_tensor_apply", "apex.normalization"):
        monkeypatch.setitem(sys.modules, name, sys)
    monkeypatch.setitem(sys.modules, "amp_C", None)
    with pytest.raises(UserError, match="kernels.optimizer=apex: amp_C is not installed"):
        choose("cuda", {"optimizer": "apex"})


def test_transformer_engine_takes_attention_where_it_works(cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformer_engine", sys)
    monkeypatch.setitem(sys.modules, "transformer_engine.pytorch", sys)
    assert choose("cuda:0") == Backends(attention="te")
    assert choose("cuda:0", {"attention": "torch"}) == Backends()
