"""Does one thing to a home as its supervisor would, and dies on the way: `python dying.py`.

Each line on standard input is JSON: the home, what to do (a request's line, "beat", "open", "migrate" or "rebuild";
"migrate" opens it as a finetop with one more migration would), and the place between two effects at which to die, 0 for
none. It is done in a forked process (the libraries are imported once), whose exit code is printed: 99 if it died there,
0 if it was done, 1 if it was refused.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from finetop.core.protocol import wire
from finetop.core.runtime import crash_points
from finetop.core.runtime.home import Home
from finetop.core.store import database
from finetop.core.supervisor import serve, tick
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.launchers import local
from finetop.core.supervisor.rebuild import rebuild
from finetop.core.supervisor.state import Supervisor

MORE = ("0002_more.sql", "CREATE TABLE more (a INTEGER); INSERT INTO more VALUES (7);")


def main() -> None:
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(do(Home(Path(wanted["home"])), wanted["does"], wanted["at"]))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def do(home: Home, does: str, at: int) -> int:
    local.claim = lambda folder, attempt: False  # waiting jobs are marked as started, but are not
    if does == "migrate":
        known = [*database.migrations(), MORE]
        database.migrations = lambda: known
    if does in ("open", "migrate", "rebuild"):
        os.environ[crash_points.SWITCH] = str(at)
        rebuild.rebuild(home) if does == "rebuild" else open_home(home).close()
        return 0
    supervisor = Supervisor(home, open_home(home))
    os.environ[crash_points.SWITCH] = str(at)
    if does == "beat":
        asyncio.run(tick.beat(supervisor))
        return 0
    answered = asyncio.run(serve.reply(supervisor, does.encode()))
    reply = wire.reply_decoder.decode(answered)
    if reply.error is not None:
        print(reply.error.message, file=sys.stderr)
    supervisor.connection.close()
    return 1 if reply.error is not None else 0


if __name__ == "__main__":
    main()
