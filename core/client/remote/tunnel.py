"""One supervisor on another machine, reached through the user's own ssh: its socket is forwarded to a socket here.

One ssh process does it all: it forwards the socket, and its session runs `finetop supervisor start --hold` there, which
starts a supervisor if there is none, prints where it listens, and exits when our end of its stdin closes. So nothing
listens on TCP, and however this process ends, ssh and its remote command end too. A thread reconnects when the link
drops.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from finetop.core.client.remote import ssh
from finetop.core.client.remote.hosts import Place
from finetop.core.errors import EnvironmentTrouble, FinetopError, NoSupervisor
from finetop.core.protocol import wire
from finetop.core.protocol.messages.session import HelloAnswer
from finetop.core.runtime.files import read_own, write_whole

GREETING_S = 60.0  # the greeting takes about 4 s at 64 kbit/s with a round trip of 150 ms
# Before each attempt; the last one repeats. A host that is away costs one packet per attempt and should be back at
# once; one that refuses us counts our attempts.
PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0)
REFUSED_PAUSE_S = 30.0
STEADY_S = 5.0  # a link that was up so long is retried at once
PREFIX = "finetop-link-"
_KEPT = 4096  # bytes of ssh's stderr
LONGEST_PREAMBLE = 64 << 10  # bytes before the greeting: login scripts may print


class Tunnel:
    """The link to one machine; other modules see it as `finetop.core.runtime.home.Link`."""

    def __init__(
        self, place: Place, *, memory: Path | None = None, heard: Callable[[bool, str], None] | None = None
    ) -> None:
        """`memory` is a file that stores socket paths; `heard(is_up, why)` is called when the link drops or is back."""
        self.place = place
        self.label = place.label
        self.word = place.word
        self.greeting: Greeting | None = None
        self.tries = 0  # since it was last up for STEADY_S
        self._folder = _own_folder()
        self._memory = memory
        self._heard = heard
        # It saves one connection, 1.4 s at a round trip of 150 ms.
        self._there = _all_remembered(memory).get(_key(place), "")
        self._process: subprocess.Popen[bytes] | None = None
        self._output = b""
        self._error: FinetopError | None = None
        self._is_hopeless = False
        self._is_up = False
        self._is_closing = False
        self._up_at = 0.0
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._keeper: threading.Thread | None = None

    @property
    def socket(self) -> Path:
        """Return the local socket that is forwarded to the supervisor there."""
        return self._folder / "s"

    @property
    def is_up(self) -> bool:
        return self._is_up

    def why_down(self) -> str:
        """Return why the link is down, as a sentence; empty while it is up."""
        return "" if self._error is None else str(self._error)

    # --- from outside -----------------------------------------------------------------------------------

    def open(self, *, may_ask: bool = True) -> Greeting:
        """Connect, and stay connected. ssh may ask for a password. Raises FinetopErrors with ssh's own last words."""
        self._connect(may_ask=may_ask)
        self.keep()
        assert self.greeting is not None
        return self.greeting

    def keep(self) -> None:
        """Start the thread that keeps the link connected, whether or not it is up now."""
        self._keeper = threading.Thread(target=self._keep, name=f"link to {self.label}", daemon=True)
        self._keeper.start()

    def wait(self) -> None:
        """Wait until the link is up. Raises FinetopError if retrying can't help, or it was closed."""
        with self._changed:
            while not self._is_up:
                if self._is_closing:
                    raise NoSupervisor(f"the link to {self.label} is closed.")
                if self._is_hopeless and self._error is not None:
                    raise self._error
                self._changed.wait(1.0)

    def try_now(self) -> None:
        """Retry at once; a link that is up is restarted."""
        process = self._process
        if self._is_up and process is not None:
            process.terminate()
        self._wake.set()

    def close(self) -> None:
        """End ssh and its remote command, and remove the socket. May be called twice."""
        self._is_closing = True
        self._wake.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()  # the keeper waits for its end
        if self._keeper is not None and self._keeper is not threading.current_thread():
            self._keeper.join(5.0)
        self._end_process()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- one connection ---------------------------------------------------------------------------------

    def _connect(self, *, may_ask: bool) -> None:
        """Start ssh and wait for finetop's greeting. Raises FinetopError; then no ssh is left running."""
        remembered = self._there
        self._start(remembered, may_ask=may_ask)
        greeting = self._hear(may_ask=may_ask)
        if greeting.socket != remembered:  # only now the socket to forward is known
            self._there = greeting.socket
            self._end_process()
            self._start(greeting.socket, may_ask=may_ask)
            greeting = self._hear(may_ask=may_ask)
            _remember(self._memory, self.place, greeting.socket)
        self._require_socket()
        self.greeting = greeting
        with self._changed:
            self._is_up, self._is_hopeless, self._error = True, False, None
            self._up_at = time.monotonic()
            self._changed.notify_all()

    def _start(self, there: str, *, may_ask: bool) -> None:
        self._output = b""
        try:
            process = subprocess.Popen(
                ssh.command(self.place, str(self.socket), there, may_ask=may_ask),
                stdin=subprocess.PIPE,  # when it closes, everything ends; only this process holds it open
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=not may_ask,  # ssh needs the terminal to ask
            )
        except FileNotFoundError as error:
            raise EnvironmentTrouble("there is no ssh on this machine.", hint="Install OpenSSH.") from error
        self._process = process
        if self._is_closing:
            process.terminate()
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Keep the end of ssh's stderr, and drain it so that ssh never blocks."""
        assert process.stderr is not None
        with suppress(OSError, ValueError):
            while piece := os.read(process.stderr.fileno(), 4096):
                if process is self._process:
                    self._output = (self._output + piece)[-_KEPT:]
        process.stderr.close()

    def _hear(self, *, may_ask: bool) -> Greeting:
        """Wait for the greeting. Raises FinetopError after ending ssh."""
        process = self._process
        assert process is not None and process.stdout is not None
        deadline = time.monotonic() + GREETING_S
        output = b""
        try:
            while len(output) < LONGEST_PREAMBLE:
                ready, _, _ = select.select([process.stdout], [], [], 0.2)
                if ready:
                    piece = os.read(process.stdout.fileno(), 4096)
                    output += piece
                    if greeting := read_greeting(output):
                        require_understood(greeting, self.label)
                        return greeting
                    if not piece:
                        raise self._failure(process, may_ask=may_ask)
                if self._is_closing or (not may_ask and time.monotonic() > deadline):
                    raise NoSupervisor(f"can't reach {self.label}: no answer.")
            raise EnvironmentTrouble(f"{self.label}: its shell prints too much before finetop starts.")
        except BaseException:
            self._end_process()
            raise

    def _failure(self, process: subprocess.Popen[bytes], *, may_ask: bool) -> FinetopError:
        with suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        code = 255 if process.returncode is None or process.returncode < 0 else process.returncode
        stderr = self._words_of(process)
        error, self._is_hopeless = ssh.failure(self.place, code, stderr, could_ask=may_ask)
        return error

    def _words_of(self, process: subprocess.Popen[bytes]) -> str:
        """Return ssh's stderr; its last words may still be on their way."""
        deadline = time.monotonic() + 1.0
        while process.stderr is not None and not process.stderr.closed and time.monotonic() < deadline:
            time.sleep(0.005)
        return self._output.decode("utf-8", "replace")

    def _require_socket(self) -> None:
        if self.socket.is_socket():
            return
        reason = ssh.last_words(self._output.decode("utf-8", "replace"))
        self._end_process()
        raise EnvironmentTrouble(f"ssh does not forward {self.label}'s socket: {reason or 'no answer'}.")

    def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        with suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(3.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()

    # --- again and again --------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Wait for the end of ssh, then reconnect, with increasing pauses."""
        while not self._is_closing:
            if self._is_up and self._process is not None:
                self._process.wait()
                if self._is_closing:
                    return
                self._went_down(self._process)
            pause_s = PAUSES_S[min(self.tries, len(PAUSES_S) - 1)]
            self._wake.wait(REFUSED_PAUSE_S if self._is_hopeless else pause_s)
            self._wake.clear()
            if self._is_closing:
                return
            self.tries += 1
            try:
                self._connect(may_ask=False)
            except FinetopError as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
            else:
                self._report(True, "")

    def _went_down(self, process: subprocess.Popen[bytes]) -> None:
        reason = ssh.last_words(self._words_of(process)) or "ssh ended"
        self._end_process()
        if time.monotonic() - self._up_at > STEADY_S:
            self.tries = 0
        with self._changed:
            self._is_up = False
            self._error = NoSupervisor(f"can't reach {self.label}: {reason}.")
            self._changed.notify_all()
        self._report(False, reason)

    def _report(self, is_up: bool, reason: str) -> None:
        if self._heard is not None and not self._is_closing:
            self._heard(is_up, reason)


def _own_folder() -> Path:
    """Create a private folder with a short path, and remove those that killed processes left behind."""
    runtime = _runtime_folder()
    for leftover in runtime.glob(f"{PREFIX}*"):
        pid = leftover.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            with suppress(OSError):
                if leftover.lstat().st_uid == os.getuid():
                    shutil.rmtree(leftover, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=runtime))  # 0700


