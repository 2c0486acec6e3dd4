"""A slow link between two network namespaces, and an sshd at its far end. Both need root.

Packets are carried here, between two TUN devices, so that delay, loss and rate need nothing of the kernel (many small
machines have no sch_netem), and TCP is real. All of it is removed at the end.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import pwd
import random
import select
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType

from waiting import wait_until

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MOST_QUEUED = 200  # packets of one direction; later ones are dropped, as a router does
NUMBERS = count(1)


def why_not() -> str:
    """Return what is missing for a link with an sshd; empty if nothing is."""
    if os.geteuid():
        return "needs root: network namespaces"
    if not shutil.which("sshd", path="/usr/sbin:/usr/bin") or not Path("/dev/net/tun").exists():
        return "needs sshd and /dev/net/tun (tests/rig/install_programs.sh installs the first)"
    return ""


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {shlex.join(words)}: {done.stderr}"


def open_tun(namespace: str, device: str) -> int:
    """Make a TUN device in a network namespace. The thread that calls it stays in that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(folder, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    finally:
        os.close(folder)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    return tun


@dataclass
class Way:
    """One direction of a link: where its packets are read and written, and what they have to wait for."""

    source: int
    target: int
    bytes: int = 0
    queued: int = 0
    free_at: float = 0.0  # when the packets before have passed, at the link's rate


@dataclass
class Link:
    """A client's and a server's namespace, joined by a link.

    `delay_ms` is one way: 75 gives a round trip of 150 ms. `loss` is a share of the packets. A rate of 0 is no limit.
    """

    delay_ms: float = 0.0
    loss: float = 0.0
    rate_kbit: float = 0.0
    is_cut: bool = False
    _ways: list[Way] = field(default_factory=list)
    _closing: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        number = next(NUMBERS)
        self.client_namespace, self.server_namespace = (
            f"finetop-{side}-{os.getpid()}-{number}" for side in ("near", "far")
        )
        network = (os.getpid() + number) % 250 + 1  # others may run beside this one
        self.client_ip, self.server_ip = f"10.77.{network}.1", f"10.77.{network}.2"

    def __enter__(self) -> Link:
        try:
            client = self._end(self.client_namespace, self.client_ip, self.server_ip)
            server = self._end(self.server_namespace, self.server_ip, self.client_ip)
            self._ways = [Way(client, server), Way(server, client)]
            ending = threading.Event()
            carrier = threading.Thread(target=self._carry, args=(ending,), daemon=True)
            carrier.start()
            self._closing.callback(carrier.join)
            self._closing.callback(ending.set)
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()

    def _end(self, namespace: str, own: str, other: str) -> int:
        """Make one end of the link; return its device."""
        ip("netns", "add", namespace)
        self._closing.callback(ip, "netns", "del", namespace)
        with ThreadPoolExecutor(1) as thread:  # it enters the namespace alone, and ends
            device = thread.submit(open_tun, namespace, "link0").result()
        self._closing.callback(os.close, device)
        ip("-n", namespace, "addr", "add", own, "peer", f"{other}/32", "dev", "link0")
        ip("-n", namespace, "link", "set", "link0", "up", "mtu", "1400")
        ip("-n", namespace, "link", "set", "lo", "up")
        return device

    def _carry(self, ending: threading.Event) -> None:
        """Carry packets until the end: each arrives after the link's delay, and after those that came before it."""
        moments, numbers, chance = list[tuple[float, int, Way, bytes]](), count(), random.Random(1)
        while not ending.is_set():
            wait_s = min(0.2, max(0.0, moments[0][0] - time.monotonic())) if moments else 0.2
            ready, _, _ = select.select([way.source for way in self._ways], [], [], wait_s)
            for way in self._ways:
                for packet in packets_of(way.source) if way.source in ready else ():
                    way.bytes += len(packet)
                    if self.is_cut or chance.random() < self.loss or way.queued >= MOST_QUEUED:
                        continue
                    passing_s = len(packet) * 8 / (self.rate_kbit * 1000) if self.rate_kbit else 0.0
                    way.free_at = max(time.monotonic(), way.free_at) + passing_s
                    way.queued += 1
                    heapq.heappush(moments, (way.free_at + self.delay_ms / 1000, next(numbers), way, packet))
            while moments and moments[0][0] <= time.monotonic():
                _, _, way, packet = heapq.heappop(moments)
                way.queued -= 1
                with suppress(OSError):
                    os.write(way.target, packet)

    def wire(self) -> int:
        """Return the bytes that crossed the link so far, both ways, with TCP and IP."""
        return sum(way.bytes for way in self._ways)

    def down(self) -> None:
        """Pull the cable: packets vanish, and nobody is told."""
        self.is_cut = True

    def up(self) -> None:
        self.is_cut = False


def packets_of(device: int) -> Iterator[bytes]:
    """Yield what a device holds, up to 64 packets, so that those of the other way get their turn."""
    for _ in range(64):
        try:
            yield os.read(device, 65536)
        except OSError:
            return


class SshServer:
    """An sshd at the far end of a link, with keys and a port of its own, for the user who runs the test."""

    port = 22022

    def __init__(self, link: Link, extra: tuple[str, ...] = ()) -> None:
        self.link, self.extra = link, extra
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self._closing = ExitStack()

    def __enter__(self) -> SshServer:
        try:
            self._start()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()

    def _start(self) -> None:
        self.folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="sshd-")))
        self.folder.chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)
        for key in ("host", "id"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key)], check=True
            )
        config = (
            f"Port {self.port}", f"ListenAddress {self.link.server_ip}", f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.folder}/id.pub", f"PidFile {self.folder}/pid", "StrictModes no",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no", "AcceptEnv *",
            "PermitRootLogin prohibit-password", "PrintMotd no", "UseDNS no", f"AllowUsers {self.user}", *self.extra,
        )  # fmt: skip
        (self.folder / "config").write_text("\n".join(config) + "\n")
        log = self.folder / "log"
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self.link.server_namespace,
                 "/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "config")],
                stdin=subprocess.DEVNULL, stderr=errors, start_new_session=True,
            )  # fmt: skip
        self._closing.callback(self._end)
        wait_until(lambda: "listening" in log.read_text() or self._process.poll() is not None, "sshd")
        assert self._process.poll() is None, log.read_text()

    def _end(self) -> None:
        self.drop()
        self._process.terminate()
        self._process.wait()

    def command(self, remote: str, *options: str) -> list[str]:
        """Return the command that runs another one there, in a terminal unless the options say -T."""
        return [
            "ip", "netns", "exec", self.link.client_namespace,
            "ssh", "-tt", "-F", "/dev/null", "-i", str(self.folder / "id"), "-p", str(self.port),
            "-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            *options, f"{self.user}@{self.link.server_ip}", remote,
        ]  # fmt: skip

    def drop(self) -> None:
        """Kill each connection's processes, as a network that is broken for long does in the end.

        Both of a connection's go: with its monitor alone killed, the one that holds the terminal would live on.
        """
        for pid in sessions_of(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def sessions_of(pid: int) -> list[int]:
    """Return the sshd processes below one, the lowest first."""
    sessions = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, file.read_text().split()):
                if Path(f"/proc/{child}/comm").read_text().startswith("sshd"):
                    sessions += [*sessions_of(child), child]
    return sessions
