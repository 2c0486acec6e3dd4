"""`finetop supervisor start|status|stop`: the process that owns the store and the queue."""

from __future__ import annotations

import argparse
import os
import sys
import time

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json, reply
from finetop.core.errors import EnvironmentTrouble, NoSupervisor
from finetop.core.protocol.messages.session import Changes, Hello, Shutdown
from finetop.core.runtime import locks
from finetop.core.runtime.home import Home
from finetop.core.wording.durations import ago


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("start", "status", "stop"))
    options.flag(parser, "--hold", "with start: stay until stdin ends, as --on does")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.what == "start":
        return start(args, home)
    with Client(home, start=False) as client:
        facts = client.ask(Hello())
        if args.what == "status":
            trouble = client.ask(Changes(0, 0.0)).trouble
            up = f"up {ago(facts.started)}, {facts.device}"
            text = f"supervisor {facts.pid}, finetop {facts.version}, {up}\n  home    {facts.home}"
            text += f"\n  socket  {home.socket}\n  spare   {facts.spare}\n  {trouble or 'healthy'}"
            return reply(args, {"supervisor": plain(facts), "trouble": trouble}, text)
        done = client.ask(Shutdown())
    until_ended(home, facts.pid)
    return reply(args, plain(done), done.message)


def start(args: argparse.Namespace, home: Home) -> int:
    """Start a supervisor if there is none, and print where it is: an app elsewhere runs this over ssh."""
    with Client(home, makes_home=True) as client:
        facts = client.ask(Hello())
    if args.json:
        print_json({"supervisor": plain(facts), "socket": str(home.socket)})
    else:
        print(f"supervisor {facts.pid} of finetop {facts.version} answers at {home.socket}")
    if args.hold:
        sys.stdout.flush()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        try:
            os.execvp("cat", ["cat"])  # cat waits in 1 MB, Python in 20
        except OSError:
            sys.stdin.buffer.read()
    return 0


def until_ended(home: Home, pid: int) -> None:
    """Wait until a supervisor is gone. Raises EnvironmentTrouble if it stays."""
    deadline = time.monotonic() + 10
    while is_there(home):
        if time.monotonic() > deadline:
            raise EnvironmentTrouble(f"the supervisor {pid} does not end.", hint=f"See {home.log}.")
        time.sleep(0.02)


def is_there(home: Home) -> bool:
    if home.link is None:
        return home.socket.exists() or locks.is_held(home.lock)
    try:  # over a link the local socket is ssh's
        with Client(home, start=False) as client:
            client.ask(Hello())
    except NoSupervisor:
        return False
    return True


PLUGIN = Command("start, show or stop the supervisor (jobs keep running)", "maintenance", run, arguments)