def _runtime_folder() -> Path:
    """Return the user's runtime folder if it is theirs, else /tmp: a socket's path is limited to 107 bytes."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    with suppress(OSError):
        if given.startswith("/") and len(given) < 60 and Path(given).stat().st_uid == os.getuid():
            return Path(given)
    return Path("/tmp")


def _remember(memory: Path | None, place: Place, socket: str) -> None:
    if memory is None:
        return
    with suppress(OSError):
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(memory, msgspec.json.encode({**_all_remembered(memory), _key(place): socket}))


def _all_remembered(memory: Path | None) -> dict[str, str]:
    try:
        return msgspec.json.decode(b"{}" if memory is None else read_own(memory), type=dict[str, str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _key(place: Place) -> str:
    return f"{place.destination} {place.command} {place.home}"


class Greeting(msgspec.Struct, frozen=True):
    """One line of JSON: what `finetop supervisor start --json` prints."""

    supervisor: HelloAnswer
    socket: str
    schema: int = 1


def read_greeting(output: bytes) -> Greeting | None:
    """Find the greeting among the complete lines so far; what login scripts print is skipped."""
    for line in output.split(b"\n")[:-1]:
        if line.lstrip().startswith(b"{"):
            try:
                return msgspec.json.decode(line, type=Greeting)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
    return None


def require_understood(greeting: Greeting, label: str, own_version: int = wire.VERSION) -> None:
    """Refuse a supervisor of another protocol. Raises NoSupervisor."""
    there = greeting.supervisor
    if there.protocol == own_version:
        return
    older = "there" if there.protocol < own_version else "here"
    hint = f"Upgrade finetop {older}: pip install --upgrade finetop."
    speaks = f"speaks protocol {there.protocol}; this one speaks {own_version}"
    raise NoSupervisor(f"{label} has finetop {there.version}, which {speaks}.", hint=hint)
