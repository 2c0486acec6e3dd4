"""`finetop tail RUN`: its numbers, step by step, as they come; --log follows the job's own log."""

from __future__ import annotations

import argparse
import time

from finetop.core.client.connection import Client
from finetop.core.commands.shared import args as shared_args, follow
from finetop.core.commands.shared.log_lines import LogLines
from finetop.core.commands.shared.output import plain, print_json
from finetop.core.protocol.messages.runs import GetRun, ReadLog
from finetop.core.runtime.home import Home

ABOUT = "follow a run's numbers, or its log"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name or number")
    parser.add_argument(
        "-n",
        "--lines",
        type=shared_args.count_or_none,
        default=10,
        metavar="N",
        help="start with the last N steps",
    )
    parser.add_argument("--log", action="store_true", help="the job's own log in place of its numbers")
    parser.add_argument("--no-follow", action="store_true", help="print what is there, then end")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.log:
        return tail_log(args, home)
    show = follow.Progress()
    with Client(home) as client:
        newest = client.ask(GetRun(args.run)).row.step
    for new in follow.rows(home, args.run, after_step=max(-1, newest - args.lines)):
        if args.json:
            for step in new.steps:
                print_json({"step": plain(step)})
        else:
            show(new)
        if args.no_follow and len(new.steps) < 1000:
            break
    return 0


def tail_log(args: argparse.Namespace, home: Home) -> int:
    lines, job, offset = LogLines(), -1, -200 * max(args.lines, 1)
    with Client(home) as client:
        while True:
            piece = client.ask(ReadLog(args.run, None, offset))
            if job not in (-1, piece.job):  # another job of the run has begun: its log from the start
                print("" if args.json else lines.end(), end="", flush=True)
                job, offset = piece.job, 0
                continue
            if args.json and (piece.text or piece.gap):
                gap = {"gap": piece.gap} if piece.gap else {}
                print_json({"job": piece.job, "text": piece.text, **gap})
            elif not args.json:
                print(lines.feed(piece), end="", flush=True)
            at_end = piece.next >= piece.size
            job, offset = piece.job, piece.next if piece.size else 0
            if at_end and (args.no_follow or not follow.is_live(client.ask(GetRun(args.run)).row)):
                print("" if args.json else lines.end(), end="", flush=True)
                return 0
            if at_end:
                time.sleep(0.5)
