"""The GPU benchmark: parts that crash and hang, resuming, its tables, and a rehearsal on a machine with torch alone."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.bare_machine import ROOT, bare_environment
from tests.waiting import PATIENCE_S, wait_until

FOLDER = ROOT / "benchmarks"
PRINTS = 'print("compiling"); print(\'ROW {"name": "first", "step_s": 0.5}\', flush=True); '
PROGRAMS = {
    "machine": PRINTS,
    "contract": PRINTS + "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "dit": PRINTS + "raise ValueError('no kernel for this GPU')",
    "nccl": PRINTS + "import subprocess as s, sys; p = s.Popen([sys.executable, '-c', 'import time; time.sleep(9e9)'])"
                     "; print('ROW {\"name\": \"child\", \"pid\": %d}' % p.pid, flush=True); p.wait()",
}  # fmt: skip


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("gpu")
    monkeypatch.setattr(module, "GRACE_S", 1.0)
    monkeypatch.setattr(module, "command", lambda name, given: [sys.executable, "-c", PROGRAMS[name]])
    return module


def arguments(folder: Path, *more: str) -> list[str]:
    return ["--device", "cpu", "--tiny", "--out", str(folder / "gpu.json"), *more]


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "gpu.json").read_text(encoding="utf-8"))


def run(gpu: ModuleType, folder: Path, *more: str) -> bool:
    args = gpu.parse(arguments(folder, *more))
    return gpu.measure(args, gpu.Results.open(args))


def ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_part_that_crashes_or_hangs_costs_its_own_rows_alone(gpu: ModuleType, tmp_path: Path) -> None:
    started = time.monotonic()
    assert not run(gpu, tmp_path, "--minutes", "0.1", "--parts", *PROGRAMS)
    assert time.monotonic() - started < PATIENCE_S
    parts = read(tmp_path)["parts"]
    assert list(parts) == list(PROGRAMS)
    assert parts["machine"]["state"] == "done"
    assert parts["contract"]["state"] == "failed: SIGSEGV"
    assert parts["dit"]["state"] == "failed: ValueError: no kernel for this GPU"
    assert parts["nccl"]["state"].startswith("ended after ")
    for part in parts.values():
        assert part["rows"][0] == {"name": "first", "step_s": 0.5}
    pid = parts["nccl"]["rows"][1]["pid"]
    wait_until(lambda: ended(pid), "the child of the part that hangs")


def test_resuming_measures_what_is_missing(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(gpu, tmp_path, "--parts", "machine", "dit")
    with pytest.raises(SystemExit, match="exists: --resume measures what it lacks, --out NAME begins another"):
        run(gpu, tmp_path)
    started = []
    programs = {"dit": PRINTS}
    monkeypatch.setattr(gpu, "command", lambda name, _: started.append(name) or [sys.executable, "-c", programs[name]])
    assert run(gpu, tmp_path, "--resume", "--parts", "machine", "dit")
    assert started == ["dit"]
    assert {name: part["state"] for name, part in read(tmp_path)["parts"].items()} == {"machine": "done", "dit": "done"}


def test_time_that_a_part_leaves_goes_to_the_next(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    monkeypatch.setattr(gpu, "run_part", lambda name, results, seconds: given.append(seconds) or "done")
    run(gpu, tmp_path, "--minutes", "1", "--parts", "machine", "dit", "kernels")
    weights = [gpu.PARTS[name] for name in ("machine", "dit", "kernels")]
    assert given == pytest.approx([60 * weights[0] / sum(weights), 60 * weights[1] / sum(weights[1:]), 60], abs=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"device": "cuda", "tiny": false, "parts": {}}', "has results of --device cuda: --out NAME"),
        (
            '{"device": "cpu", "tiny": true, "parts": {"x": {"state": "done"}}}',
            "unknown part x; valid: machine, contract",
        ),
        ("[1]", "not a file of results of this program"),
        ('{"device": "cpu"', "not a file of results of this program"),
    ],
)
def test_files_that_are_no_results(gpu: ModuleType, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "gpu.json").write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match=message):
        run(gpu, tmp_path, "--resume")
    assert (tmp_path / "gpu.json").read_text(encoding="utf-8") == content


def test_wrong_options(gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--minutes", "0"], "--minutes 0: expected a positive number"),
        (["--parts", "dits"], "invalid choice: 'dits'"),
        (["--write-docs"], "a rehearsal can write into --docs FOLDER"),
    ):
        with pytest.raises(SystemExit):
            gpu.parse(arguments(tmp_path, *more))
        assert message in capsys.readouterr().err


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("gpu_docs")


def test_tables_are_written_between_their_marks(docs: ModuleType) -> None:
    page = "# Page\n\n<!-- gpu: dit -->\nold\n<!-- gpu end -->\n\nText.\n\n<!-- gpu: nccl -->\n<!-- gpu end -->\n"
    versions = {"name": "versions", "device": "NVIDIA H200", "torch": "2.11.0", "cuda": "12.8"}
    step = {"name": "compile", "step_s": 0.12345, "tflops": 401.2, "mfu": 0.5123, "first_s": 31.26, "peak_gib": 71.0}
    others = [{"name": "te", "left_out": "te is not | installed"}, {"name": "eager", "error": "OutOfMemoryError: x"}]
    parts = {"machine": {"state": "done", "rows": [versions]},
             "dit": {"state": "ended after 9 s", "rows": [{**step, "tokens_s": None}, *others]}}  # fmt: skip
    document = {"device": "cuda", "tiny": False, "date": "2026-01-02", "parts": parts}
    written = docs.fill(page, document)
    head, rest = written.split("<!-- gpu end -->", 1)
    lines = head.splitlines()
    assert lines[:5] == ["# Page", "", "<!-- gpu: dit -->", "NVIDIA H200, torch 2.11.0, CUDA 12.8, 2026-01-02:", ""]
    assert lines[5] == "|  | step s | tokens/s | TFLOP/s | MFU | first call s | peak GiB |"
    assert lines[7] == "| compile | 0.123 | – | 401 | 51.2 % | 31.3 | 71.00 |"
    assert lines[9] == ("Not measured: te (te is not / installed); eager (OutOfMemoryError: x); "
                        "further rows (ended after 9 s).")  # fmt: skip
    assert rest == f"\n\nText.\n\n<!-- gpu: nccl -->\n{docs.NOT_MEASURED}<!-- gpu end -->\n"
    assert docs.fill(written, document) == written
    with pytest.raises(ValueError, match="<!-- gpu: dits -->: valid: machine, "):
        docs.fill("<!-- gpu: dits -->\n<!-- gpu end -->\n", document)


def test_every_part_has_a_place_in_the_documentation(docs: ModuleType, gpu: ModuleType) -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    places = [found[2] for found in docs._PLACE.finditer(pages)]
    assert set(docs.COLUMNS) == set(gpu.PARTS)
    assert set(places) == set(gpu.PARTS)
    assert pages.count("<!-- gpu: ") == pages.count("<!-- gpu end -->") == len(places)


@pytest.mark.slow
def test_a_rehearsal_on_a_machine_with_torch_alone(docs: ModuleType, tmp_path: Path) -> None:
    """Every part in full, its rows in the tables; no row failed."""
    site, pages = tmp_path / "site", tmp_path / "docs"
    site.mkdir()
    shutil.copytree(ROOT / "docs", pages)
    command = [sys.executable, "-W", "ignore", str(FOLDER / "gpu.py"), *arguments(tmp_path, "--write-docs")]
    command += ["--docs", str(pages), "--minutes", "60"]
    done = subprocess.run(command, env=bare_environment(site), capture_output=True, text=True, timeout=4 * PATIENCE_S)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    parts = read(tmp_path)["parts"]
    assert list(parts) == list(importlib.import_module("gpu_parts").PARTS)
    for name, part in parts.items():
        assert part["state"] == "done", name
        rows = {row["name"]: row for row in part["rows"]}
        assert not [row for row in rows.values() if "error" in row], rows
        measured = [row for row in rows.values() if "left_out" not in row and row["name"] != "versions"]
        assert measured, name
        for _, key, _ in docs.COLUMNS[name]:
            assert any(row.get(key) is not None for row in measured), (name, key)
        for row in measured:
            assert row.get("agree", 0) == row.get("cases", 0), row
    shown = "".join(path.read_text(encoding="utf-8") for path in pages.glob("*.md"))
    assert docs.NOT_MEASURED not in shown
    assert "Rehearsal with small networks: " in shown
