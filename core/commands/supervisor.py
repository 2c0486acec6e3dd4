"""`finetop supervisor status|stop`: the process that owns the store and the queue."""

from __future__ import annotations

import argparse
import time

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.commands.output import ago, plain, print_json
from finetop.core.errors import EnvironmentTrouble
from finetop.core.home import Home

ABOUT = "look at the supervisor, or end it (jobs go on)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("status", "stop"))


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home, start=False) as client:
        facts: protocol.HelloAnswer = client.ask(protocol.Hello())
        if args.what == "status":
            trouble = client.ask(protocol.Changes(0, 0.0)).trouble
            if args.json:
                print_json({"supervisor": plain(facts), "trouble": trouble})
            else:
                print(
                    f"supervisor {facts.pid} of finetop {facts.version}, for {ago(facts.started)}, {facts.device}"
                )
                print(f"  home    {facts.home}\n  socket  {home.socket}")
                print(f"  spare   {facts.spare}")
                print(f"  {trouble or 'all is well'}")
            return 0
        done: protocol.Done = client.ask(protocol.Shutdown())
    deadline = time.monotonic() + 10
    while home.socket.exists():
        if time.monotonic() > deadline:
            raise EnvironmentTrouble(f"the supervisor {facts.pid} does not end.", hint=f"See {home.log}.")
        time.sleep(0.02)
    print_json({"message": done.message}) if args.json else print(done.message)
    return 0
