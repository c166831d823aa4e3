"""Speed of each operation of ``cosmos_lidar.kernels`` on each backend that runs here, as a Markdown table.

    python benchmarks/kernels.py --device cuda
    OMP_NUM_THREADS=1 python benchmarks/kernels.py --device cpu --small

Default sizes are those of the published 7B transformer. ``eager`` is the torch backend, ``compile`` the same through
``torch.compile``: the yardstick for the others, where there is something to fuse. Backends take turns, so that a slow
spell of the machine hits all. GB/s counts every input, output and gradient once, TFLOP/s the products of the formula
(backward: 2.5 x forward for attention, 2 x for linear layers); ``speed`` is time of ``eager`` over time, both with the
backward pass. To use what won: ``kernels.OPERATION=BACKEND`` on the command line of a recipe.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from tokenizer import machine  # the benchmark beside this one
from torch import Tensor, nn

from cosmos_lidar import kernels

EPS = 1e-6
SMALL = {"length": 256, "channels": 256, "heads": 2, "repeats": 5, "inner": 1, "dtype": "float32",
         "operations": ["attention", "modulated_norm", "qk_norm_rotate", "linear"]}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One operation with its inputs; the backends beside torch; its FLOPs forward and over the whole step."""

    run: Callable[..., Tensor]
    inputs: list[Tensor]
    backends: dict[str, dict[str, str]]
    flops: int = 0
    step_flops: float = 0.0


@dataclass(frozen=True)
class Contender:
    """One way to run an operation."""

    name: str
    run: Callable[..., Tensor]
    backends: kernels.Backends


def operations(args: argparse.Namespace) -> dict[str, Operation]:
    """Return the operations on random inputs of the requested sizes."""
    heads, width = args.heads, args.channels // args.heads
    options = {"device": args.device, "dtype": getattr(torch, args.dtype)}

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, **options, requires_grad=True)

    x, h = (normal(args.batch, args.length, args.channels) for _ in range(2))
    shift, scale = (normal(args.batch, 1, args.channels) for _ in range(2))
    q, k, v = (normal(args.batch, args.length, heads, width) for _ in range(3))
    cos, sin = (torch.rand(args.length, width, device=args.device) for _ in range(2))
    layer = nn.Linear(args.channels, args.channels, bias=False, **options)
    triton = {"triton": {"norm": "triton", "modulation": "triton", "rotary": "triton"}}
    products = 4 * args.batch * args.length**2 * args.channels
    linear = 2 * args.batch * args.length * args.channels**2
    return {
        "attention": Operation(kernels.attention, [q, k, v], {"cudnn": {"attention": "cudnn"},
                                                              "te": {"attention": "te"}}, products, 3.5 * products),
        "rms_norm": Operation(lambda x, w: kernels.rms_norm(x, w, EPS), [q, normal(width)], triton),
        "modulated_norm": Operation(lambda *a: kernels.modulated_norm(*a, EPS), [x, shift, scale], triton),
        "gated_add": Operation(kernels.gated_add, [x, scale, h], {}),
        "rotate": Operation(kernels.rotate, [q, cos, sin], triton),
        "qk_norm_rotate": Operation(
            lambda *a: kernels.qk_norm_rotate(*a, EPS), [q, normal(width), cos, sin], triton
        ),
        "linear": Operation(lambda x, _: layer(x), [x, layer.weight], {"te": {"linear": "te"}}, linear, 3.0 * linear),
    }  # fmt: skip


def contenders(operation: Operation, args: argparse.Namespace) -> tuple[list[Contender], list[str]]:
    """Return the backends that can run an operation here, and why others cannot."""
    if not args.no_compile:
        torch._dynamo.reset()
    eager = kernels.Backends()
    found, missing = [Contender("eager", operation.run, eager)], []
    if not (args.no_compile or operation.flops):  # one library call: nothing to fuse
        found.append(Contender("compile", torch.compile(operation.run, dynamic=False), eager))
    for name, layout in operation.backends.items():
        interpreted = name == "triton" and not args.device.startswith("cuda")
        problem = "the interpreter's speed is meaningless" if interpreted else ""
        if problem := problem or kernels.obstacle(name, torch.device(args.device)):
            missing.append(f"{name}: {problem}")
        elif "linear" in layout:
            layers = {recipe: te_linear(operation.inputs[1], recipe) for recipe in args.recipes}
            found += [Contender(f"te {recipe}", layer, eager) for recipe, layer in layers.items()]
        else:
            found.append(Contender(name, operation.run, replace(eager, **layout)))
    return found, missing


