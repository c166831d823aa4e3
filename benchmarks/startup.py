"""Start-up time: from the command to the first training step, and of commands that only answer.

    OMP_NUM_THREADS=1 python benchmarks/startup.py [--repeats 5] [--only TEXT] [--imports]

The first step counts once its row is in ``metrics.csv`` of a debug recipe; its process is then ended. CPU seconds are
those of the process (Linux), and a better measure than wall seconds on a machine with other work. Each cell is a
median; the rows take turns. A warm-up round comes first, so that files are in the page cache and compiled to bytecode.
``--imports`` prints the packages that were imported by the first step, with the seconds of their own modules.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tokenizer import machine  # the benchmark beside this one

ROOT = Path(__file__).resolve().parents[1]
RECIPE = [str(ROOT / "recipes" / "dit.py"), "recipe=debug"]
COMMAND = ["-m", "cosmos_lidar"]
TRAIN = [*COMMAND, "train", "dit", "recipe=debug"]
# Row of the table -> command line behind ``python``, goal in seconds, exit status.
ANSWERS: dict[str, tuple[list[str], float, int]] = {
    "`recipes/dit.py --help`": ([RECIPE[0], "--help"], 1.5, 0),
    "`recipes/dit.py recipe=debug --dryrun`": ([*RECIPE, "--dryrun"], 1.5, 0),
    "`recipes/dit.py recipe=debug` with a misspelled option": ([*RECIPE, "trainer.max_step=1"], 1.5, 2),
    "`cosmos-lidar --help`": ([*COMMAND, "--help"], 1.5, 0),
    "`cosmos-lidar train dit --help`": ([*COMMAND, "train", "dit", "--help"], 1.5, 0),
    "`cosmos-lidar train dit recipe=debug --dryrun`": ([*TRAIN, "--dryrun"], 1.5, 0),
    "`cosmos-lidar train dit recipe=debug` with a misspelled option": ([*TRAIN, "trainer.max_step=1"], 1.5, 2),
}
FIRST_STEP: dict[str, tuple[list[str], float]] = {
    "`recipes/dit.py recipe=debug`, to the first step": (RECIPE, 8.0),
    "the same with `log.tensorboard=false`": ([*RECIPE, "log.tensorboard=false"], 8.0),
}
IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")
SHOWN = 25  # rows of --imports


@dataclass(frozen=True)
class Taken:
    """Seconds that something took: on the clock, and of CPU in its process."""

    wall_s: float
    cpu_s: float


def time_answer(arguments: list[str], status: int) -> Taken:
    """Run a command to its end."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    _, code, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode != status:
        raise SystemExit(f"{' '.join(arguments)}: exit status {child.returncode}, expected {status}")
    return Taken(wall, usage.ru_utime + usage.ru_stime)


def time_first_step(arguments: list[str], *options: str) -> tuple[Taken, str]:
    """Run a recipe until the row of its first step is written; returns the times and what it wrote to stderr."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "stderr").open("w+", encoding="utf-8") as stderr:
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *options, *arguments, f"log.root={folder}"],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment(),
        )
        try:
            while not has_step(Path(folder)):
                if child.poll() is not None:
                    raise SystemExit(f"{' '.join(arguments)}: ended before the first step:\n{_text(stderr)}")
                time.sleep(0.005)
            return Taken(time.perf_counter() - start, cpu_seconds(child.pid)), _text(stderr)
        finally:
            child.kill()
            child.wait()


def has_step(folder: Path) -> bool:
    """Tell whether a run below ``folder`` has written the row of a training step: its rows before have no loss."""
    for path in folder.glob("*/*/*/metrics.csv"):
        header, *rows = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines() or [""])
        if any(dict(zip(header, row, strict=False)).get("loss") for row in rows):
            return True
    return False


def cpu_seconds(pid: int) -> float:
    """Return the user and system seconds of a running process."""
    fields = Path("/proc", str(pid), "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    """Return the environment of the commands, with this tree's packages and one thread."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def _text(stream: object) -> str:
    stream.flush()  # type: ignore[attr-defined]
    stream.seek(0)  # type: ignore[attr-defined]
    return str(stream.read())  # type: ignore[attr-defined]


def print_table(repeats: int, only: str) -> None:
    """Measure and print the rows whose names contain ``only``."""
    first = {name: row for name, row in FIRST_STEP.items() if only in name}
    answers = {name: row for name, row in ANSWERS.items() if only in name}
    taken: dict[str, list[Taken]] = {name: [] for name in (*first, *answers)}
    for _ in range(repeats + 1):
        for name, (arguments, _) in first.items():
            taken[name].append(time_first_step(arguments)[0])
        for name, (arguments, _, status) in answers.items():
            taken[name].append(time_answer(arguments, status))
    sys.stdout.write(
        f"{machine('cpu')}; medians of {repeats}\n\n| command | wall s | CPU s | goal s |\n|---|---|---|---|\n"
    )
    for name, times in taken.items():
        wall, cpu = (statistics.median(getattr(one, part) for one in times[1:]) for part in ("wall_s", "cpu_s"))
        goal = first[name][1] if name in first else answers[name][1]
        sys.stdout.write(f"| {name} | {wall:.2f} | {cpu:.2f} | {goal:.1f} |\n")


def print_imports() -> None:
    """Print the packages imported by the first step: modules, and seconds in their own code."""
    _, text = time_first_step(RECIPE, "-X", "importtime")
    seconds, modules = Counter[str](), Counter[str]()
    for micros, name in IMPORT_LINE.findall(text):
        package = name.partition(".")[0]
        seconds[package] += int(micros) / 1e6
        modules[package] += 1
    sys.stdout.write(f"{sum(modules.values())} modules, {sum(seconds.values()):.2f} s (python -X importtime)\n\n")
    sys.stdout.write("| package | modules | s |\n|---|---|---|\n")
    for package, spent in seconds.most_common(SHOWN):
        sys.stdout.write(f"| {package} | {modules[package]} | {spent:.2f} |\n")


def main() -> None:
    """Measure what the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of each row, after a warm-up (default 5)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose names contain it")
    parser.add_argument("--imports", action="store_true", help="print the imported packages instead")
    options = parser.parse_args()
    if options.imports:
        print_imports()
    else:
        print_table(options.repeats, options.only)


if __name__ == "__main__":
    main()
