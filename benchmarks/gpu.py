"""Everything that needs a GPU, measured with one command in ten minutes, and written into the documentation.

    python benchmarks/gpu.py --write-docs
    python benchmarks/gpu.py --device cpu --tiny        # a rehearsal

Python, torch and Triton are all that is needed. The parts run in order of value, each in a process of its own and
within its share of the time: one that crashes, hangs or takes too long costs its own remaining rows, and every row is
in the results as soon as it is measured. What a part leaves of its time goes to those after it. Parts:

    machine          rate of matrix products, bandwidth of copies, optional packages
    contract         every operation on every backend (Triton, cuDNN, TransformerEngine, apex) against its formula
    lidar_tokenizer  range maps per second at 512 x 1800, beside the network's own TorchScript export
    lidargen         7 B camera-to-lidar: seconds per map with 36, 9 and 5 evaluations
    dit              a training step of the 2 B transformer; MFU relative to the measured rate of matrix products
    multiview        a training step of 2 B multi-view diffusion, 480p, 5 views, cached latents, both scopes
    video            frames per second of CV8x8x8 and of the Wan2.1 VAE
    sparse           MinkUNet34 on two sweeps, forward and backward
    nccl             collectives and FSDP on one card
    memory           peak of a step that the doctor predicts, beside the measured one
    kernels          speed of every operation on every backend

``--resume`` keeps the finished parts of ``--out`` and measures the others; with ``--write-docs`` and all of them
finished it writes the tables alone. The exit status is 1 if a part did not finish.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gpu_docs import write_tables
from gpu_part import MARK
from gpu_parts import PARTS

ROOT = Path(__file__).resolve().parents[1]
GRACE_S = 10.0  # that a part has beyond its time, before it is ended


class Results:
    """The JSON file, rewritten with each row.

    Args:
        path: of the file.
        document: what it holds.
    """

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self.path, self.document = path, document

    @classmethod
    def open(cls, args: argparse.Namespace) -> Results:
        """Begin a file, or continue one.

        Raises:
            SystemExit: a file is there and ``--resume`` was not given, or it holds results of other options.
        """
        asked = {"device": args.device, "tiny": args.tiny}
        if not args.out.exists():
            return cls(args.out, {**asked, "date": time.strftime("%Y-%m-%d"), "parts": {}})
        if not args.resume:
            sys.exit(f"{args.out} exists: --resume measures what it lacks, --out NAME begins another")
        try:
            found = json.loads(args.out.read_text(encoding="utf-8"))
            same = {name: found[name] for name in asked} == asked
            parts = {name: found["parts"][name]["state"] for name in found["parts"]}
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"{args.out}: not a file of results of this program ({type(error).__name__}: {error})")
        if not same:
            tiny = " --tiny" if found["tiny"] else ""
            sys.exit(f"{args.out} has results of --device {found['device']}{tiny}: --out NAME begins another")
        if unknown := set(parts) - set(PARTS):
            sys.exit(f"{args.out}: unknown part {min(unknown)}; valid: {', '.join(PARTS)}")
        return cls(args.out, found)

    def finished(self, part: str) -> bool:
        """Whether a part is there, with all of its rows."""
        return self.document["parts"].get(part, {}).get("state") == "done"

    def rate_tflops(self) -> float:
        """Return the measured rate of matrix products in bfloat16, or float32 on a CPU; 0 where there is none."""
        rows = {row["name"]: row for row in self.document["parts"].get("machine", {}).get("rows", [])}
        rate = rows.get("bfloat16" if self.document["device"] == "cuda" else "float32", {})
        return float(rate.get("tflops") or 0.0)

    def write(self) -> None:
        """Write the file; a reader never sees half of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".part")
        partial.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, self.path)


