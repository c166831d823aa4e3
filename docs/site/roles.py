"""Griffe extension for the API pages: roles of docstrings become links, options of configurations are documented."""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr):`~?([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites the docstring of every object that is loaded."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Replace ``:class:`Name``` by a link to what the object knows by that name, and ``text::`` by ``text:``."""
        if obj.docstring is not None:
            text = _ROLE.sub(lambda match: _link(obj, match[1]), obj.docstring.value)
            obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Give a field ``name: type = setting(default, "text")`` its default and its text."""
        call = attr.value
        if isinstance(call, griffe.ExprCall) and str(call.function) == "setting" and len(call.arguments) == 2:
            default, text = call.arguments
            attr.value = default
            attr.docstring = griffe.Docstring(ast.literal_eval(str(text)), parent=attr)


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
