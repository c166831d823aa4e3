"""Griffe extension: reads ``:class:`Name``` and ``text::`` of docstrings as links and code blocks of Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr):`~?([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites the docstring of every object that is loaded."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Replace roles by links to what they name, as seen from the object."""
        if obj.docstring is not None:
            text = _ROLE.sub(lambda match: _link(obj, match[1]), obj.docstring.value)
            obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)


def _link(obj: griffe.Object, name: str) -> str:
    """Return a link to a class, function or module; constants are on no page."""
    last = name.rpartition(".")[2]
    if last.isupper():
        return f"`{last}`"
    try:
        path = name if name.startswith("cosmos_lidar.") else obj.resolve(name)
    except griffe.NameResolutionError:
        return f"`{last}`"
    return f"[`{last}`][{path}]"
