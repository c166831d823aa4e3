"""Lazy import of torchmetrics: Lightning needs two of its classes, its package imports audio, text and plots.

``lightning.pytorch`` does ``from torchmetrics import Metric``, and the package's ``__init__`` then imports all metrics,
with scipy and transformers, at every start of a training. No option of Lightning or torchmetrics leaves that out, and
:class:`importlib.util.LazyLoader` does not help, as it imports the package at the first attribute. :func:`install` adds
a finder that defers the ``__init__`` as ``LazyLoader`` does, but finds the few names that Lightning uses
(:data:`EARLY`) in their modules. Nothing is hidden or replaced: any other name runs the ``__init__`` in the same
module, and so does one of these where another version of torchmetrics has moved it.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

PACKAGE = "torchmetrics"
# Name in the package -> module that defines it; torchmetrics.utilities has to be imported before torchmetrics.metric.
EARLY = {
    "Metric": f"{PACKAGE}.metric",
    "MetricCollection": f"{PACKAGE}.collections",
    "__version__": f"{PACKAGE}.__about__",
}
_BEFORE = f"{PACKAGE}.utilities"
_LOGGER = "_logger"  # torchmetrics.utilities takes it from the package
_loading = threading.RLock()


class LazyPackage(Loader):
    """Loader that runs the ``__init__`` of a package when a name is asked of it that is not in :data:`EARLY`.

    Args:
        loader: of the package, as Python found it.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module that the package's own loader makes; None for Python's default."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module functions for names that it does not have (PEP 562), instead of running its code."""

        def find(name: str) -> Any:
            if name == _LOGGER:
                import logging

                return logging.getLogger(PACKAGE)
            if name in EARLY:
                try:
                    import_module(_BEFORE)
                    return getattr(import_module(EARLY[name]), name)
                except (ImportError, AttributeError):
                    pass  # another layout than that of the version known here
            self._load(module)
            try:
                return vars(module)[name]
            except KeyError:
                raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}") from None

        def names() -> list[str]:
            self._load(module)
            return sorted(vars(module))

        functions: dict[str, Any] = {"__getattr__": find, "__dir__": names}
        vars(module).update(functions)

    def _load(self, module: ModuleType) -> None:
        with _loading:
            names = ("__getattr__", "__dir__")
            functions: dict[str, Any] = {name: vars(module).pop(name) for name in names if name in vars(module)}
            if not functions:  # another thread has loaded it, or this one is about to
                return
            try:
                self.loader.exec_module(module)
            except BaseException:
                vars(module).update(functions)
                raise
            module.__loader__ = self.loader
            if module.__spec__ is not None:
                module.__spec__.loader = self.loader


class LazyFinder:
    """Finder (PEP 451) of torchmetrics, ahead of Python's own, which finds the files."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of the package with a :class:`LazyPackage`; None for all other modules."""
        if name != PACKAGE:
            return None
        spec = PathFinder.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        spec.loader = LazyPackage(spec.loader)
        return spec


def install() -> None:
    """Import torchmetrics lazily from now on, unless it is already there."""
    if PACKAGE not in sys.modules and LazyFinder not in sys.meta_path:
        sys.meta_path.insert(0, LazyFinder)
