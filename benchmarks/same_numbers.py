"""Do two revisions compute the same numbers? The gate for every change that is to change none.

    python benchmarks/same_numbers.py HEAD~1 HEAD
    python benchmarks/same_numbers.py v0.1 . --only losses,resume     # "." is the working tree

Both revisions are checked out into temporary git worktrees, and the same command lines run in each: recipes and
``cosmos-lidar`` commands, on one thread, in folders of the same names. What they leave behind is compared bit for bit:

configs  the resolved options of every variant of every recipe; new options are allowed
synth    synthetic drives
losses   loss, gradient norm and validation of ten steps of every ``debug`` variant, and on prepared data
shards   what ``prepare`` and ``encode-views`` write
exports  names, shapes, types and bytes of exported weights; outputs of TorchScript files
metrics  ``autoencode``, ``evaluate``, ``latents-stats``, ``reconstruct``, ``tokenize``, ``generate-lidar``
resume   run folders and shards of the first revision, resumed, replayed, exported and read by the second one

What only the second revision has is reported as new. Exit status 1: a difference, or a command that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from revisions.crossings import Crossing, crossings
from revisions.observed import Seen
from revisions.probes import PARTS, Probe, probes, with_needs
from revisions.tree import FailedError, Tree

ROOT = Path(__file__).resolve().parents[1]
UNUSABLE = (FailedError, OSError, ValueError, RuntimeError, KeyError)  # of a command, or of what it wrote


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        part: one of PARTS.
        name: what was compared.
        result: equal, new, DIFFERENT or FAILED.
        values: how many were compared.
        notes: the values that differ, or are new, or why it failed.
    """

    part: str
    name: str
    result: str
    values: int
    notes: list[str]


def compare(part: str, name: str, wanted: Seen, got: Seen) -> Row:
    """Return the row of two observations; values that only the second one has are new, not different."""
    if not wanted:
        return Row(part, name, "new" if got else "FAILED", len(got), [] if got else ["nothing was left behind"])
    changed = [f"{key}: {value} -> {got.get(key, 'absent')}" for key, value in wanted.items() if got.get(key) != value]
    new = [f"new {key}: {value}" for key, value in got.items() if key not in wanted]
    return Row(part, name, "DIFFERENT" if changed else "equal", len(wanted), changed + new)


@contextlib.contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """Give the source tree of a revision; ``.`` is the working tree as it is.

    Raises:
        SystemExit: no such revision in git.
    """
    if revision == ".":
        yield ROOT
        return
    git = ["git", "-C", str(ROOT), "worktree"]
    added = subprocess.run([*git, "add", "--detach", str(folder), revision], capture_output=True, text=True)
    if added.returncode:
        raise SystemExit(f"{revision}: {added.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], capture_output=True, check=False)


def observe(tree: Tree, wanted: list[Probe]) -> dict[Probe, Seen | FailedError]:
    """Run the probes in one tree, in order; one that fails does not keep the others from running."""
    results: dict[Probe, Seen | FailedError] = {}
    for probe in wanted:
        try:
            results[probe] = probe.look(tree)
        except UNUSABLE as error:
            results[probe] = FailedError(f"{type(error).__name__}: {error}")
    return results


def cross(crossing: Crossing, a: Tree, b: Tree) -> Row:
    """Return the row of something that the first revision made and the second one resumes or reads."""
    try:
        return compare("resume", crossing.name, *crossing.look(a, b))
    except UNUSABLE as error:
        return Row("resume", crossing.name, "FAILED", 0, [f"{type(error).__name__}: {error}"])


def rows_of(
    parts: set[str], wanted: list[Probe], in_a: dict[Probe, Seen | FailedError], in_b: dict[Probe, Seen | FailedError]
) -> Iterator[Row]:
    """Yield the comparisons of what both trees computed."""
    for probe in wanted:
        if probe.part not in parts:
            continue
        a, b = in_a[probe], in_b[probe]
        failed = [f"{name}: {seen}" for name, seen in (("A", a), ("B", b)) if isinstance(seen, FailedError)]
        yield Row(probe.part, probe.name, "FAILED", 0, failed) if failed else compare(probe.part, probe.name, a, b)


def examine(a: Tree, b: Tree, parts: set[str], families: list[str]) -> Iterator[Row]:
    """Yield every row of the parts, as it is known."""
    chosen = probes(families)
    wanted = with_needs(chosen, [probe for probe in chosen if probe.part in parts or "resume" in parts])
    with ThreadPoolExecutor(2) as pool:
        in_a, in_b = pool.map(lambda tree: observe(tree, wanted), (a, b))
        yield from rows_of(parts, wanted, in_a, in_b)
        if "resume" not in parts:
            return
        jobs = crossings(families)
        with a.again() as a2, b.again() as b2:
            halves = ((a, b, jobs[::2]), (a2, b2, jobs[1::2]))
            for rows in pool.map(lambda half: [cross(job, *half[:2]) for job in half[2]], halves):
                yield from rows


def compare_revisions(args: argparse.Namespace, parts: set[str], temporary: Path) -> Iterator[Row]:
    """Yield every row of two revisions; their trees are checked out below ``temporary``."""
    scratch = args.keep or temporary
    with contextlib.ExitStack() as stack:
        old, new = (
            stack.enter_context(Tree(stack.enter_context(checked_out(rev, temporary / f"tree_{name}")), scratch / name))
            for name, rev in (("A", args.a), ("B", args.b))
        )
        wanted = args.families.split(",") if args.families else [*old.families(), *new.families()]
        for name in dict.fromkeys(name for name in wanted if name not in new.families() or name not in old.families()):
            yield Row("configs", name, "new" if name in new.families() else "DIFFERENT", 0, ["recipe file"])
        both = [name for name in old.families() if name in new.families() and name in wanted]
        yield from examine(old, new, parts, both)


def show(row: Row, limit: int) -> str:
    """Return a row of the table, and its differences below it."""
    lines = [f"| {row.part} | {row.name} | {row.result} | {row.values} |"]
    lines += [f"    {note[:240]}" for note in row.notes[:limit]]
    if len(row.notes) > limit:
        lines.append(f"    … and {len(row.notes) - limit} more")
    return "\n".join(lines)


def main() -> int:
    """Compare two revisions; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="REV_A", help="what it was; . for the working tree")
    parser.add_argument("b", metavar="REV_B", help="what it is")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (default: all)")
    parser.add_argument("--families", metavar="A,B", help="recipe files (default: all that both revisions have)")
    parser.add_argument("--notes", type=int, default=5, help="differences shown per row (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, whole, to this file too")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what the programs wrote, in A/ and B/ of DIR")
    args = parser.parse_args()
    parts = set(args.only.split(","))
    if parts - set(PARTS):
        parser.error(f"--only {args.only}: valid: {', '.join(PARTS)}")
    start, rows = time.monotonic(), []
    sys.stdout.write("| part | what | result | values |\n|---|---|---|--:|\n")
    with tempfile.TemporaryDirectory(prefix="same_numbers_") as temporary:
        for row in compare_revisions(args, parts, Path(temporary)):
            rows.append(row)
            sys.stdout.write(show(row, args.notes) + "\n")
            sys.stdout.flush()
    bad = [row for row in rows if row.result in ("DIFFERENT", "FAILED")]
    seconds = time.monotonic() - start
    sys.stdout.write(f"\n{args.a} and {args.b}: {len(rows) - len(bad)} of {len(rows)} equal or new, {seconds:.0f} s\n")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the worktrees are removed
    sys.exit(main())
