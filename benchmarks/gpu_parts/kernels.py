"""Speed of each operation of ``cosmos_lidar.kernels`` on each backend, at the sizes of the 7 B transformer."""

from __future__ import annotations

from collections.abc import Iterator

import kernels as benchmark  # the benchmark of that name

from gpu_parts.common import Options, Row, attempts


def rows(options: Options) -> Iterator[Row]:
    """Yield ms of forward, and of forward and backward, of each backend of each operation."""
    flags = ["--device", options.device]
    flags += ["--small", "--length", "32", "--no-compile", "--repeats", "1"] if options.tiny else ["--repeats", "5"]
    args = benchmark.parse(flags)
    known = benchmark.operations(args)
    names = args.operations or list(known)
    found = attempts(options, {name: lambda name=name: _measure(known[name], args) for name in names})
    for row in found:
        times = row.pop("times", {})
        yield from ({**row, "name": f"{row['name']}, {backend}", **both} for backend, both in times.items())
        if not times:
            yield row


def _measure(operation: benchmark.Operation, args: object) -> Row:
    contenders, _ = benchmark.contenders(operation, args)
    times = benchmark.measure(operation, contenders, args)
    eager = times["eager"][1]
    return {"times": {name: {"forward_ms": 1e3 * forward, "step_ms": 1e3 * step, "speed": eager / step}
                      for name, (forward, step) in times.items()}}  # fmt: skip
