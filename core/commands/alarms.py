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
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most this many rows")
    options.flag(parser, "--test", "send a test message now and report the result")
    options.flag(parser, "--kinds", "list the kinds of notifications")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.kinds:
        print_json({"kinds": kinds()}) if args.json else print_table(("kind", "when"), list(kinds().items()))
        return 0
    with Client(home) as client:
        if args.test:
            tested = client.ask(SendTest())
            return show_test(tested, home, as_json=args.json)
        found = client.ask(notices_of(args))
    if args.json:
        print_json(plain(found))
        return 0
    if found.notices:
        print_table(HEAD, [cells(one) for one in found.notices], right=(0, 3))
    else:
        print(NOTHING)
    print(told_words(found, home))
    return 0


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """List the events of several machines in one table with a host column, or test the notifications of each.

    Exit code 4 if one of them did not answer.
    """
    if args.kinds:
        return run(args, homes[0])
    found, missing = remote.ask_all(homes, SendTest() if args.test else notices_of(args))
    if args.json:
        print_json({"machines": plain(found), "missing": missing})
    answered = [home for home in homes if home.label in found]
    if args.test:
        codes = [4] if missing else [0]
        for home in answered:
            if not args.json:
                print(clean_line(home.label))
                show_test(found[home.label], home, as_json=False)
            codes.append(code_of(found[home.label]))
        return max(codes)
    if not args.json and answered:
        happened = [(one, label) for label, answer in found.items() for one in answer.notices]
        happened = sorted(happened, key=lambda pair: -pair[0].at)[: max(1, args.limit)]
        rows = [(label, *cells(one)) for one, label in happened]
        print_table(("host", *HEAD), rows, right=(1, 4)) if rows else print(NOTHING)
        for home in answered:
            print(f"{clean_line(home.label)}: {told_words(found[home.label], home)}")
    return 4 if missing else 0


def notices_of(args: argparse.Namespace) -> Notices:
    return Notices(0, max(1, args.limit))


def cells(one: Notice) -> tuple[str, ...]:
    return (ago(one.at), one.run or "-", one.kind, "" if one.step is None else str(one.step), one.text)


def told_words(found: NoticesAnswer, home: Home) -> str:
    """Return the line on notifications: which kinds are sent, and how many each way delivered, holds and gave up."""
    if not found.ways:
        return f"no notifications: name a command or a webhook under tell: in {home.shown}/{FILE}"
    fares = []
    for one in found.ways:
        waiting = f", {one.waiting} waiting" if one.waiting else ""
        lost = f", {one.given_up} given up ({clean(one.why)})" if one.given_up else ""
        fares.append(f"by {one.way}: {one.sent} sent{waiting}{lost}")
    return f"notifies about {', '.join(found.on)}; {'; '.join(fares)}"


def show_test(found: SendTestAnswer, home: Home, *, as_json: bool) -> int:
    """Print the results of a test. Exit code 0 if every way delivered, 4 if one failed, 2 if none is set up."""
    if as_json:
        print_json(plain(found))
    elif not found.tested:
        print(f"No notifications are set up: name a command or a webhook under tell: in {home.shown}/{FILE}")
    else:
        for one in found.tested:
            mark, word = ("✓", "delivered it") if one.is_through else ("✗", "failed to deliver it")
            print(f"{mark} {one.way} {word}, after {one.seconds:.1f} s")
            for line in clean(one.said).splitlines():
                print(f"    {line}")
    return code_of(found)


def code_of(found: SendTestAnswer) -> int:
    """Return a test's exit code."""
    if not found.tested:
        return 2
    return 0 if all(one.is_through for one in found.tested) else 4


PLUGIN = Command(ABOUT, "watch", run, arguments, run_several)
