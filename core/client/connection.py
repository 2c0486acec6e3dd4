"""The client's end of the socket: find a home's supervisor, start it if there is none, send requests.

`Client` is for the command line, `AsyncClient` for the app. Neither loads torch or duckdb.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, Any

import msgspec

from finetop.core.errors import BadInput, NoSupervisor, of_code
from finetop.core.protocol import wire
from finetop.core.protocol.patch import DoesNotFit
from finetop.core.protocol.patch_cache import HeldAnswers
from finetop.core.protocol.request import Answer, Ask, Order, Question, Request, answer_type
from finetop.core.runtime import secrets
from finetop.core.runtime.environment import require_readable
from finetop.core.runtime.files import end_of, open_own
from finetop.core.runtime.home import Home, Link, is_made, making, prepare
from finetop.core.runtime.parts import require
from finetop.core.runtime.processes import python, require_own

START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 60.0
STAND_IN_ENDS_S = 10.0  # after the connection is closed; it usually takes 20 ms
ATTEMPTS = 5  # to repeat a read-only request over a link that seems to be up


class Client:
    """A connection for one command; raises NoSupervisor when it ends, or the error that the supervisor answered."""

    def __init__(self, home: Home, *, start: bool = True, makes_home: bool = False) -> None:
        self.home = home
        self._number = 0
        self._stand_in: subprocess.Popen[bytes] | None = None
        self._open(start=start, makes_home=makes_home)

    def _open(self, *, start: bool, makes_home: bool) -> None:
        self._held = None if self.home.link is None else HeldAnswers()
        if start and not makes_home and self.home.link is None and not is_made(self.home):
            self._socket, self._stand_in = stand_in(self.home)
        else:
            self._socket = connect(self.home, start=start)
        self._file = self._socket.makefile("rb")
        self._is_closed = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()
        self._is_closed = True
        if self._stand_in is not None:
            try:
                self._stand_in.wait(STAND_IN_ENDS_S)
            except subprocess.TimeoutExpired:
                self._stand_in.kill()
                self._stand_in.wait()
            self._stand_in = None

    def ask(self, message: Request[Answer]) -> Answer:
        """Send one request and return its answer.

        Without a home, it is answered as by an empty one and nothing is created, unless the request starts something.
        Over a link, a read-only request is repeated when the link drops, for as long as it takes; one that changes
        something is not, because it may have been carried out.
        """
        require_no_secret(message)
        if self._stand_in is not None and message.makes_home:
            self.close()
            self._open(start=True, makes_home=True)
        link = self.home.link
        return self._ask(message) if link is None else self._ask_over(link, message)

    def _ask_over(self, link: Link, ask: Request[Answer]) -> Answer:
        attempts = 0
        while True:
            try:
                if self._is_closed:
                    self._open(start=False, makes_home=False)
                return self._ask(ask)
            except NoSupervisor as error:
                self.close()
                if not isinstance(ask, Question):
                    raise broken_link(link.label) from error
                attempts = attempts + 1 if link.is_up else 0  # a break may not have been noticed yet
                if attempts >= ATTEMPTS:
                    hint = "The next command starts it."
                    raise NoSupervisor(f"no supervisor answers on {link.label}.", hint=hint) from error
            time.sleep(0.3)
            link.wait()

    def _ask(self, ask: Request[Answer]) -> Answer:
        self._number += 1
        try:
            self._socket.sendall(encode(self._number, ask, self._held))
            line = self._file.readline()
        except TimeoutError as error:
            raise NoSupervisor("the supervisor does not answer.", hint="See `finetop doctor`.") from error
        except OSError as error:
            raise NoSupervisor(f"the supervisor went away: {error.strerror}.") from error
        return decode(line, ask, self._held)


def require_no_secret(ask: Request[Any]) -> None:
    """Raise BadInput if what would be stored holds the value of a secret in this environment.

    The supervisor may have been started in another one, or on another machine.
    """
    if isinstance(ask, Order):
        secret = secrets.locate_value(msgspec.json.encode(ask.stored()).decode())
        if secret is not None:
            raise BadInput(
                f"this holds {secret.what}; secrets are not stored with a run.", hint=secrets.SENT_HINT
            )


def ask_once(home: Home, ask: Request[Answer]) -> Answer:
    """Ask one thing on a connection of its own."""
    with Client(home) as client:
        return client.ask(ask)


class AsyncClient:
    """A connection for the app. One request at a time; `ask` may be called from several tasks."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._lock = asyncio.Lock()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._number = 0
        self._held = None if home.link is None else HeldAnswers()

    async def ask(self, ask: Request[Answer]) -> Answer:
        """Send one request and return its answer. Reconnects after a break; raises NoSupervisor if that fails."""
        require_no_secret(ask)
        link = self.home.link
        async with self._lock:
            if link is not None and not link.is_up:
                self.close()
                raise NoSupervisor(f"not connected to {link.label}: the request was not sent.")
            try:
                if self._writer is None:
                    opening = asyncio.open_unix_connection(self.home.socket, limit=wire.ANSWER_LIMIT)
                    self._reader, self._writer = await opening
                    require_own(self._writer.get_extra_info("socket"))
                assert self._reader is not None
                self._number += 1
                self._writer.write(encode(self._number, ask, self._held))
                await self._writer.drain()
                line = await self._reader.readline()
            except (OSError, ValueError) as error:  # ValueError: a line longer than the limit
                self.close()
                raise NoSupervisor("no supervisor answers.") from error
            except asyncio.CancelledError:
                self.close()  # its answer would be read as the next request's
                raise
            if not line:
                self.close()
                if link is not None and not isinstance(ask, Question):
                    raise broken_link(link.label)
                raise NoSupervisor("the supervisor went away.")
            return decode(line, ask, self._held)

    def close(self) -> None:
        if self._held is not None:
            self._held.forget()
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def broken_link(label: str) -> NoSupervisor:
    """Return the error for a connection that broke between a request and its answer."""
    unknown, hint = "the request may or may not have been carried out", "Check when it is back."
    return NoSupervisor(f"the link to {label} broke before it answered: {unknown}.", hint=hint)


