"""One owner per run folder: a lease that every machine of a network file system sees, with a heartbeat.

``RUN/.owner/000007.json`` is the record of the seventh owner: host, process, job. Numbers only grow, and creating a
file that must not exist yet is atomic on network file systems, too: of several runs that want to follow the same owner
one succeeds. No lock of the operating system is involved. While it runs, an owner touches its record every few seconds;
the time of that, and that of "now", both come from the file server, so that clocks of hosts need not agree.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from cosmos_lidar.errors import UserError
from cosmos_lidar.files import atomic_write, parse_json
from cosmos_lidar.log import logger

FOLDER = ".owner"
BEAT_S = 5.0  # seconds between two heartbeats
STALE_S = 60.0  # an owner without a heartbeat for so long is dead, wherever it ran
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Owner:
    """Who holds a run folder.

    Attributes:
        token: different for every owner.
        host: name of the machine of rank 0.
        process: its process id.
        ranks: of the run.
        started: local time, for messages.
        machine: boot and process namespace; processes with the same can look each other up by id.
        process_start: clock ticks from boot to the start of the process; ids are used again.
        job: of a scheduler or launcher that starts it again under the same name; empty without one.
        attempt: how often that started it.
        begun: it has found where to begin, and moved away what is not of its run.
        ended: the run has ended and gave the folder back.
        device: of each rank, in words; empty of an earlier version.
    """

    token: str
    host: str
    process: int
    ranks: int = 1
    started: str = ""
    machine: str = ""
    process_start: str = ""
    job: str = ""
    attempt: int = 0
    begun: bool = False
    ended: bool = False
    device: str = ""

    def __str__(self) -> str:
        """Such as ``process 4711 on host gpu12 (4 ranks, since 2026-11-28 22:10:00)``."""
        ranks = f"{self.ranks} ranks, " if self.ranks > 1 else ""
        job = f", {self.job}" if self.job else ""
        return f"process {self.process} on host {self.host} ({ranks}since {self.started}{job})"


def this_process(ranks: int = 1, environment: Mapping[str, str] | None = None, device: str = "") -> Owner:
    """Return the description of this process as an owner.

    Args:
        ranks: of the run.
        environment: of the launcher; that of this process by default.
        device: of each rank, in words.
    """
    pid = os.getpid()
    job, attempt = _job(os.environ if environment is None else environment)
    return Owner(
        token=uuid.uuid4().hex, host=socket.gethostname(), process=pid, ranks=ranks,
        started=time.strftime("%Y-%m-%d %H:%M:%S"), machine=_machine(), process_start=_state_and_start(pid)[1],
        job=job, attempt=attempt, device=device,
    )  # fmt: skip


def last_owner(run: Path) -> tuple[Owner | None, bool]:
    """Return the newest owner of a run folder, and whether it is alive now; nothing is written and nobody waits.

    An owner of this machine is looked up among its processes. Any other counts as alive while its last heartbeat, by
    the clock of the file server, is less than :data:`STALE_S` before now, by the clock of this machine.

    Args:
        run: the run folder; without a readable record the owner is None.
    """
    found = max((path for path in (run / FOLDER).glob("*.json") if path.is_file()), key=_number, default=None)
    record = None if found is None else _read(found)
    if record is None or record.owner is None or not _is_plain(record.owner):
        return None, False
    owner = record.owner
    if owner.ended:
        return owner, False
    if owner.machine and owner.machine == _machine():
        return owner, _runs(owner)
    return owner, time.time() - record.time < STALE_S


def _is_plain(owner: Owner) -> bool:
    """Whether every value of a record is of the type that was written; files come from anywhere."""
    kinds = {"int": int, "str": str, "bool": bool}
    return all(type(getattr(owner, field.name)) is kinds[str(field.type)] for field in fields(Owner))


class RunOwner:
    """The hold of this process on a run folder; rank 0 alone has one.

    Args:
        folder: of the run.
        owner: description of this process.
        beat_s: seconds between heartbeats.
        stale_s: seconds without a heartbeat after which an owner counts as dead.

    Attributes:
        former: the owner before this one, None for a new folder.
        taken_over: who has the folder now, as found at the last heartbeat; empty as long as it is this process.
    """

    def __init__(self, folder: Path, owner: Owner, beat_s: float = BEAT_S, stale_s: float = STALE_S) -> None:
        self.run, self.folder, self.owner = folder, folder / FOLDER, owner
        self.beat_s, self.stale_s = beat_s, stale_s
        self.former: Owner | None = None
        self.taken_over = ""
        self._number = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def restarted(self) -> bool:
        """The former owner was an earlier attempt of this job, and had begun: a scheduler started it again."""
        former = self.former
        return former is not None and former.begun and _restart(former, self.owner)

    def note_begun(self) -> None:
        """Write down that what is in the folder from now on is of this run."""
        self._write(replace(self.owner, begun=True))

    def acquire(self) -> None:
        """Become the owner of the run folder, which is made.

        A dead owner on this machine, one of an earlier attempt of the same job and one that ended are followed at once.
        Any other is watched until its next heartbeat, or until it had none for ``stale_s``.

        Raises:
            UserError: another run that is alive owns the folder, whose host and process are named; or the folder cannot
                be written to.
        """
        try:
            self._acquire()
        except OSError as error:
            raise UserError(f"run folder {self.run}: cannot be written to ({error.strerror or error})") from error
        self._thread = threading.Thread(target=self._keep_alive, name="run owner", daemon=True)
        self._thread.start()

    def _acquire(self) -> None:
        while True:
            number, record = self._newest()
            if record is not None and not self._is_dead(record, number):
                owner = record.owner or "a process that does not say who it is"
                hint = "end that run, or give this one another log.name"
                raise UserError(f"{self.run} is in use by {owner}: two runs cannot write to one folder; {hint}")
            if self._create(number + 1):
                break
        self.former = record.owner if record is not None else None
        self._number = number + 1
        if self.restarted:
            self.note_begun()
        for old in self.folder.glob("*.json"):
            if _number(old) < self._number:
                old.unlink(missing_ok=True)

    def check(self) -> None:
        """Make sure that the folder is still this process's.

        Raises:
            UserError: it was taken over, as this process gave no heartbeat for ``stale_s``: stopped, or cut off.
        """
        number, record = self._newest()
        if record is None or number <= self._number:
            return
        self.taken_over = str(record.owner or "another process")
        raise UserError(f"{self.run} was taken over by {self.taken_over}, as this run gave no sign of life")

    def release(self) -> None:
        """Give the folder back; one that holds nothing else is removed."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        self._thread = None
        with contextlib.suppress(OSError):  # the next one finds the process dead
            if self._newest()[0] == self._number:
                self._write(replace(self.owner, ended=True))
                if [path.name for path in self.run.iterdir()] == [FOLDER]:
                    shutil.rmtree(self.folder)
                    self.run.rmdir()

    def _write(self, owner: Owner) -> None:
        self.owner = owner
        with atomic_write(self._path(self._number)) as partial:
            partial.write_text(json.dumps(asdict(owner)) + "\n", encoding="utf-8")

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"

    def _newest(self) -> tuple[int, _Record | None]:
        """Return number and record of the newest owner, (0, None) without one."""
        while True:
            found = max(self.folder.glob("*.json"), key=_number, default=None)
            if found is None:
                return 0, None
            record = _read(found)
            if record is not None:  # else: replaced by a newer one meanwhile
                return _number(found), record

    def _create(self, number: int) -> bool:
        """Write the record of this process; False where another one was faster."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except (FileExistsError, FileNotFoundError):  # the folder may be removed by the owner that ends
            return False
        try:
            os.write(handle, (json.dumps(asdict(self.owner)) + "\n").encode())
            os.fsync(handle)
        except OSError:  # a full disk
            self._path(number).unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        return True

    def _is_dead(self, record: _Record, number: int) -> bool:
        owner = record.owner
        if owner is not None:
            if owner.ended or _restart(owner, self.owner):
                return True
            if owner.machine and owner.machine == self.owner.machine:
                return not _runs(owner)
        return not self._beats(record, number)

    def _beats(self, record: _Record, number: int) -> bool:
        """Watch an owner of another machine: True at its next heartbeat, False when there is none for too long."""
        age = self._file_server_time() - record.time
        watch = max(self.stale_s - age, 2 * self.beat_s)
        who = record.owner or "an unknown process"
        logger.info("%s belonged to %s: watching for up to %.0f s whether that still runs", self.run, who, watch)
        end = time.monotonic() + watch
        while time.monotonic() < end:
            time.sleep(min(self.beat_s / 4, 1.0))
            now = _read(self._path(number))
            if now is None or (now.owner is not None and now.owner.ended):
                return False  # it ended; another one may have followed: creating the next record shows which
            if now.time != record.time:
                return True
        return False

    def _file_server_time(self) -> float:
        probe = self.folder / f".{self.owner.token}.now"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _keep_alive(self) -> None:
        path = self._path(self._number)
        while not self._ended.wait(self.beat_s):
            with contextlib.suppress(OSError, UserError):  # a file server that is away; taken_over is set
                self.check()
                os.utime(path)


@dataclass(frozen=True)
class _Record:
    """The file of an owner: content (None while it is being written) and time of its last heartbeat."""

    owner: Owner | None
    time: float


def _read(path: Path) -> _Record | None:
    """Read the file of an owner; None when there is none. Opening it makes a network file system look it up again."""
    try:
        with path.open("rb") as stream:
            content, touched = stream.read(1 << 16), os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None
    try:
        known = {field.name for field in fields(Owner)}
        return _Record(Owner(**{key: value for key, value in parse_json(content).items() if key in known}), touched)
    except (ValueError, TypeError, AttributeError):
        return _Record(None, touched)


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else -1


def _restart(former: Owner, owner: Owner) -> bool:
    return bool(owner.job) and former.job == owner.job and former.attempt < owner.attempt


def _job(environment: Mapping[str, str]) -> tuple[str, int]:
    """Return what starts this run again under the same name after it ended, and how often it has."""
    if environment.get("SLURM_JOB_ID"):
        name = f"SLURM job {environment['SLURM_JOB_ID']}"
        cluster = environment.get("SLURM_CLUSTER_NAME", "")
        attempt = environment.get("SLURM_RESTART_COUNT", "0")
        return (f"{name} of {cluster}" if cluster else name), int(attempt) if attempt.isdigit() else 0
    name, attempt = (environment.get(f"TORCHELASTIC_{key}", "") for key in ("RUN_ID", "RESTART_COUNT"))
    if name and name != "none" and attempt.isdigit():
        return f"torchrun {name}", int(attempt)
    return "", 0


def _machine() -> str:
    try:
        return f"{_BOOT.read_text(encoding='ascii').strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux: heartbeats alone
        return ""


def _runs(owner: Owner) -> bool:
    state, start = _state_and_start(owner.process)
    return bool(start) and state not in "ZX" and start == owner.process_start


def _state_and_start(process: int) -> tuple[str, str]:
    """Return the state letter and the start time in ticks of a process of this machine; empty when it is gone."""
    if sys.platform != "linux":
        return "", ""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    parts = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return parts[0], parts[19]
