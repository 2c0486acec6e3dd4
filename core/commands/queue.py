"""`finetop queue`: what waits, in which order and why; its order changed, runs or all of it held and released."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import msgspec

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.commands import machines
from finetop.core.commands.output import plain, print_json, print_table, warn
from finetop.core.errors import BadInput, NoSupervisor, did_you_mean
from finetop.core.home import Home
from finetop.core.queue_words import PRIORITIES, priority_word, why
from finetop.core.quiet_hours import clock
from finetop.core.text import clean_line

ABOUT = "what waits and why; change its order, hold and release"
ANYWHERE = True

ACTIONS = ("first", "last", "before", "hold", "release", "priority")
CHANGES = "first RUN, last RUN, before RUN OTHER, priority RUN high|normal|low|N, hold [RUN], release [RUN]"
LEAST, MOST = 0, 100  # of a priority


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="", metavar="CHANGE", help=CHANGES)
    parser.add_argument("run", nargs="?", default="", metavar="RUN", help="name or number")
    parser.add_argument(
        "other", nargs="?", default="", metavar="OTHER|PRIORITY", help="a smaller number starts first"
    )


def run(args: argparse.Namespace, home: Home) -> int:
    ask = asked(args)
    with Client(home) as client:
        answer = client.ask(ask)
    if isinstance(answer, protocol.Done):
        print_json({"message": answer.message}) if args.json else print(answer.message)
    elif args.json:
        print_json(plain(answer))
    else:
        tell(answer)
    return 0


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """List the queues of several machines below each other; a change is for the machine of its RUN."""
    if args.action:
        if not args.run:
            raise BadInput(f"finetop queue {args.action}: on which machine?", hint="Name one: --on HOST.")
        home, args.run = machines.find(args.run, homes)
        args.other = args.other.removeprefix(f"{home.label}:")
        return run(args, home)
    rows, running, missing = [], [], []
    for home in homes:
        try:
            if home.link is not None and not home.link.is_up:
                raise NoSupervisor(f"{home.label} is out of reach.")
            with Client(home) as client:
                found: protocol.QueueAnswer = client.ask(protocol.Queue())
        except NoSupervisor as error:
            warn(str(error))
            missing.append(home.label)
            continue
        rows += [msgspec.structs.replace(row, host=home.label) for row in found.rows]
        running += [f"{home.label}:{name}" for name in found.running]
        if found.stopped:
            warn(f"{home.label}: {found.stopped}")
    whole = protocol.QueueAnswer(rows, len(rows), running)
    print_json({**plain(whole), "missing": missing}) if args.json else tell(whole)
    return 4 if missing else 0


def asked(args: argparse.Namespace) -> protocol.Ask:
    """Read the words as a request. Raises BadInput."""
    action, run, other = args.action, args.run, args.other
    if not action:
        return protocol.Queue()
    if action not in ACTIONS:
        hint = did_you_mean(action[:60], ACTIONS)
        raise BadInput(f"the queue can't be changed by {action[:60]!r}.", hint=hint)
    if not run and action not in ("hold", "release"):
        raise BadInput(f"finetop queue {action}: which run?", hint=f"Write it so: {CHANGES}.")
    if other and action not in ("before", "priority"):
        raise BadInput(f"finetop queue {action} takes one run, not {other[:60]!r} too.", hint="Leave it out.")
    match action:
        case "hold":
            return protocol.Hold(run)
        case "release":
            return protocol.Release(run)
        case "priority":
            return protocol.Prioritise(run, priority_of(other))
        case _:
            return protocol.Move(run, action, other)


def priority_of(word: str) -> int:
    """Read a priority: high, normal, low or a number. Raises BadInput."""
    if word in PRIORITIES:
        return PRIORITIES[word]
    if not word.isdecimal() or not LEAST <= int(word[:9]) <= MOST:
        words = ", ".join(f"{name} ({number})" for name, number in PRIORITIES.items())
        hint = f"It is {words} or a number from {LEAST} to {MOST}; the smaller starts first, a check has 0."
        raise BadInput(f"priority is {word[:60]!r}." if word else "priority: which one?", hint=hint)
    return int(word)


def tell(found: protocol.QueueAnswer) -> None:
    """Print what runs, what waits and why, and what lets it go on."""
    if found.stopped:
        release = ": finetop queue release" if "held" in found.stopped else ""
        print(f"Nothing starts: {clean_line(found.stopped)}{release}")
    running = ", ".join(clean_line(name) for name in found.running) or "nothing"
    if not found.rows:
        print(f"Nothing waits. Running: {running}.")
        return
    print(f"Running: {running}. Waiting, first to start on top:")
    columns = [
        column for column in COLUMNS if column[0] in ALWAYS or any(column[1](row) for row in found.rows)
    ]
    titles = [title for title, _ in columns]
    rows = [[cell(row) for _, cell in columns] for row in found.rows]
    print_table(titles, rows, right=(titles.index("#"),))
    if found.total > len(found.rows):
        print(f"… and {found.total - len(found.rows)} more")
    if doing := [row.do for row in found.rows if row.do]:
        print(f"next: {clean_line(doing[0])}" + (f"   (and {len(doing) - 1} more)" if len(doing) > 1 else ""))


def _what(row: protocol.QueueRow) -> str:
    if row.step is None:
        return row.what
    return f"train from {row.step}" if row.what == "train" else f"{row.what} {row.step}"


def _priority(row: protocol.QueueRow) -> str:
    usual = PRIORITIES["normal"] if row.what == "train" else 0
    return "" if row.priority == usual else priority_word(row.priority)


ALWAYS = ("#", "run", "what", "why it waits")
COLUMNS = (
    ("host", lambda row: row.host),
    ("#", lambda row: str(row.state.place)),
    ("run", lambda row: row.run),
    ("what", _what),
    ("wants", lambda row: row.wants),
    ("starts about", lambda row: "" if row.starts_at is None else clock(row.starts_at, time.time())),
    ("priority", _priority),
    ("why it waits", lambda row: why(row.state, time.time())),
)
