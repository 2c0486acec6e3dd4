"""`finetop tail RUN`: print a run's metrics step by step as they come; --log follows the job's log."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import msgspec

from finetop.core.client.connection import Client, ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import follow, options
from finetop.core.commands.shared.output import plain, print_json
from finetop.core.protocol.messages.runs import GetRun, LogAnswer, ReadLog
from finetop.core.runtime import log_file
from finetop.core.runtime.home import Home
from finetop.core.text import SHOWN_BYTES, clean

OPEN_S = 5.0  # minimum time between two prints of an unfinished line
BYTES_OF_LINE = 200  # how far back a log is read per requested line
_HELD = 2 * SHOWN_BYTES  # characters kept of an unfinished line


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "name or number")
    about = "start with the last N steps"
    parser.add_argument("-n", "--lines", type=options.count_or_none, default=10, metavar="N", help=about)
    options.flag(parser, "--log", "the job's log instead of its metrics")
    options.flag(parser, "--no-follow", "print the lines so far and exit")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.log:
        return tail_log(args, home)
    show = follow.Progress()
    newest = ask_once(home, GetRun(args.run)).row.step
    for new in follow.new_events(home, args.run, after_step=max(-1, newest - args.lines)):
        if args.json:
            for step in new.steps:
                print_json({"step": plain(step)})
        else:
            show(new)
        if args.no_follow and len(new.steps) < 1000:
            break
    return 0


def tail_log(args: argparse.Namespace, home: Home) -> int:
    lines, job, offset = LogLines(), -1, -BYTES_OF_LINE * max(args.lines, 1) - 1
    with Client(home) as client:
        while True:
            piece = client.ask(ReadLog(args.run, None, offset))
            if job == -1 and piece.size > -offset:
                piece = from_line(piece)
            if job not in (-1, piece.job):  # another job of the run has begun: show its log from the start
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


def from_line(piece: LogAnswer) -> LogAnswer:
    """Drop the end of a line whose beginning was not read; a piece without a newline stays."""
    _, newline, text = piece.text.partition("\n")
    return msgspec.structs.replace(piece, text=text) if newline else piece


class LogLines:
    """Turns the pieces of a log into printable lines, in bounded memory."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._open = ""
        self._shown = ""  # what was printed of the open line
        self._shown_at = now()

    def feed(self, piece: LogAnswer) -> str:
        """Take a piece; return the lines that it completes, or the new state of an unfinished one."""
        before = self.end() + log_file.words_for(piece.gap) + "\n" if piece.gap else ""
        *whole, rest = (self._open + piece.text).split("\n")
        if whole:
            self._shown = ""
        self._open = log_file.newest(rest)[:_HELD]
        ended = before + "".join(f"{clean(log_file.newest(line))}\n" for line in whole)
        state = clean(self._open.rstrip("\r"))
        if ended or self._now() - self._shown_at < OPEN_S or state in ("", self._shown):
            return ended
        self._shown, self._shown_at = state, self._now()
        return f"{state}\n"

    def end(self) -> str:
        """Return the unfinished line, once no more pieces come."""
        state, shown = clean(self._open.rstrip("\r")), self._shown
        self._open = self._shown = ""
        return f"{state}\n" if state not in ("", shown) else ""


PLUGIN = Command("follow a run's metrics, or its log", "watch", run, arguments)
