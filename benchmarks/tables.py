"""Markdown tables of benchmarks."""

from __future__ import annotations


def table_head(*names: str) -> str:
    """Return the header of a table, two lines."""
    return row(*names) + "|---" * len(names) + "|\n"


def row(*cells: object) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |\n"