def run_part(name: str, results: Results, seconds: float) -> str:
    """Run a part in a process of its own, and note its rows as they come; returns its state."""
    document = results.document
    entry: dict[str, Any] = {"state": "running", "seconds": 0.0, "rows": []}
    document["parts"][name] = entry
    results.write()
    options = {name: document[name] for name in ("device", "tiny")}
    given = json.dumps({**options, "seconds": seconds, "rate_tflops": results.rate_tflops()})
    started = time.monotonic()
    errors: list[str] = []
    with subprocess.Popen(
        command(name, given),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        readers = [
            threading.Thread(target=note_rows, args=(process.stdout, entry, results), daemon=True),
            threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            process.wait(seconds + GRACE_S)
            state = "done" if process.returncode == 0 else f"failed: {reason(process.returncode, errors, readers)}"
        except subprocess.TimeoutExpired:
            state = f"ended after {seconds + GRACE_S:.0f} s"
        finally:
            end(process)
        for reader in readers:
            reader.join(GRACE_S)
    entry |= {"state": state, "seconds": round(time.monotonic() - started, 1)}
    results.write()
    return state


def command(name: str, given: str) -> list[str]:
    """Return the command of a part."""
    return [sys.executable, str(Path(__file__).with_name("gpu_part.py")), name, given]


def environment() -> dict[str, str]:
    """Return the environment of a part: the checkout is importable, and memory of the device does not fragment."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def note_rows(lines: Any, entry: dict[str, Any], results: Results) -> None:
    """Add the rows among the printed lines to the results."""
    for line in lines:
        if line.startswith(MARK):
            entry["rows"].append(json.loads(line.removeprefix(MARK)))
            results.write()
            sys.stdout.write(f"  {shown(entry['rows'][-1])}\n")
            sys.stdout.flush()


def shown(row: dict[str, Any]) -> str:
    """Return a row in one line."""
    values = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
              if key != "name" and value not in (None, ""))  # fmt: skip
    return f"{row['name']}: {', '.join(values)}"


def reason(code: int, errors: list[str], readers: list[threading.Thread]) -> str:
    """Return the last line of an error output, or the signal that ended the process."""
    readers[1].join(GRACE_S)
    if code < 0:
        return signal.Signals(-code).name
    lines = [line.strip() for line in errors if line.strip()]
    return (lines or [f"exit status {code}"])[-1][:300]


def end(process: subprocess.Popen[str]) -> None:
    """End a part and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def measure(args: argparse.Namespace, results: Results) -> bool:
    """Run the parts that are missing; returns whether all are there then."""
    started = time.monotonic()
    wanted = [name for name in PARTS if name in args.parts and not results.finished(name)]
    for number, name in enumerate(wanted):
        left = 60.0 * args.minutes - (time.monotonic() - started)
        share = PARTS[name] / sum(PARTS[one] for one in wanted[number:])
        if left < 1.0:
            results.document["parts"].setdefault(name, {"state": "no time was left", "seconds": 0.0, "rows": []})
            results.write()
            continue
        sys.stdout.write(f"{name}, at most {left * share:.0f} s\n")
        sys.stdout.flush()
        state = run_part(name, results, left * share)
        if state != "done":
            sys.stdout.write(f"  {name}: {state}\n")
    sys.stdout.write(f"{args.out}: {time.monotonic() - started:.0f} s\n")
    return all(results.finished(name) for name in args.parts)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--device", default="cuda", choices=["cuda", "cpu"])
    add("--tiny", action="store_true", help="small networks: every part in a minute on two cores")
    add("--minutes", type=float, default=10.0, help="for all parts together (default %(default)s)")
    add("--parts", nargs="+", default=list(PARTS), choices=PARTS, metavar="NAME", help="all by default")
    add("--out", type=Path, default=ROOT / "build" / "gpu.json", help="file of the results (default build/gpu.json)")
    add("--resume", action="store_true", help="keep the finished parts of --out")
    add("--write-docs", action="store_true", help="write the tables of the documentation from the results")
    add("--docs", type=Path, default=ROOT / "docs", help="folder of the documentation")
    args = parser.parse_args(arguments)
    if not 0.0 < args.minutes < 1e4:
        parser.error(f"--minutes {args.minutes:g}: expected a positive number")
    if args.write_docs and (args.tiny or args.device == "cpu") and args.docs.resolve() == ROOT / "docs":
        parser.error("--write-docs: the tables are of full sizes on a GPU; a rehearsal can write into --docs FOLDER")
    return args


def main() -> None:
    """Measure and write."""
    args = parse()
    results = Results.open(args)
    complete = measure(args, results)
    if args.write_docs:
        for path in write_tables(results.document, args.docs):
            sys.stdout.write(f"{path}\n")
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
