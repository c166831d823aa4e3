"""The errors that a user can mend, and how they are worded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any


class UserError(Exception):
    """A mistake in what was asked for: an unknown name, an impossible option. The message says what to change."""


class DataError(UserError):
    """Input that cannot be used; the message names the file, the clip and the key, and what was wanted.

    Args:
        problem: what was found, in one sentence.
        file: the file or folder that holds it.
        clip: the clip's id, where one is known.
        key: the member, array or field inside the file.
        wanted: what would have been right, and what to do.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        clip: str | None = None,
        key: str | None = None,
        wanted: str | None = None,
    ) -> None:
        self.problem, self.file, self.clip, self.key, self.wanted = problem, file, clip, key, wanted
        where = [f"{name} {value}" for name, value in (("file", file), ("clip", clip), ("key", key)) if value]
        text = problem + (f" [{', '.join(where)}]" if where else "")
        super().__init__(text + (f" Wanted: {wanted}" if wanted else ""))

    def __reduce__(self) -> tuple:
        """Survive the trip from a worker process: exceptions with keyword arguments do not pickle by themselves."""
        return _rebuild_data_error, (self.problem, self.file, self.clip, self.key, self.wanted)


def _rebuild_data_error(
    problem: str, file: str | Path | None, clip: str | None, key: str | None, wanted: str | None
) -> DataError:
    return DataError(problem, file=file, clip=clip, key=key, wanted=wanted)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``, for error messages about misspelled keys."""
    import difflib

    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def require(module: str, extra: str) -> Any:
    """Import an optional package, or say how to install it.

    Args:
        module: dotted module name, such as ``"megatron.energon"``.
        extra: the extra of this project that brings it, such as ``"train"``.

    Raises:
        UserError: the module is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{module} is needed here and {error.name} is not installed: "
            f"pip install -c constraints.txt 'cosmos_lidar[{extra}]'"
        ) from error
