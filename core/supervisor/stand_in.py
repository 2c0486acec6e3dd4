"""Answers for a missing home as an empty one would: `python -m finetop.core.supervisor.stand_in --home DIR`.

Nothing is created below DIR, and no job is started. Standard input is a socket to the client; when it closes, this
process ends, and its temporary database goes with it. Requests that create something (`Request.makes_home`) go to a
real supervisor instead.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import tempfile

from finetop.core.errors import FinetopError
from finetop.core.runtime.home import DATABASE_FOLDER, find_home
from finetop.core.store.database import open_store
from finetop.core.supervisor import connections, watch_settings
from finetop.core.supervisor.connections import Caller, Callers
from finetop.core.supervisor.gpus import pool
from finetop.core.supervisor.serve import talk
from finetop.core.supervisor.state import Supervisor

BEAT_S = 0.2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m finetop.core.supervisor.stand_in")
    parser.add_argument("--home")
    home_argument = parser.parse_args().home
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="finetop-") as folder:
        os.environ[DATABASE_FOLDER] = folder
        try:
            home = find_home(home_argument)
            supervisor = Supervisor(home, open_store(home.database))
        except FinetopError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        try:
            asyncio.run(answer(supervisor, socket.socket(fileno=0)))
        finally:
            supervisor.connection.close()
    return 0


async def answer(supervisor: Supervisor, link: socket.socket) -> None:
    """Answer one connection until it closes."""
    reader, writer = await asyncio.open_connection(sock=link, limit=connections.PIECE_BYTES)
    looking = asyncio.create_task(watch(supervisor))
    try:
        await talk(supervisor, Callers(), Caller(reader, writer))
        await writer.wait_closed()
    finally:
        looking.cancel()


async def watch(supervisor: Supervisor) -> None:
    """Read the settings and the GPUs, as a beat does."""
    while True:
        watch_settings.read(supervisor)
        pool.update(supervisor)
        await asyncio.sleep(BEAT_S)


if __name__ == "__main__":
    sys.exit(main())