def te_linear(weight: Tensor, recipe: str) -> Callable[..., Tensor]:
    """Return the TransformerEngine layer of a weight."""
    holder = nn.Sequential(nn.Linear(*weight.shape[::-1], bias=False, device=weight.device, dtype=weight.dtype))
    kernels.replace_linears(holder, recipe)
    return lambda x, _: holder(x)


def measure(operation: Operation, found: list[Contender], args: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return median seconds of the forward pass and of the whole step, per contender."""
    leaves = [value for value in operation.inputs if value.requires_grad]
    grad = torch.randn_like(operation.run(*operation.inputs))

    def forward(run: Callable[..., Tensor]) -> None:
        with torch.no_grad():
            run(*operation.inputs)

    def step(run: Callable[..., Tensor]) -> None:
        torch.autograd.grad(run(*operation.inputs), leaves, grad, allow_unused=True)

    times: dict[str, tuple[list[float], list[float]]] = {contender.name: ([], []) for contender in found}
    for turn in range(args.repeats + 1):
        for contender in found:
            kernels.use(contender.backends)
            for part, work in enumerate((forward, step)):
                if not turn:
                    work(contender.run)  # the first call compiles
                times[contender.name][part].append(seconds(work, contender.run, args))
    kernels.use(kernels.Backends())
    return {name: (statistics.median(a[1:]), statistics.median(b[1:])) for name, (a, b) in times.items()}


def seconds(work: Callable, run: Callable[..., Tensor], args: argparse.Namespace) -> float:
    """Return the time of one call, over several calls in a row."""
    synchronize(args.device)
    started = time.perf_counter()
    for _ in range(args.inner):
        work(run)
    synchronize(args.device)
    return (time.perf_counter() - started) / args.inner


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def rows(name: str, operation: Operation, times: dict[str, tuple[float, float]]) -> list[str]:
    """Return the table rows of one operation."""
    inputs = sum(value.nbytes for value in operation.inputs)
    output = operation.inputs[0].nbytes
    # Backward reads the gradient of the output and the inputs, and writes their gradients.
    traffic = inputs + output, 3 * inputs + 2 * output
    lines = []
    for contender, measured in times.items():
        if operation.flops:
            work, unit = (operation.flops, operation.step_flops), "TFLOP/s"
            rates = [amount / time_s / 1e12 for amount, time_s in zip(work, measured, strict=True)]
        else:
            unit, rates = "GB/s", [amount / time_s / 1e9 for amount, time_s in zip(traffic, measured, strict=True)]
        cells = (name, contender, *(f"{1e3 * time_s:.3f}" for time_s in measured),
                 *(f"{rate:.3g}" for rate in rates), unit, f"{times['eager'][1] / measured[1]:.2f}")  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |\n")
    return lines


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; ``--small`` changes the defaults, so that other options still apply."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=14080, help="tokens")
    parser.add_argument("--channels", type=int, default=4096)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15, help="turns; their median counts")
    parser.add_argument("--inner", type=int, default=5, help="calls timed as one")
    parser.add_argument("--operations", nargs="+", metavar="NAME", help="such as rms_norm; all by default")
    parser.add_argument("--recipes", nargs="+", default=["none", "current"], help="FP8 recipes of TransformerEngine")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it needs a compiler")
    parser.add_argument("--small", action="store_true", help="small sizes and four operations, seconds on one core")
    if parser.parse_args(arguments).small:
        parser.set_defaults(**SMALL)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and print."""
    args, out = parse(), sys.stdout.write
    known = operations(args)
    if unknown := set(args.operations or ()) - set(known):
        sys.exit(f"unknown operation {min(unknown)}: known are {', '.join(known)}")
    sizes = f"batch {args.batch}, {args.length} tokens, {args.channels} channels, {args.heads} heads, {args.dtype}"
    out(f"{sizes}; {machine(args.device)}; {time.strftime('%Y-%m-%d')}\n\n")
    out("| operation | backend | forward ms | step ms | forward | step | unit | speed |\n" + "|---" * 8 + "|\n")
    left_out: dict[str, None] = {}
    for name in args.operations or known:
        found, missing = contenders(known[name], args)
        out("".join(rows(name, known[name], measure(known[name], found, args))))
        sys.stdout.flush()
        left_out.update(dict.fromkeys(missing))
    if left_out:
        out(f"\nNot run here: {'; '.join(left_out)}\n")


if __name__ == "__main__":
    main()
