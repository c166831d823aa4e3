"""User errors: exceptions whose message names the option, file or key to change."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

RESTART_STATUS = 75  # exit status "temporary failure" of sysexits.h: worth another try


class UserError(Exception):
    """User error: an unknown name or an invalid option; the message contains the valid values."""


class DataError(UserError):
    """Invalid input data; the message names file, clip and key, and what was expected.

    Args:
        problem: what was found, in one sentence.
        file: the file or folder that holds it.
        clip: the clip's id, where one is known.
        key: the member, array or field inside the file.
        wanted: what was expected, and what to do.
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
        super().__init__(text + (f" Expected: {wanted}" if wanted else ""))

    def at(
        self,
        *,
        file: str | Path | None = None,
        clip: str | None = None,
        key: str | None = None,
        wanted: str | None = None,
    ) -> DataError:
        """Return this error with its place: what is given replaces file, clip, key and ``wanted``, the rest is kept."""
        return DataError(
            self.problem,
            file=file or self.file,
            clip=clip or self.clip,
            key=key or self.key,
            wanted=wanted or self.wanted,
        )

    def __reduce__(self) -> tuple:
        """Pickle support for worker processes: exceptions with keyword arguments do not pickle by default."""
        return _rebuild_data_error, (self.problem, self.file, self.clip, self.key, self.wanted)


class RanksMissingError(RuntimeError):
    """Some ranks of a run never arrived; a program ends with :data:`RESTART_STATUS`."""


def _rebuild_data_error(
    problem: str, file: str | Path | None, clip: str | None, key: str | None, wanted: str | None
) -> DataError:
    return DataError(problem, file=file, clip=clip, key=key, wanted=wanted)


def problem_of(error: Exception) -> str:
    """Return an error in one line without control characters, for the list of inputs that were left out."""
    text = " ".join(str(error).split()) or "no message"
    text = "".join(letter for letter in text if letter.isprintable())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def advice_of(error: BaseException, memory: str) -> str | None:
    """Return a line for an error that the user can do something about: a file system that refuses, memory that ends.

    Args:
        error: of any kind.
        memory: what to do about memory.

    Returns:
        What happened, and what to do; None for all other errors, whose traceback is wanted.
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    if isinstance(error, RuntimeError) and "inline_container" in str(error):  # torch.save and torch.jit.save
        return f"a file of weights cannot be written: {str(error).strip().splitlines()[0][:200]}"
    cause: BaseException | None = error
    while cause is not None:  # taking a half-made network apart after it raises errors of its own
        if is_out_of_memory(cause):
            first = (str(cause).strip().splitlines() or ["no message"])[0]
            return f"out of memory ({first[:200]}): {memory}"
        cause = cause.__cause__ or cause.__context__
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ended: of the device, of the machine, or of a worker that the system killed."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return True
    signs = ("DefaultCPUAllocator", "out of memory", "is killed by signal: Killed")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``, for error messages about misspelled keys."""
    import difflib

    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
