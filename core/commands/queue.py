"""`finetop queue`: show what waits, in which order and why; reorder, hold and release."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options, remote
from finetop.core.commands.shared.output import plain, print_json, print_table, reply
from finetop.core.errors import BadInput, did_you_mean
from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.limits import PRIORITIES, Done
from finetop.core.protocol.messages.queue import Hold, Move, Prioritise, Queue, QueueAnswer, QueueRow, Release
from finetop.core.protocol.request import Ask
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.core.wording import queue as wording

ACTIONS = ("first", "last", "before", "hold", "release", "priority")
CHANGES = "first RUN, last RUN, before RUN OTHER, priority RUN high|normal|low|N, hold [RUN], release [RUN]"
LEAST, MOST = 0, 100  # range of a priority


def arguments(parser: argparse.ArgumentParser) -> None:
    options.optional(parser, "action", "CHANGE", CHANGES)
    options.optional(parser, "run", "RUN", "name or number")
    options.optional(parser, "other", "OTHER|PRIORITY", "a smaller number starts first")


def run(args: argparse.Namespace, home: Home) -> int:
    args.other = args.other.removeprefix(f"{home.label}:")
    message = request_of(args)
    answer = ask_once(home, message)
    if isinstance(answer, Done):
        return reply(args, plain(answer), answer.message)
    if args.json:
        print_json(plain(answer))
    else:
        print_queue(answer)
    return 0


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """List the queues of several machines in one table; a change goes to the machine of its RUN."""
    if isinstance(request_of(args), Queue):
        return list_several(args, homes)
    if not args.run:
        hint = f"Name one alone: finetop --on {host_word(homes[0])} queue {args.action}."
        raise BadInput(f"finetop queue {args.action}: on which machine?", hint=hint)
    home, args.run = remote.find_run(args.run, homes)
    other = args.other.partition(":")[0]
    if other != home.label and other in [machine.label for machine in homes] and ":" in args.other:
        why = f"is on another machine than {home.label}:{args.run}, and each has a queue of its own"
        raise BadInput(f"{args.other} {why}.", hint=f"Name a run that waits on {home.label}.")
    return run(args, home)


def list_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """List what waits on each machine. Exit code 4 if one of them did not answer."""
    answers, missing = remote.ask_all(homes, Queue())
    stopped = {label: answer.stopped for label, answer in answers.items() if answer.stopped}
    rows = []
    for home in homes:
        own = "" if home.link is None else f"finetop --on {host_word(home)} "  # a command as typed here
        for row in answers[home.label].rows if home.label in answers else ():
            do = row.do.replace("finetop ", own or "finetop ", 1)
            rows.append(msgspec.structs.replace(row, host=home.label, do=do))
    running = [f"{label}:{name}" for label, answer in answers.items() for name in answer.running]
    merged = QueueAnswer(rows, sum(answer.total for answer in answers.values()), running)
    if args.json:
        print_json({**plain(merged), "stopped": stopped, "missing": missing})
    elif answers:
        for label, because in stopped.items():
            print(f"Nothing starts on {label}: {clean_line(because)}")
        print_queue(merged)
    return 4 if missing else 0


def host_word(home: Home) -> str:
    """Return the value of `--on` for a machine."""
    return "." if home.link is None else clean_line(home.link.word, limit=80)


def request_of(args: argparse.Namespace) -> Ask:
    """Parse the arguments into a request. Raises BadInput."""
    action, run, other = args.action, args.run, args.other
    if not action:
        return Queue()
    if action not in ACTIONS:
        hint = did_you_mean(action[:60], ACTIONS)
        raise BadInput(f"finetop queue has no action {action[:60]!r}.", hint=hint)
    if not run and action not in ("hold", "release"):
        raise BadInput(f"finetop queue {action}: which run?", hint=f"Use {CHANGES}.")
    if other and action not in ("before", "priority"):
        raise BadInput(f"finetop queue {action} takes one run, not {other[:60]!r} too.", hint="Leave it out.")
    if action in ("hold", "release"):
        return Hold(run) if action == "hold" else Release(run)
    return Prioritise(run, priority_of(other)) if action == "priority" else Move(run, action, other)


def priority_of(word: str) -> int:
    """Parse a priority: high, normal, low or a number. Raises BadInput."""
    if word in PRIORITIES:
        return PRIORITIES[word]
    if not word.isdecimal() or not LEAST <= int(word[:9]) <= MOST:
        named_priorities = ", ".join(f"{name} ({number})" for name, number in PRIORITIES.items())
        order = "smaller starts first, a check has 0"
        hint = f"Use {named_priorities} or a number from {LEAST} to {MOST}; {order}."
        raise BadInput(f"priority is {word[:60]!r}." if word else "priority: which one?", hint=hint)
    return int(word)


def print_queue(answer: QueueAnswer) -> None:
    """Print what runs, what waits and why, and the next command."""
    if stopped := wording.stopped_words(answer):
        print(sentence(stopped))
    running = sentence(wording.running_words(answer))
    if not answer.rows:
        print(f"Nothing waits. {running}.")
        return
    print(f"{running}. Waiting, next to start first:")
    columns = {title: list(map(cell, answer.rows)) for title, cell in COLUMNS.items()}
    columns = {title: cells for title, cells in columns.items() if title in ALWAYS or any(cells)}
    rows = list(zip(*columns.values(), strict=True))
    print_table(list(columns), rows, right=(list(columns).index("#"),))
    if answer.total > len(answer.rows):
        print(f"… and {answer.total - len(answer.rows)} more")
    if commands := [row.do for row in answer.rows if row.do]:
        more = f"   (and {len(commands) - 1} more)" if len(commands) > 1 else ""
        print(f"next: {clean_line(commands[0])}{more}")


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _priority(row: QueueRow) -> str:
    usual = PRIORITIES["normal"] if job_kinds.of(row.what).trains_here else 0
    return "" if row.priority == usual else wording.priority_word(row.priority)


ALWAYS = ("#", "run", "what", "why it waits")
COLUMNS: Mapping[str, Callable[[QueueRow], str]] = {
    "host": lambda row: row.host,
    "#": lambda row: str(row.state.place or "-"),
    "run": lambda row: row.run,
    "what": lambda row: wording.what_words(row.what, row.step),
    "wants": lambda row: row.wants,
    "starts about": lambda row: wording.starts_about(row, time.time()),
    "priority": _priority,
    "why it waits": lambda row: wording.why(row.state, time.time()),
}


PLUGIN = Command("show what waits and why; reorder, hold, release", "organise", run, arguments, run_several)
