"""The supervisor's process, `python -m finetop.core.supervisor --home DIR`: exactly one per home."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from functools import partial

import duckdb
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import EnvironmentTrouble, FinetopError, StoreTrouble
from finetop.core.runtime import files
from finetop.core.runtime.files import os_error_words
from finetop.core.runtime.home import Home, find_home, make_room_for_socket, prepare
from finetop.core.runtime.locks import take_lock
from finetop.core.store import run_records, sql_query
from finetop.core.store.database import open_store, reason
from finetop.core.supervisor import warm_process
from finetop.core.supervisor.endings import liveness
from finetop.core.supervisor.gpus import pool
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.requests import trash
from finetop.core.supervisor.serve import DISK_FULL, Faults, listen, trouble_of
from finetop.core.supervisor.state import Supervisor
from finetop.core.supervisor.tick import beat

BEAT_S = 0.2
BEHIND_BEAT_S = 0.01  # while jobs write more events than one beat reads
TROUBLE_BEAT_S = 2.0
FULL_BYTES = 256 << 10
SLOW_S = 5.0  # a beat takes 10 ms
END_S = 2.0  # grace for a beat under way when the supervisor ends
SLOW = "the disk of the run folders is slow: metrics of runs arrive late. Runs continue."


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m finetop.core.supervisor")
    parser.add_argument("--home")
    home = find_home(parser.parse_args().home)
    os.umask(0o077)
    try:
        prepare(home)
        lock = take_lock(home, wait_s=0.1)  # `doctor` may hold it for a moment
        if lock is None:
            print("another supervisor already runs on this home.", file=sys.stderr)
            return 0
        supervisor = Supervisor(home, open_home(home))
        liveness.adopt(supervisor)
    except FinetopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    gc.freeze()  # imported modules are never garbage
    asyncio.run(live(supervisor, lock))
    return 0


def open_home(home: Home) -> Connection:
    """Open the home's database after checking that it is safe to use. Raises StoreTrouble, EnvironmentTrouble."""
    files.require_local(home.database.parent)
    sql_query.remove_left(home.database)
    run_records.require_database(home.database, home.runs)
    connection = open_store(home.database)
    try:
        run_records.require_in_step(connection, home.root)
        trash.finish_moves(connection, home)
    except duckdb.Error as error:  # a damaged block may be read only now
        connection.close()
        raise StoreTrouble(reason(home.database, error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


async def live(supervisor: Supervisor, lock: int) -> None:
    """Serve and beat until told to end, or until the home is deleted, moved or replaced by another.

    Jobs then end by themselves: each keeper notices that its folder is gone.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.ending.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    home = supervisor.home
    loop.set_exception_handler(Faults().handle)
    server = await listen(supervisor)
    door = own_socket(home)
    discarding = asyncio.create_task(aside(partial(trash.delete_discarded, home)))
    print(f"{time.strftime('%F %T')} supervisor {os.getpid()} for {home.root}", file=sys.stderr)
    try:
        while not supervisor.ending.is_set() and files.is_still(home.lock, lock):
            pause = BEAT_S
            try:
                if not home.socket.exists():  # /run/user/… is removed at logout, /tmp is cleaned
                    server.close()
                    make_room_for_socket(home)  # not the home: it may be in the middle of being deleted
                    server = await listen(supervisor)
                    door = own_socket(home)
                is_slow = await watched(supervisor, asyncio.create_task(beat(supervisor)))
                pause = BEHIND_BEAT_S if supervisor.behind else BEAT_S
                set_trouble(supervisor, trouble(supervisor) or (SLOW if is_slow else ""))
            except (duckdb.Error, OSError) as error:
                pause = TROUBLE_BEAT_S
                recover(supervisor, error)
            except EnvironmentTrouble as error:  # no room for the socket
                pause = TROUBLE_BEAT_S
                set_trouble(supervisor, error.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(supervisor.ending.wait(), pause)
    finally:
        discarding.cancel()
        warm_process.let_go(supervisor)
        server.close()
        if own_socket(home) == door:  # another supervisor may have a home of the same name by now
            home.socket.unlink(missing_ok=True)
        if not files.is_still(home.lock, lock):
            print(f"{time.strftime('%F %T')} the home is gone.", file=sys.stderr, flush=True)
            os._exit(0)  # closing the database would remove the log of its replacement
        supervisor.connection.close()


def own_socket(home: Home) -> tuple[int, int] | None:
    """Return the identity of the socket's file, or None if there is none."""
    try:
        facts = home.socket.lstat()
    except OSError:
        return None
    return facts.st_ino, facts.st_ctime_ns


async def watched(supervisor: Supervisor, beating: asyncio.Task[None]) -> bool:
    """Wait for a beat to end and report a slow one. Return whether it was slow. Raises what the beat raises.

    When the supervisor ends, a beat gets END_S; the next supervisor handles what is left half done, as after a kill.
    """
    ending = asyncio.create_task(supervisor.ending.wait())
    try:
        await asyncio.wait({beating, ending}, timeout=SLOW_S, return_when=asyncio.FIRST_COMPLETED)
        is_slow = not beating.done() and not ending.done()
        if is_slow:
            set_trouble(supervisor, trouble(supervisor) or SLOW)
            await asyncio.wait({beating, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not beating.done():
            await asyncio.wait({beating}, timeout=END_S)
        if beating.done():
            beating.result()
        return is_slow
    finally:
        beating.cancel()
        ending.cancel()


def recover(supervisor: Supervisor, error: duckdb.Error | OSError) -> None:
    """Report the error and reopen the database, which refuses everything after a failed write."""
    of_store = isinstance(error, duckdb.Error)
    set_trouble(supervisor, trouble_of(error) if of_store else os_error_words(error, supervisor.home.root))
    if isinstance(error, duckdb.FatalException | duckdb.IOException | duckdb.InternalException):
        try:
            supervisor.connection.close()
            supervisor.connection = open_store(supervisor.home.database)
        except FinetopError as refused:
            set_trouble(supervisor, refused.message)


def set_trouble(supervisor: Supervisor, trouble: str) -> None:
    """Record the current trouble ('' for none) and, if it changed, report it to the log and the clients."""
    if supervisor.trouble != trouble:
        print(f"{time.strftime('%F %T')} {trouble or 'recovered'}", file=sys.stderr)
        supervisor.trouble = trouble
        supervisor.touch()


def trouble(supervisor: Supervisor) -> str:
    """Return what is wrong with the supervisor or its machine although the beat succeeded, or ''."""
    # before the store finds out: jobs that can't log have nothing for it to take in
    if shutil.disk_usage(supervisor.home.root).free < FULL_BYTES:
        return DISK_FULL
    of_home = supervisor.room.words or next(iter(supervisor.newer.values()), "")
    of_jobs = of_home or pool.trouble(supervisor) or supervisor.launcher.trouble()
    return of_jobs or supervisor.settings_fault


if __name__ == "__main__":
    sys.exit(main())
