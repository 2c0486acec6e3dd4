"""The socket: access for the owner only, framing, one reply per request, readable errors."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import resource
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, TypeGuard

import duckdb
import msgspec

from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, Refused, StoreTrouble
from finetop.core.protocol import wire
from finetop.core.protocol.patch_cache import SentAnswers
from finetop.core.protocol.request import Question
from finetop.core.runtime.files import os_error_words
from finetop.core.runtime.processes import require_own
from finetop.core.store.database import damage
from finetop.core.supervisor import connections
from finetop.core.supervisor.connections import Caller, Callers, TooMuch
from finetop.core.supervisor.requests.dispatch import answer
from finetop.core.supervisor.state import Supervisor

NO_HANDLES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
TELL_S = 60.0  # between two log lines about a lack of handles
ENVELOPE = 100  # bytes added around an answer
DISK_FULL = "the disk is full: new runs are refused and metrics may be missing until space is free."


async def listen(supervisor: Supervisor) -> asyncio.Server:
    """Open the home's socket for its owner. The home's lock is held, so an old socket is unused."""
    path = supervisor.home.socket
    path.unlink(missing_ok=True)
    callers = Callers()
    old = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(
            lambda reader, writer: talk(supervisor, callers, Caller(reader, writer)),
            path=str(path),
            limit=connections.PIECE_BYTES,
        )
    finally:
        os.umask(old)


@dataclass
class Faults:
    """Logs asyncio's unhandled errors with their traceback, except for a lack of handles.

    Then asyncio can't accept a connection, retries up to a hundred times at once, and pauses for a second. Waiting
    connections are accepted once the idle ones over the limit are cut off.
    """

    told_at: float = -math.inf

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in NO_HANDLES:
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if now - self.told_at < TELL_S:
            return
        self.told_at = now
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        message = f"can't accept connections for a moment: {os.strerror(error.errno)} (ulimit -n is {limit})"
        print(f"{time.strftime('%F %T')} {message}", file=sys.stderr)


async def talk(supervisor: Supervisor, callers: Callers, caller: Caller) -> None:
    """Answer a client's requests in order, until it leaves or is cut off, or the supervisor ends.

    The end is checked explicitly: a wait that completes at the moment of its cancellation swallows it (asyncio.wait_for
    of Python 3.11), and a client that stays connected would keep the supervisor from ending.
    """
    try:
        require_own(caller.writer.get_extra_info("socket"))
        callers.enter(caller)
        async for line in connections.lines(callers, caller):
            caller.is_idle = False
            await connections.hand_over(callers, caller, await reply(supervisor, line, caller.sent) + b"\n")
            caller.is_idle = True
            if supervisor.ending.is_set():
                break
    except TooMuch as error:
        caller.writer.write(failed(0, EnvironmentTrouble(str(error))) + b"\n")
    except (ConnectionError, PermissionError, asyncio.CancelledError):
        pass  # another user's, or the client left or read nothing
    finally:
        callers.leave(caller)
        connections.say_goodbye(caller)


async def reply(supervisor: Supervisor, line: bytes, sent: SentAnswers | None = None) -> bytes:
    """Answer one line; whatever happens, return a reply. `sent` is what this client was sent before."""
    number, ask = 0, None
    try:
        try:
            envelope = wire.envelope_decoder.decode(line)
            number = envelope.id
            require_version(envelope)
            ask = wire.read_ask(envelope.ask)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            hint = "See the command's --help; of another version, `finetop supervisor stop` ends it."
            raise BadInput(f"the supervisor does not understand this request: {error}.", hint=hint) from error
        result: Any = await answer(supervisor, ask)
        whole = wire.encoder.encode(result)
        if len(whole) > wire.ANSWER_LIMIT - ENVELOPE:
            message = f"the answer is {len(whole) / 2**20:.0f} MiB; the limit is {wire.ANSWER_LIMIT >> 20}."
            raise Refused(message, hint="Request less: --limit.")
        return wire.encoder.encode((sent or SentAnswers()).reply(envelope, ask, whole))
    except FinetopError as error:
        return failed(number, error)
    except Exception as error:
        if is_store_error(error):
            trouble = trouble_of(error, is_read=isinstance(ask, Question))
            if not isinstance(error, duckdb.OutOfMemoryException):  # else it is this request's trouble alone
                supervisor.trouble = trouble
            return failed(number, StoreTrouble(trouble))
        if isinstance(error, OSError) and error.filename is not None:  # a full disk, a link in a file's place
            return failed(number, EnvironmentTrouble(f"{os_error_words(error, supervisor.home.root)}."))
        # a bug: the client gets a message, the log the traceback
        traceback.print_exc(file=sys.stderr)
        hint = "The traceback is in supervisor.log."
        return failed(number, FinetopError(f"internal error: {error!r}.", hint=hint))


def require_version(envelope: wire.Envelope) -> None:
    """Raise BadInput if a client speaks another version of the protocol."""
    if envelope.v != wire.VERSION:
        message = f"the supervisor speaks protocol {wire.VERSION}, this program {envelope.v}."
        hint = "End it with `finetop supervisor stop`; the next command starts the new one."
        raise BadInput(message, hint=hint)


def is_store_error(error: Exception) -> TypeGuard[duckdb.Error]:
    """Return True for an error of the database or its disk, as opposed to a wrong query of ours."""
    kinds = (duckdb.OperationalError, duckdb.InternalError, duckdb.FatalException)
    return isinstance(error, kinds) or (isinstance(error, duckdb.Error) and bool(damage(error)))


def failed(number: int, error: FinetopError) -> bytes:
    fault = wire.Error(error.exit_code, error.message, error.hint)
    return wire.encoder.encode({"id": number, "error": fault})


def trouble_of(error: duckdb.Error, *, is_read: bool = False) -> str:
    """Describe a store error in words; `is_read`: of a request that only reads."""
    text = str(error).splitlines()[0]
    if "No space left" in text or "full" in text.lower():
        return DISK_FULL
    if is_read:
        return damage(error) or f"the store can't be read: {text.rstrip('.')}. Nothing was written."
    return damage(error) or f"the store can't be written: {text}"
