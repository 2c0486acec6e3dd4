"""A Python for tests that has imported the training stack: it forks for each job, rehearsal and worker of a test run.

Each of these processes saves 8 CPU s of imports and more. It is made ready by what makes the product's own warm
process ready.

    python warm_python.py SOCKET PID   # serves at a socket that it has inherited, until the process PID ends

FOLDER/python is the program to start. For anything else it becomes this test's own Python, in which
sys.executable is FOLDER/python again: a supervisor's keepers, and commands, start their children in the same way.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import selectors
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from execnet.gateway_io import popen_bootstrapline  # how pytest-xdist starts a worker

RANK_JOBS = str(Path(__file__).with_name("rank_jobs.py"))
CLIENT = """#!{python} -SEs
import json, os, signal, socket, sys

PYTHON, OWN, words = {python!r}, {own!r}, sys.argv[1:]
flags = ["-P"] if words[:1] == ["-P"] else []
words = words[len(flags):]


def is_heavy():
    if words[:2] == ["-m", "finetop.core.train.rehearsal"] or words == ["-u", "-c", {worker!r}]:
        return True
    if words[0] == {rank_jobs!r}:
        return True
    if len(words) != 3 or "RANK" in os.environ or words[:2] != ["-m", "finetop.core.run_job"]:
        return False
    try:
        with open(words[2] + "/job.json") as file:
            return json.load(file)["verb"] in ("train", "check")
    except (OSError, ValueError, KeyError):
        return False


if not is_heavy():
    if words[0] == "-m":
        code = "import runpy, sys; sys.executable = sys.argv.pop(1); name = sys.argv.pop(1);"
        code += "runpy.run_module(name, run_name='__main__', alter_sys=True)"
        words[0:2] = ["-c", code, OWN, words[1]]
    os.execv(PYTHON, [PYTHON, *flags, *words])
server = socket.socket(socket.AF_UNIX)
server.connect({socket!r})
request = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
server.sendall(request)
with server.makefile() as answers:
    pid = int(answers.readline() or os._exit(1))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    code = int(answers.readline() or 1)  # nothing: the test run was broken off
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def begin(folder: Path, owner: int) -> Path:
    """Return a program that is forked from a server, which begins when first asked and ends with its owner."""
    folder.mkdir()
    program, place = folder / "python", str(folder / "socket")
    program.write_text(
        CLIENT.format(
            python=sys.executable,
            own=str(program),
            socket=place,
            worker=popen_bootstrapline,
            rank_jobs=RANK_JOBS,
        )
    )
    program.chmod(0o700)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen(64)
    listening.set_inheritable(True)
    words = [sys.executable, __file__, str(listening.fileno()), str(owner)]
    outputs = os.O_WRONLY | os.O_CREAT
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(folder / "log.txt"), outputs, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}

    def start_once_asked() -> None:
        select.select([listening], [], [])
        os.posix_spawn(sys.executable, words, environment, file_actions=files, setsid=True)
        listening.close()

    threading.Thread(target=start_once_asked, daemon=True).start()
    return program


class Server:
    """Forks for each client, and tells it the process and its exit code; the process ends with its client."""

    def __init__(self, listening: socket.socket, owner: int) -> None:
        self._events = selectors.DefaultSelector()
        self._pid_of: dict[socket.socket, int] = {}
        self._listening = listening
        self._events.register(listening, selectors.EVENT_READ, self._accept)
        self._owner = os.pidfd_open(owner)
        self._events.register(self._owner, selectors.EVENT_READ, None)

    def serve(self) -> dict[str, Any] | None:
        """Return None when the owner has ended; in a fork, what it is to become."""
        while True:
            for key, _ in self._events.select():
                if key.data is None:
                    for pid in self._pid_of.values():
                        kill(pid)
                    return None
                if (request := key.data(key.fileobj)) is not None:
                    return dict(request)

    def _accept(self, listening: socket.socket) -> dict[str, Any] | None:
        client, _ = listening.accept()
        with suppress(OSError, EOFError, ValueError):  # killed before it had sent its request
            return self._fork(client)
        client.close()
        return None

    def _fork(self, client: socket.socket) -> dict[str, Any] | None:
        head, files, _, _ = socket.recv_fds(client, 4, 3)
        if len(head) < 4:
            raise EOFError
        with client.makefile("rb") as stream:
            request = json.loads(stream.read(int.from_bytes(head, "big")))
        if (pid := os.fork()) == 0:
            self._events.close()
            for other in (self._listening, client, *self._pid_of):
                other.close()
            os.close(self._owner)
            return {"request": request, "files": files}
        for file in files:
            os.close(file)
        self._pid_of[client] = pid
        self._events.register(client, selectors.EVENT_READ, self._end)
        self._events.register(
            os.pidfd_open(pid), selectors.EVENT_READ, lambda ended: self._ended(ended, client)
        )
        with suppress(OSError):  # it was killed meanwhile: its socket's end comes as an event
            client.sendall(b"%d\n" % pid)
        return None

    def _end(self, client: socket.socket) -> None:
        """End a process whose client is gone, unless it has ended in the same moment."""
        if (pid := self._pid_of.get(client)) is not None:
            self._events.unregister(client)
            kill(pid)

    def _ended(self, ended: int, client: socket.socket) -> None:
        self._events.unregister(ended)
        os.close(ended)
        _, status = os.waitpid(self._pid_of.pop(client), 0)
        with suppress(OSError, KeyError):
            self._events.unregister(client)
        with suppress(OSError):
            client.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        client.close()


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def become(request: list[Any], files: list[int]) -> None:
    """Become the program until it ends: `-m MODULE …`, `-u -c CODE` or `FILE …`."""
    words, folder, environment = request
    os.setpgid(0, 0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-u":
        sys.argv = words[1:]
        sys.modules["__main__"] = main_module = ModuleType("__main__")
        exec(words[2], main_module.__dict__)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def main() -> int:
    from finetop.core.train import job, rehearsal  # noqa: F401

    server = Server(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    job.prepare()
    gc.collect()
    gc.freeze()
    if (forked := server.serve()) is not None:
        become(**forked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
