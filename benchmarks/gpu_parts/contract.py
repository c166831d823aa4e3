"""Every operation of ``cosmos_lidar.kernels`` on every backend that runs here, against its formula in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from cosmos_lidar import kernels
from cosmos_lidar.training.fused_adamw import FusedAdamW
from gpu_parts.common import Options, Row, attempts
from tests.kernels.contract import OPERATIONS, check_adamw, check_contract


def rows(options: Options) -> Iterator[Row]:
    """Yield for each operation and backend how many cases agree, and the first one that does not."""
    pairs = [(name, backend) for name, one in OPERATIONS.items() for backend in one.backends]
    works = {f"{name}, {backend}": lambda name=name, backend=backend: agree(options, name, backend)
             for name, backend in pairs}  # fmt: skip
    works |= {f"adamw, {backend}": lambda backend=backend: agree_adamw(options, backend)
              for backend in kernels.CHOICES["optimizer"]}  # fmt: skip
    yield from attempts(options, works)


def agree(options: Options, name: str, backend: str) -> Row:
    """Return the number of cases that agree with the formula, of all, and what is wrong with the first other one."""
    if problem := kernels.obstacle(backend, options.torch_device):
        return {"left_out": problem}
    operation, wrong = OPERATIONS[name], []
    shapes = operation.shapes[:1] if options.tiny else operation.shapes
    cases = [(shape, dtype) for shape in shapes for dtype in (torch.float32, torch.bfloat16)]
    before = kernels.current()
    kernels.use(replace(kernels.Backends(), **dict.fromkeys(operation.fields, backend)))
    try:
        for shape, dtype in cases:
            try:
                check_contract(name, shape, dtype, options.torch_device)
            except AssertionError as error:
                wrong.append(f"{shape}, {dtype}: {error}".splitlines()[0][:200])
    finally:
        kernels.use(before)
    return {"agree": len(cases) - len(wrong), "cases": len(cases), "wrong": wrong[0] if wrong else ""}


def agree_adamw(options: Options, backend: str) -> Row:
    """Return whether three updates of AdamW agree with the formula."""
    if problem := kernels.obstacle(backend, options.torch_device):
        return {"left_out": problem}
    make = FusedAdamW if backend == "apex" else partial(torch.optim.AdamW, fused=True)
    try:
        check_adamw(make, options.torch_device)
    except AssertionError as error:
        return {"agree": 0, "cases": 1, "wrong": f"{error}".splitlines()[0][:200]}
    return {"agree": 1, "cases": 1, "wrong": ""}
