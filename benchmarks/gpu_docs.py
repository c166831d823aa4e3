"""Tables of the documentation that ``gpu.py`` fills: between ``<!-- gpu: PART -->`` and ``<!-- gpu end -->``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tables import row, table_head

NOT_MEASURED = "Not measured yet: `python benchmarks/gpu.py --write-docs` on a machine with a GPU fills this table.\n"
_PLACE = re.compile(r"(<!-- gpu: (\w+) -->\n).*?(<!-- gpu end -->)", re.DOTALL)


def _number(digits: int, factor: float = 1.0, unit: str = "") -> Callable[[Any], str]:
    return lambda value: "–" if value is None else f"{factor * value:.{digits}f}{unit}"


def _text(value: Any) -> str:
    return "–" if value is None else str(value).replace("|", "/")


_MS, _S, _MILLI, _GIB = _number(1), _number(2), _number(3), _number(2)
_SHARE = _number(1, 100.0, " %")
_FIRST = ("first call s", "first_s", _MS)
# Part -> its columns after the name: head, key of the row, format.
COLUMNS: dict[str, list[tuple[str, str, Callable[[Any], str]]]] = {
    "machine": [("TFLOP/s", "tflops", _MS), ("GB/s", "gb_s", _number(0))],
    "contract": [("cases that agree", "agree", _text), ("of", "cases", _text), ("first other one", "wrong", _text)],
    "lidar_tokenizer": [("encode ms", "encode_ms", _MS), ("decode ms", "decode_ms", _MS), ("maps/s", "maps_s", _MS),
                        _FIRST, ("peak GiB", "peak_gib", _GIB)],
    "lidargen": [("evaluations", "evaluations", _text), ("s/map", "map_s", _S), ("ms/evaluation", "evaluation_ms", _MS),
                 ("peak GiB", "peak_gib", _GIB)],
    "dit": [("step s", "step_s", _number(3)), ("tokens/s", "tokens_s", _number(0)), ("TFLOP/s", "tflops", _number(0)),
            ("MFU", "mfu", _SHARE), _FIRST, ("peak GiB", "peak_gib", _GIB)],
    "multiview": [("step s", "step_s", _S), ("TFLOP", "tflop", _number(0)), ("TFLOP/s", "tflops", _number(0)),
                  ("MFU", "mfu", _SHARE), _FIRST, ("peak GiB", "peak_gib", _GIB)],
    "video": [("T x H x W", "size", _text), ("encode frames/s", "encode_frames_s", _MS),
              ("decode frames/s", "decode_frames_s", _MS), ("peak GiB", "peak_gib", _GIB)],
    "sparse": [("voxels", "voxels", _number(0)), ("maps s", "maps_s", _MILLI), ("forward s", "forward_s", _MILLI),
               ("GEMM s", "forward_gemm_s", _number(3)), ("backward s", "backward_s", _number(3)),
               ("GEMM s", "backward_gemm_s", _number(3)), ("peak GB", "peak_gb", _GIB)],
    "nccl": [("right", "agree", _text), ("of", "cases", _text), ("MB", "mb", _number(0)), ("ms", "ms", _number(3))],
    "memory": [("predicted GiB", "predicted_gib", _GIB), ("measured GiB", "measured_gib", _GIB),
               ("ratio", "ratio", _S)],
    "kernels": [("forward ms", "forward_ms", _number(3)), ("step ms", "step_ms", _number(3)), ("speed", "speed", _S)],
}  # fmt: skip


def table(part: str, document: dict[str, Any]) -> str:
    """Return the table of a part; rows that are missing or failed stand below it, with the reason."""
    entry = document["parts"].get(part, {})
    rows = [one for one in entry.get("rows", []) if one["name"] != "versions"]
    columns = COLUMNS[part]
    whole = [one for one in rows if not {"error", "left_out"} & set(one)]
    if not whole:
        return NOT_MEASURED
    lines = [f"{_where(document)}\n\n", table_head("", *(head for head, _, _ in columns))]
    lines += [row(one["name"], *(write(one.get(key)) for _, key, write in columns)) for one in whole]
    others = [f"{one['name']} ({_text(one.get('error') or one['left_out'])})" for one in rows if one not in whole]
    if entry["state"] != "done":
        others.append(f"further rows ({_text(entry['state'])})")
    return "".join(lines) + (f"\nNot measured: {'; '.join(others)}.\n" if others else "")


def _where(document: dict[str, Any]) -> str:
    rows = document["parts"].get("machine", {}).get("rows", [])
    found = next((one for one in rows if one["name"] == "versions"), {})
    cuda = f", CUDA {found['cuda']}" if found.get("cuda") else ""
    rehearsal = "Rehearsal with small networks: " if document["tiny"] else ""
    device = found.get("device", document["device"])
    return f"{rehearsal}{device}, torch {found.get('torch', '?')}{cuda}, {document['date']}:"


def fill(text: str, document: dict[str, Any]) -> str:
    """Return a page with the tables of its marked places rewritten; all else stays.

    Raises:
        ValueError: a mark names no part.
    """

    def write(found: re.Match[str]) -> str:
        if found[2] not in COLUMNS:
            raise ValueError(f"<!-- gpu: {found[2]} -->: valid: {', '.join(COLUMNS)}")
        return f"{found[1]}{table(found[2], document)}{found[3]}"

    return _PLACE.sub(write, text)


def write_tables(document: dict[str, Any], folder: Path) -> list[Path]:
    """Fill the marked places of all pages of a folder; returns those that changed."""
    changed = []
    for path in sorted(folder.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (written := fill(text, document)) != text:
            path.write_text(written, encoding="utf-8")
            changed.append(path)
    return changed
