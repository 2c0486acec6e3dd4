"""`finetop alarms`: list recent alarms and endings, and who was notified; --test tries every command and webhook."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options, remote
from finetop.core.commands.shared.output import plain, print_json, print_table
from finetop.core.protocol.messages.session import Notices, NoticesAnswer, SendTest, SendTestAnswer
from finetop.core.protocol.notices import Notice, kinds
from finetop.core.recipe.home_settings import FILE
from finetop.core.runtime.home import Home
from finetop.core.text import clean, clean_line
from finetop.core.wording.durations import ago

ABOUT = "list alarms and endings of all runs, newest first, and who is notified"
HEAD = ("ago", "run", "kind", "step", "")
NOTHING = "No alarms or endings yet."


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "--limit", "N", "at most this many rows", type=int, default=20)
    options.flag(parser, "--test", "send a test message now and report the result")
    options.flag(parser, "--kinds", "list the kinds of notifications")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.kinds:
        print_json({"kinds": kinds()}) if args.json else print_table(("kind", "when"), list(kinds().items()))
        return 0
    with Client(home) as client:
        if args.test:
            test_answer = client.ask(SendTest())
            return print_test(test_answer, home, as_json=args.json)
        answer = client.ask(notices_of(args))
    if args.json:
        print_json(plain(answer))
        return 0
    if answer.notices:
        print_table(HEAD, [cells(notice) for notice in answer.notices], right=(0, 3))
    else:
        print(NOTHING)
    print(notification_line(answer, home))
    return 0


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """List the events of several machines in one table, or test the notifications of each; see `remote.ask_all`."""
    if args.kinds:
        return run(args, homes[0])
    answers, missing = remote.ask_all(homes, SendTest() if args.test else notices_of(args))
    if args.json:
        print_json({"machines": plain(answers), "missing": missing})
    answered = [home for home in homes if home.label in answers]
    if args.test:
        codes = [4] if missing else [0]
        for home in answered:
            if not args.json:
                print(clean_line(home.label))
                print_test(answers[home.label], home, as_json=False)
            codes.append(code_of(answers[home.label]))
        return max(codes)
    if not args.json and answered:
        notices = [(notice, label) for label, answer in answers.items() for notice in answer.notices]
        notices = sorted(notices, key=lambda pair: -pair[0].at)[: max(1, args.limit)]
        rows = [(label, *cells(notice)) for notice, label in notices]
        print_table(("host", *HEAD), rows, right=(1, 4)) if rows else print(NOTHING)
        for home in answered:
            print(f"{clean_line(home.label)}: {notification_line(answers[home.label], home)}")
    return 4 if missing else 0


def notices_of(args: argparse.Namespace) -> Notices:
    return Notices(0, max(1, args.limit))


def cells(notice: Notice) -> tuple[str, ...]:
    step = "" if notice.step is None else str(notice.step)
    return ago(notice.at), notice.run or "-", notice.kind, step, notice.text


def notification_line(answer: NoticesAnswer, home: Home) -> str:
    """Return the line on notifications: which kinds are sent, and how many each way delivered, holds and gave up."""
    if not answer.ways:
        return f"no notifications: name a command or a webhook under tell: in {home.shown}/{FILE}"
    deliveries = []
    for way in answer.ways:
        waiting = f", {way.waiting} waiting" if way.waiting else ""
        lost = f", {way.given_up} given up ({clean(way.why)})" if way.given_up else ""
        deliveries.append(f"by {way.way}: {way.sent} sent{waiting}{lost}")
    return f"notifies about {', '.join(answer.on)}; {'; '.join(deliveries)}"


def print_test(answer: SendTestAnswer, home: Home, *, as_json: bool) -> int:
    """Print the results of a test. Exit code 0 if every way delivered, 4 if one failed, 2 if none is set up."""
    if as_json:
        print_json(plain(answer))
    elif not answer.tested:
        print(f"No notifications are set up: name a command or a webhook under tell: in {home.shown}/{FILE}")
    else:
        for way in answer.tested:
            mark, word = ("✓", "delivered it") if way.is_through else ("✗", "failed to deliver it")
            print(f"{mark} {way.way} {word}, after {way.seconds:.1f} s")
            for line in clean(way.output).splitlines():
                print(f"    {line}")
    return code_of(answer)


def code_of(answer: SendTestAnswer) -> int:
    """Return a test's exit code."""
    if not answer.tested:
        return 2
    return 0 if all(way.is_through for way in answer.tested) else 4


PLUGIN = Command(ABOUT, "watch", run, arguments, run_several)
