"""`finetop alarms`: what happened lately, and whether it was sent on; with --test, a test message by every way."""

from __future__ import annotations

import argparse

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.commands.output import ago, plain, print_json, print_table
from finetop.core.home import Home
from finetop.core.notices import kinds
from finetop.core.settings import FILE
from finetop.core.text import clean

ABOUT = "alarms and endings of all runs, newest first, and who is told of them"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most this many rows")
    parser.add_argument(
        "--test", action="store_true", help="send a test message now, and say what came of it"
    )
    parser.add_argument("--kinds", action="store_true", help="list what can be told")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.kinds:
        print_json({"kinds": kinds()}) if args.json else print_table(("kind", "when"), list(kinds().items()))
        return 0
    with Client(home) as client:
        if args.test:
            tested: protocol.SendTestAnswer = client.ask(protocol.SendTest())
            return show_test(tested, home, as_json=args.json)
        found: protocol.NoticesAnswer = client.ask(protocol.Notices(0, max(1, args.limit)))
    if args.json:
        print_json(plain(found))
        return 0
    if found.notices:
        rows = [
            (
                ago(one.at),
                one.run or "-",
                one.kind,
                "" if one.step is None else str(one.step),
                one.text,
            )
            for one in found.notices
        ]
        print_table(("ago", "run", "kind", "step", ""), rows, right=(0, 3))
    else:
        print("Nothing has happened yet that would be told.")
    print(told_words(found, home))
    return 0


def told_words(found: protocol.NoticesAnswer, home: Home) -> str:
    """Say who is told of such things, and how that fares."""
    if not found.ways:
        return f"nobody is told: name a command or a webhook under tell: in {home.shown}/{FILE}"
    fares = []
    for one in found.ways:
        waiting = f", {one.waiting} waiting" if one.waiting else ""
        lost = f", {one.given_up} given up ({clean(one.why)})" if one.given_up else ""
        fares.append(f"by {one.way}: {one.sent} sent{waiting}{lost}")
    return f"told of {', '.join(found.on)}; {'; '.join(fares)}"


def show_test(found: protocol.SendTestAnswer, home: Home, *, as_json: bool) -> int:
    """Say what came of a test. Exit code 0 where all ways took it, 4 where one did not, 2 where there is none."""
    if as_json:
        print_json(plain(found))
    elif not found.tested:
        print(f"There is nobody to tell: name a command or a webhook under tell: in {home.shown}/{FILE}")
    else:
        for one in found.tested:
            mark, word = ("✓", "took it") if one.is_through else ("✗", "did not take it")
            print(f"{mark} {one.way} {word}, after {one.seconds:.1f} s")
            for line in clean(one.said).splitlines():
                print(f"    {line}")
    if not found.tested:
        return 2
    return 0 if all(one.is_through for one in found.tested) else 4
