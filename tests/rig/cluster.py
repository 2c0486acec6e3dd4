"""A Slurm cluster on one machine for tests: simulated nodes and GPUs, a controller that can be killed and restarted.

It needs root, and slurmctld, slurmd and sbatch on the PATH (Debian: slurm-wlm). If they are missing, they are installed
by install_programs.sh if FINETOP_TEST_SLURM_SETUP is set; else tests skip.
Only loopback is used, and files are written only below the given folder.
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from waiting import wait_until

SETUP = "FINETOP_TEST_SLURM_SETUP"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
CORES, MEMORY_MIB = 8, 4000
CONF = """\
ClusterName=finetop
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/slurm
CredType=auth/slurm
AuthInfo=cred_expire=5
SlurmctldPort={port}
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=10000
SlurmdTimeout=30
SlurmctldTimeout=30
MessageTimeout=5
KillWait={kill_wait}
MinJobAge=600
ReturnToService=2
SlurmdParameters=config_overrides
JobRequeue=1
JobCompType=jobcomp/none
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PropagateResourceLimits=NONE
"""


def why_not() -> str:
    """Return why no cluster can run here; empty if one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing and os.environ.get(SETUP):
        subprocess.run([Path(__file__).with_name("install_programs.sh")], check=True)
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs Slurm: {missing[0]} is not on the PATH (tests/rig/install_programs.sh installs it)"
    return "" if os.geteuid() == 0 else "needs root: a Slurm of its own is started"


@dataclass
class Cluster:
    """Nodes n1 … with `gpus` simulated GPUs each; partitions main, debug (n1, a minute at most), urgent (preempts)."""

    root: Path
    nodes: int = 4
    gpus: int = 4
    kill_wait: int = 10
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _controller: subprocess.Popen[bytes] | None = None
    _turn: int = -1

    @property
    def conf(self) -> Path:
        return self.root / "slurm.conf"

    @property
    def variables(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.conf)}

    def up(self) -> None:
        """Start it, once no other test process of this machine runs one: its sockets have fixed names."""
        self._turn = os.open(
            Path(tempfile.gettempdir()) / "finetop-test-slurm.lock", os.O_RDWR | os.O_CREAT, 0o600
        )
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        self._write()
        for folder in ("/run/slurm", "/run/slurmctld"):
            Path(folder).mkdir(exist_ok=True)
        self.start_controller()
        for number in range(1, self.nodes + 1):
            apart = self._apart(number)
            self._daemons.append(self._start(*apart, "slurmd", "-D", "-N", f"n{number}"))
        wait_until(lambda: self.count_up() == self.nodes, self.log)

    def _write(self) -> None:
        """Write its configuration, with its own ports."""
        self.root.chmod(0o755)
        host = socket.gethostname().partition(".")[0]
        ports = free_ports(self.nodes + 1)
        (self.root / "state").mkdir()
        key = self.root / "slurm.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        lines = [CONF.format(host=host, port=ports[0], root=self.root, kill_wait=self.kill_wait)]
        gres = []
        for gpu in range(self.gpus):
            os.mknod(self.root / f"gpu{gpu}", 0o020666, os.makedev(1, 3))
        for number, port in enumerate(ports[1:], 1):
            (self.root / f"spool-n{number}").mkdir()
            lines.append(
                f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CORES} Boards=1"
                f" SocketsPerBoard=1 CoresPerSocket={CORES} ThreadsPerCore=1 RealMemory={MEMORY_MIB}"
                f" Gres=gpu:rtx:{self.gpus}\n"
            )
            gres.append(f"NodeName=n{number} Name=gpu Type=rtx File={self.root}/gpu[0-{self.gpus - 1}]\n")
        every = f"n[1-{self.nodes}]"
        lines += [
            f"PartitionName=main Nodes={every} Default=YES MaxTime=1-00:00:00 PriorityTier=1\n",
            "PartitionName=debug Nodes=n1 MaxTime=1 PriorityTier=1\n",
            f"PartitionName=urgent Nodes={every} MaxTime=1-00:00:00 PriorityTier=9 PreemptMode=OFF\n",
        ]
        self.conf.write_text("".join(lines))
        (self.root / "gres.conf").write_text("".join(gres))

    def _apart(self, number: int) -> list[str]:
        """Return the command that gives a node its own boot id, as on a separate machine.

        If this machine allows no mount namespace, all nodes look like one machine.
        """
        if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            return []
        boot = self.root / f"boot-n{number}"
        boot.write_text(f"{uuid.uuid4()}\n")
        mount = f"mount --bind {boot} /proc/sys/kernel/random/boot_id"
        return ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$0" "$@"']

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.root / "daemons.log").open("ab") as log:
            return subprocess.Popen(
                [*words, "-f", str(self.conf)], stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self.variables},
            )  # fmt: skip

    def start_controller(self) -> None:
        self._controller = self._start("slurmctld", "-D")
        wait_until(lambda: self.call("squeue", "-h") is not None, self.log)

    def kill_controller(self) -> None:
        assert self._controller is not None
        self._controller.kill()
        self._controller.wait()

    def call(self, *words: str) -> str | None:
        """Run one of Slurm's commands; return its output, or None if it fails."""
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, env={**os.environ, **self.variables}
        )
        return done.stdout if done.returncode == 0 else None

    def count_up(self) -> int:
        listed = self.call("sinfo", "-h", "-N", "-p", "main", "-o", "%t") or ""
        return sum(1 for state in listed.split() if state in ("idle", "mix", "alloc"))

    def jobs(self) -> list[list[str]]:
        """Return all jobs that it knows: number, state, comment."""
        listed = self.call("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%k") or ""
        return [line.split("|") for line in listed.splitlines()]

    def open_nodes(self) -> None:
        """Reopen nodes that Slurm has closed, as an administrator does."""
        if self.call("sinfo", "-h", "-N", "-t", "drain,drng,down"):
            self.call("scontrol", "update", f"NodeName=n[1-{self.nodes}]", "State=RESUME")

    def clear(self) -> None:
        """End all jobs, and reset all nodes."""
        self.call("scancel", "-u", "root")
        self.call("scontrol", "update", f"NodeName=n[1-{self.nodes}]", "State=RESUME")
        wait_until(lambda: not self.call("squeue", "-h"), self.log)

    def log(self) -> str:
        """Return the end of its log."""
        files = (self.root / "slurmctld.log", self.root / "slurmd-n1.log", self.root / "daemons.log")
        return "\n".join(file.read_text(errors="replace")[-1500:] for file in files if file.exists())

    def down(self) -> None:
        if self._controller is not None and self._controller.poll() is None:
            self.call("scancel", "-u", "root")
            self._controller.terminate()
        for daemon in self._daemons:
            daemon.terminate()
        for daemon in (*self._daemons, *filter(None, [self._controller])):
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        if self._turn >= 0:
            os.close(self._turn)


def free_ports(count: int) -> list[int]:
    """Return free ports below the kernel's ephemeral range."""
    free: list[int] = []
    while len(free) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free.append(port)
    return free


def started(root: Path) -> Cluster:
    """Start a cluster below a folder. Skips, with the reason, if none can run."""
    if why := why_not():
        pytest.skip(why)
    cluster = Cluster(root)
    try:
        cluster.up()
    except BaseException:
        cluster.down()
        raise
    return cluster
