"""`finetop sql`: one parsed SELECT, answered by a separate process on a copy of the database.

A scalar function ignores DuckDB's interrupt and its memory limit: `SELECT range(300000000)` takes 15 GB and a minute
whatever was set. So the query never runs where the store is open: the copy is a snapshot (the file and its write-ahead
log, 1 GB/s), and the kernel limits the memory and time of the process that reads it.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import BadInput, EnvironmentTrouble, StoreTrouble
from finetop.core.protocol.messages.runs import SQL_BYTES, SQL_ROWS, SqlAnswer
from finetop.core.runtime import child
from finetop.core.store.database import damage

MOST_S = 50.0
MEMORY_BYTES = 1 << 30  # for a query, on top of what the process uses at its start
AT_A_TIME = 2
START_S = 1.5  # to start the process and open the copy (0.2 s), on a busy machine
PREFIX = ".sql-"  # of a copy's folder, in the home
FETCHED = 256  # rows at a time
COPIES = 3  # tries, if a checkpoint interferes


class Asked(msgspec.Struct, frozen=True):
    """The request to the process."""

    database: str
    query: str
    limit: int
    timeout_s: float


class Answered(msgspec.Struct, frozen=True):
    """Its reply: a SqlAnswer as JSON, passed on unchanged, or an error."""

    answer: msgspec.Raw = msgspec.Raw(b"null")
    fault: str = ""
    hint: str = ""
    damage: str = ""  # of the database


_encoder = msgspec.json.Encoder(enc_hook=str)


async def select(
    database: Path, query: str, *, limit: int, timeout_s: float, places: asyncio.Semaphore
) -> msgspec.Raw:
    """Run one SELECT on the current database and return a SqlAnswer as JSON, after `timeout_s` + 2 seconds at most.

    `places` limits the queries of one supervisor. Raises BadInput for anything but one SELECT, for an error in it, and
    if it takes too much time or memory; EnvironmentTrouble if others run all the time; StoreTrouble if the database
    can't be copied.
    """
    timeout_s = max(0.1, min(timeout_s, MOST_S))
    end = time.monotonic() + timeout_s + START_S
    try:
        async with asyncio.timeout(timeout_s):
            await places.acquire()
    except TimeoutError:
        hint = "Try again, or with a longer --timeout."
        raise EnvironmentTrouble(f"{AT_A_TIME} other queries are being answered.", hint=hint) from None
    try:
        async with asyncio.timeout(end - time.monotonic()):
            return await _answered(database, query, max(1, min(limit, SQL_ROWS)), timeout_s)
    except TimeoutError:
        raise _too_slow(timeout_s) from None
    finally:
        places.release()


async def _answered(database: Path, query: str, limit: int, timeout_s: float) -> msgspec.Raw:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=database.parent))
    try:
        copy = await asyncio.to_thread(_copy, database, folder)
        request = msgspec.json.encode(Asked(str(copy), query, limit, timeout_s))
        reply = await child.answer(__name__, asked=request)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if -reply.code in (signal.SIGALRM, signal.SIGXCPU):
        raise _too_slow(timeout_s)
    try:
        answered = msgspec.json.decode(reply.output, type=Answered)
    except msgspec.DecodeError:  # killed by the kernel, or by a crash in a library
        raise _too_large() from None
    if answered.damage:
        raise StoreTrouble(answered.damage)
    if answered.fault:
        raise BadInput(answered.fault, hint=answered.hint)
    return answered.answer


def _copy(database: Path, folder: Path) -> Path:
    """Copy the database and its write-ahead log; return the copy's path. Raises StoreTrouble.

    Transactions only append to the log, of which DuckDB ignores a torn end; a checkpoint changes the file itself.
    """
    copy = folder / database.name
    log = database.with_name(database.name + ".wal")
    try:
        for _ in range(COPIES):
            before = database.stat()
            shutil.copyfile(database, copy)
            try:
                shutil.copyfile(log, folder / log.name)
            except FileNotFoundError:  # a checkpoint just merged it, or there was nothing to log
                (folder / log.name).unlink(missing_ok=True)
            after = database.stat()
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                return copy
    except OSError as error:
        fault = f"the database can't be copied for a query: {error.strerror}."
        raise StoreTrouble(fault, hint="Free some room on the disk.") from error
    raise StoreTrouble("the database changes faster than it can be copied for a query.", hint="Try again.")


def remove_left(database: Path) -> None:
    """Remove copies left by a supervisor that was killed."""
    for folder in database.parent.glob(f"{PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _too_slow(timeout_s: float) -> BadInput:
    return BadInput(f"the query took over {timeout_s:g} s and was stopped.", hint="Request less.")


def _too_large() -> BadInput:
    return BadInput(f"the query needs more than {MEMORY_BYTES >> 30} GiB of memory.", hint="Request less.")


def main() -> None:
    """Answer the query on standard input within its limits, in the process for it."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    Path("/proc/self/oom_score_adj").write_text("1000")  # when memory runs out, this process is killed first
    answered = _run(request)
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.buffer.write(_encoder.encode(answered))


def _run(request: Asked) -> Answered:
    config: dict[str, str | bool | int] = {
        "memory_limit": f"{MEMORY_BYTES >> 20}MiB",
        "threads": 1,
        "temp_directory": "",  # nothing is written: what needs more than memory is refused
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        connection = duckdb.connect(request.database, read_only=True, config=config)
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        _bound(request.timeout_s)
        statements = duckdb.extract_statements(request.query)
        if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
            hint = 'Try: finetop sql "SELECT name, step FROM runs"'
            return Answered(fault="only one SELECT is allowed here.", hint=hint)
        connection.execute(request.query)
        return Answered(msgspec.Raw(_encoder.encode(_rows(connection, request.limit))))
    except (duckdb.OutOfMemoryException, MemoryError):
        error = _too_large()
        return Answered(fault=error.message, hint=error.hint)
    except duckdb.Error as error:
        return Answered(fault=f"this SQL failed: {str(error).splitlines()[0]}", damage=damage(error))


def _bound(timeout_s: float) -> None:
    """Let the kernel end this process after its time limit, and limit its memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    seconds = math.ceil(timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)


def _rows(connection: Connection, limit: int) -> SqlAnswer:
    """Fetch rows up to the limit and to SQL_BYTES."""
    columns = [column[0] for column in connection.description or []]
    rows: list[list[Any]] = []
    size = 0
    while fetched := connection.fetchmany(min(FETCHED, limit + 1 - len(rows))):
        for row in fetched:
            plain = [_plain(value) for value in row]
            size += len(_encoder.encode(plain))
            if size > SQL_BYTES or len(rows) == limit:
                return SqlAnswer(columns, rows, cut=True)
            rows.append(plain)
    return SqlAnswer(columns, rows, cut=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: other types become texts, as do integers over 64 bits."""
    match value:
        case None | bool() | float() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


if __name__ == "__main__":
    os.umask(0o077)
    main()