def encode(number: int, ask: Ask, held: HeldAnswers | None = None) -> bytes:
    """Encode a request as one line. Raises BadInput if it is too long or not valid text."""
    try:
        number_of_known = None if held is None else held.number(ask)
        line = wire.envelope(number, ask, number_of_known) + b"\n"
    except UnicodeEncodeError as error:  # an argument of the command line that is not UTF-8
        hint = "Type it again, or rename the file."
        raise BadInput(f"{error.object!a:.60} is not UTF-8 text.", hint=hint) from error
    if len(line) > wire.REQUEST_LIMIT:
        size = f"{len(line) / 2**20:.1f} MiB; the limit is {wire.REQUEST_LIMIT >> 20}"
        raise BadInput(f"the request is {size}.", hint="Send less.")
    return line


def decode(line: bytes, ask: Request[Answer], held: HeldAnswers | None = None) -> Answer:
    """Decode an answer, or raise the error that it holds. Raises NoSupervisor if it can't be decoded."""
    if not line:
        raise NoSupervisor("the supervisor went away.", hint="The next command starts it again.")
    try:
        reply = wire.reply_decoder.decode(line)
        if reply.error is None:
            whole = reply.answer if held is None else held.answer(ask, reply)
            answer: Answer = msgspec.json.decode(whole, type=answer_type(type(ask)))
            return answer
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DoesNotFit) as error:
        ends = "`finetop supervisor stop` ends it, the next command starts this one"
        hint = f"It is of another version: {ends}."
        raise NoSupervisor(f"the supervisor's answer can't be read: {error}.", hint=hint) from error
    raise of_code(reply.error.exit, reply.error.message, reply.error.hint)


def connect(home: Home, *, start: bool = True) -> socket.socket:
    """Connect to the home's supervisor; with `start`, start one if there is none, as a link to another machine does."""
    if home.link is not None:
        return _connect_over(home.link)
    try:
        return _connect_once(home.socket)
    except OSError:
        if not start:
            hint = "`finetop supervisor start` starts one."
            raise NoSupervisor(f"no supervisor runs for {home.root}.", hint=hint) from None
    start_supervisor(home)
    return _connect_once(home.socket)


def require_supervisor(home: Home) -> None:
    """Raise EnvironmentTrouble if no supervisor answers, and the light install can't start one."""
    try:
        _connect_once(home.socket).close()
    except OSError:
        require("duckdb")


def start_supervisor(home: Home) -> None:
    """Start a supervisor in its own session and wait until it answers. Raises EnvironmentTrouble, NoSupervisor.

    Several clients may do this at once: all supervisors but one find the lock held and exit.
    """
    require("duckdb")
    require_readable()
    prepare(home)
    hint = f"Its log is {home.log}."
    with making("the supervisor's log", home.log):
        handle = open_own(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with os.fdopen(handle, "ab") as log:
        process = _spawn_supervisor(home, log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                _connect_once(home.socket).close()
                return
            except OSError:
                code = process.poll()
                if code == 0:  # another one held the lock, and may be about to exit
                    process = _spawn_supervisor(home, log)
                elif code is not None:
                    tail = end_of(home.log, 2000).decode("utf-8", "replace").strip().splitlines()
                    raise NoSupervisor(tail[-1] if tail else f"it ended with {code}.", hint=hint) from None
                time.sleep(0.02)
    raise NoSupervisor(f"the supervisor does not answer after {START_TIMEOUT_S:.0f} s.", hint=hint)


def stand_in(home: Home) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a process that answers on this connection alone, as the supervisor of an empty home would."""
    require("duckdb")
    require_readable()
    ours, theirs = socket.socketpair()
    ours.settimeout(ANSWER_TIMEOUT_S)
    command = python("finetop.core.supervisor.stand_in", "--home", str(home.root))
    with theirs:
        process = subprocess.Popen(command, stdin=theirs.fileno(), start_new_session=True, cwd="/")
    return ours, process


def _spawn_supervisor(home: Home, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        python("finetop.core.supervisor", "--home", str(home.root)),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd="/",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def _connect_over(link: Link) -> socket.socket:
    for _ in range(ATTEMPTS):
        link.wait()
        try:
            return _connect_once(link.socket)
        except OSError:  # ssh has ended, and its keeper has not noticed yet
            time.sleep(0.3)
    raise NoSupervisor(f"not connected to {link.label}.", hint=link.why_down())


def _connect_once(path: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(ANSWER_TIMEOUT_S)
    until = time.monotonic() + START_TIMEOUT_S
    try:
        while True:
            try:
                link.connect(str(path))
                break
            except BlockingIOError:  # the socket is there, but its queue of connections is full
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        require_own(link)  # in /tmp another user may have created the socket first
    except OSError:
        link.close()
        raise
    return link
