"""User-written sample loaders: Python functions that a ``dataset.yaml`` names, run only where the user trusts them.

Energon's ``sample_loader`` maps the parts of a sample in the tar to those that a task encoder reads; ``part_filter``
chooses the parts that are read at all. Both are code that comes with data. They are refused unless
``data.trust_sample_loaders=true`` (``--trust-sample-loaders`` of ``check``) is given; then a warning names file and
function. Parts are the bytes of the tar: nothing is decoded before.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from cosmos_lidar.errors import DataError, UserError, problem_of
from cosmos_lidar.files import file_sha256
from cosmos_lidar.log import warn_once_a_minute

TRUST = "data.trust_sample_loaders=true (--trust-sample-loaders of `check`) runs sample loaders that you trust"
KEYS = ("sample_loader", "part_filter")
_MODULE, _FUNCTION = "__module__", "__function__"


@dataclass(frozen=True)
class UserFunction:
    """A function that a ``dataset.yaml`` names.

    Attributes:
        named_in: the ``dataset.yaml``.
        module: of an installed package, or the path of a file below the folder of the ``dataset.yaml``.
        name: of the function.
    """

    named_in: Path
    module: str
    name: str

    @property
    def file(self) -> Path | None:
        """The file that holds it; None for a module that Python finds by itself."""
        return self.named_in.parent / self.module if self.module.endswith(".py") else None

    def __str__(self) -> str:
        """Return file and function, as a warning names them."""
        return f"{self.name} of {self.file or f'module {self.module}'}"


@dataclass(frozen=True)
class SampleLoader:
    """What a ``dataset.yaml`` has its samples loaded with.

    Attributes:
        load: parts of the tar -> parts of the sample type.
        part_filter: function of a part's name, or names; None: all parts are read.
    """

    load: UserFunction
    part_filter: UserFunction | tuple[str, ...] | None = None

    @property
    def functions(self) -> list[UserFunction]:
        """All functions."""
        return [one for one in (self.load, self.part_filter) if isinstance(one, UserFunction)]

    def reads(self, part: str) -> bool:
        """Return whether a part of the tar is read; imports the user's code."""
        if isinstance(self.part_filter, UserFunction):
            return bool(import_function(self.part_filter)(part))
        return self.part_filter is None or part in self.part_filter

    def __call__(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parts of the sample type; imports and runs the user's code.

        Raises:
            DataError: the function fails, or returns no dictionary with texts as keys.
        """
        function, key = import_function(self.load), parts.get("__key__")
        try:
            made = function(dict(parts))
        except Exception as error:
            problem = f"{self.load} failed: {problem_of(error)}"
            raise DataError(problem, key=key, wanted="a function of these parts") from error
        if not isinstance(made, dict) or not all(isinstance(name, str) for name in made):
            problem = f"{self.load} returned {type(made).__name__}"
            raise DataError(problem, key=key, wanted="a dict of part name -> content")
        return made


def parse_function(path: Path, key: str, value: Any) -> UserFunction:
    """Return the function that a value of a ``dataset.yaml`` names; nothing is imported.

    Args:
        path: of the ``dataset.yaml``.
        key: ``sample_loader`` or ``part_filter``: also the name of the function where a file alone is named.
        value: ``FILE.py``, ``FILE.py:FUNCTION``, or a mapping with ``__module__`` and ``__function__``.

    Raises:
        DataError: anything else, or a file that is not there.
    """
    if isinstance(value, dict) and set(value) == {_MODULE, _FUNCTION} and all(map(_is_name, value.values())):
        return UserFunction(path, value[_MODULE], value[_FUNCTION])
    module, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    place, name = PurePosixPath(module), name or key
    if not module.endswith(".py") or place.is_absolute() or ".." in place.parts or not name.isidentifier():
        wanted = f"{key}.py:{key}, a file in {path.parent.name}, or {{{_MODULE}: …, {_FUNCTION}: …}}"
        raise DataError(f"{key}: {value!r} names no function", file=path, key=key, wanted=wanted)
    function = UserFunction(path, module, name)
    if not (path.parent / module).is_file():
        raise DataError(f"{key}: no such file {path.parent / module}", file=path, key=key, wanted="the file beside it")
    return function


def parse_loader(path: Path, load: Any, part_filter: Any) -> SampleLoader:
    """Return the sample loader of a ``dataset.yaml``; nothing is imported.

    Args:
        path: of the ``dataset.yaml``.
        load: value of ``sample_loader``.
        part_filter: value of ``part_filter``: a function, a list of parts, or None.

    Raises:
        DataError: as :func:`parse_function`.
    """
    function = parse_function(path, "sample_loader", load)
    if isinstance(part_filter, list) and all(isinstance(part, str) for part in part_filter):
        return SampleLoader(function, tuple(part_filter))
    return SampleLoader(function, None if part_filter is None else parse_function(path, "part_filter", part_filter))


def warn_of(loader: SampleLoader) -> None:
    """Warn that code of a folder of data is run: which function of which file, and what it holds."""
    for function in loader.functions:
        file = function.file
        content = f" (SHA-256 {file_sha256(file)[:16]}…)" if file is not None else ""
        text = "sample loaders are trusted: running %s%s, named in %s, as a program with all your rights"
        warn_once_a_minute(f"sample loader {function}", text, function, content, function.named_in)


@lru_cache(maxsize=64)
def import_function(function: UserFunction) -> Callable[..., Any]:
    """Import a function; this runs the code of its file.

    Raises:
        UserError: the file or module cannot be imported, or has no such function.
    """
    try:
        found = getattr(_import(function), function.name)
    except Exception as error:
        raise UserError(f"{function}, named in {function.named_in}: cannot be imported: {problem_of(error)}") from error
    if not callable(found):
        raise UserError(f"{function}, named in {function.named_in}: expected a function, got {type(found).__name__}")
    return found


def _import(function: UserFunction) -> Any:
    if function.file is None:
        return importlib.import_module(function.module)
    name = f"_sample_loader_{hashlib.sha256(str(function.file).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, function.file)
    assert spec is not None  # the file ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_name(value: object) -> bool:
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))
