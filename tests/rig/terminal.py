"""A program in a real pseudo-terminal, read through an emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from pathlib import Path

import pyte
from waiting import LIMIT_S, wait_until

UNFINISHED = re.compile(rb"(?:\x1b(?:\[[?0-9;]*|\][^\x07\x1b]*\x1b?)?)?\Z")


class Terminal:
    """A program in a pseudo-terminal with its own session, and the screen it drew."""

    def __init__(
        self, command: list[str], home: Path, columns: int = 80, rows: int = 24, *,
        screen: pyte.Screen | None = None, **environment: str,
    ) -> None:  # fmt: skip
        self.screen = screen or pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.bytes = self.bells = 0
        self._cut = b""
        self.sent = bytearray()  # all output of the program
        self.notifications: list[bytes] = []
        self.modes: set[int] = set()  # private modes that are on: 1049 the alternate screen, 1000 … the mouse
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            for variable in (
                "COLUMNS",
                "LINES",
            ):  # readline sets these, past os.environ: they override the size
                os.unsetenv(variable)
            usual = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
            os.environ.update({**usual, "FINETOP_HOME": str(home), **environment})
            os.execvp(command[0], command)
        self._set_size(columns, rows)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, as its window does."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def pump(self, seconds: float) -> None:
        """Feed the program's output to the emulator for `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.master], [], [], left)
            if not ready:
                return
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.show(data)

    def show(self, data: bytes) -> None:
        """Feed output of the program to the emulator."""
        self.bytes += len(data)
        self.sent += data
        self._follow(data)
        if b"\x1b[6n" in data:  # a terminal reports its cursor position
            self.keys("\x1b[1;1R" * data.count(b"\x1b[6n"))
        self._stream.feed(clean(data))

    def _follow(self, data: bytes) -> None:
        """Track modes, notifications and bells; a sequence cut between two reads waits for its end."""
        data = self._cut + data
        self._cut = data[UNFINISHED.search(data).start() :]
        data = data.removesuffix(self._cut)
        self._follow_modes(data)
        self.notifications += re.findall(rb"\x1b\](?:9|777);[^\x07]*\x07", data)
        self.bells += re.sub(rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)", b"", data).count(b"\x07")

    def _follow_modes(self, data: bytes) -> None:
        for match in re.finditer(rb"\x1b\[\?([0-9;]+)([hl])|\x1bc", data):
            if match[1] is None:  # a full reset
                self.modes.clear()
                continue
            numbers = {int(number) for number in match[1].split(b";") if number}
            self.modes = self.modes | numbers if match[2] == b"h" else self.modes - numbers

    def text(self) -> str:
        return "\n".join(self.screen.display)

    def rest(self, *others: int) -> None:
        """Feed the emulator until the program, and others that work for it, are idle."""
        looks = 0
        while looks < 3:
            seen = self.bytes
            self.pump(0.01)
            looks = looks + 1 if self.bytes == seen and all(map(sleeps, (self.pid, *others))) else 0

    def wait_text(self, wanted: str, limit_s: float = LIMIT_S) -> str:
        self.wait_match(re.escape(wanted), limit_s)
        return self.text()

    def wait_match(self, pattern: str, limit_s: float = LIMIT_S) -> re.Match[str]:
        """Wait until a line of the screen matches."""

        def match_now() -> re.Match[str] | None:
            self.pump(0.02)
            return re.search(pattern, self.text())

        return wait_until(match_now, lambda: f"{pattern!r} in\n{self.text()}", limit_s)

    def wait_gone(self, words: str) -> None:
        wait_until(lambda: self.pump(0.02) or words not in self.text(), self.text)

    def settle(self, quiet_s: float, limit_s: float = 10.0) -> None:
        """Feed the emulator until nothing has come for a while: for a program that is not of this machine."""
        ends, heard = time.monotonic() + limit_s, time.monotonic()
        while time.monotonic() < min(ends, heard + quiet_s):
            before = self.bytes
            self.pump(0.02)
            heard = time.monotonic() if self.bytes > before else heard

    def keys(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_end(self) -> int:
        """Wait until the program has ended. Returns its wait status."""

        def status_then() -> tuple[int, int] | None:
            if self.master >= 0:
                self.pump(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return (pid, status) if pid else None

        _, status = wait_until(status_then, lambda: f"its end; it shows\n{self.text()}")
        self.pid = 0
        return status

    def hang_up(self) -> None:
        """Pull the cable: the terminal is gone, the kernel sends SIGHUP."""
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.master >= 0:
            os.close(self.master)


def sleeps(pid: int) -> bool:
    """Return whether all threads of a process wait for something, rather than being starved by others."""
    try:
        stats = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return True  # it is just ending
    return all(stat.rpartition(")")[2].split()[0] in "STtZX" for stat in stats)


def clean(data: bytes) -> bytes:
    """Drop the sequences that the emulator does not know and would print."""
    return re.sub(rb"\x1b\[[<=>?][0-9;]*[a-zA-Z$]p?|\x1b\[\?[0-9;]*\$p|\x1b\[[0-9;]*[tu]", b"", data)
