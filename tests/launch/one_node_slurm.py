"""A real SLURM of one node, on loopback, in a folder of its own, gone after the tests."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.waiting import PATIENCE_S, wait_until

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")

# Two partitions, so that a job of the one preempts a job of the other. cred_expire is also how long a requeued job
# waits before it may start again (2 minutes by default). The number of a job gives the port of its ranks: tests
# that run at the same time have others.
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=120
ReturnToService=2
FirstJobId={first_job}
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=600 State=UP
PartitionName=high Nodes=ALL PriorityTier=10 State=UP
"""


def why_not() -> str:
    """Return why no SLURM can be started here, or an empty string."""
    missing = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "starting slurmd needs root"


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class OneNodeSlurm:
    """munged, slurmctld and slurmd; ``stop`` ends them and whatever jobs they started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "slurm.conf"
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH"))}
        self.env = outside | {"SLURM_CONF": str(self.config), "PATH": _path(), "COLUMNS": "250"}
        self._daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        for name, mode in (("munge", 0o755), ("state", 0o700), ("spool", 0o755)):
            (self.folder / name).mkdir(mode=mode)
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (self.folder / "plugstack.conf").touch()
        host = socket.gethostname().split(".")[0]
        controller, node = _free_ports(2)
        ports, first_job = {"controller_port": controller, "node_port": node}, 1 + secrets.randbelow(2800)
        text = CONFIG.format(host=host, folder=self.folder, first_job=first_job, **ports)
        self.config.write_text(text)
        names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        files = [f"--{option}={self.folder}/munge/{name}" for option, name in names.items()]
        self._daemon("munged", "--foreground", "--force", *files)
        self.until(lambda: (self.folder / "munge" / "socket").exists(), "munged's socket")
        self._daemon("slurmctld", "-D", "-f", str(self.config))
        self._daemon("slurmd", "-D", "-f", str(self.config))
        self.until(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T", check=False), "an idle node")

    def _daemon(self, *command: str) -> None:
        log = (self.folder / f"{command[0]}.out").open("wb")
        self._daemons.append(subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True))
        log.close()

    def run(self, *command: str, check: bool = True, cwd: Path | None = None, **env: str) -> str:
        """Run a SLURM command; returns what it wrote."""
        done = subprocess.run(
            command, env=self.env | env, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *arguments: str, cwd: Path, **env: str) -> str:
        """Submit a job; returns its id."""
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd, **env).strip()

    def job(self, job: str) -> dict[str, str]:
        """Return what the controller knows of a job: JobState, ExitCode, Restarts, …"""
        text = self.run("scontrol", "show", "job", job)
        return dict(re.findall(r"(\S+?)=(\S*)", text))

    def wait(self, job: str) -> dict[str, str]:
        """Wait until a job has ended for good; returns :meth:`job`."""

        def ended() -> bool:
            return self.job(job)["JobState"] not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED")

        self.until(ended, f"the end of job {job}")
        return self.job(job)

    def until(self, true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        try:
            wait_until(true, what, patience_s, pause_s=0.2)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self._logs()}") from None

    def _logs(self) -> str:
        return "\n".join(f"== {file.name}\n{file.read_text()[-2000:]}" for file in sorted(self.folder.glob("*.out")))

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self.run("scancel", "--user=root", check=False)
            self.until(lambda: not self.run("squeue", "--noheader", check=False).strip(), "an empty queue", 15)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(5)
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait()
        for process in self._left_over():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _left_over(self) -> list[int]:
        """Return the processes that were started with this SLURM's configuration."""
        mark, found = f"SLURM_CONF={self.config}".encode(), []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in environ.read_bytes().split(b"\0"):
                    found.append(int(environ.parent.name))
        return found
