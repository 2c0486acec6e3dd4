"""`finetop data`: the versions of data that runs have read, and which runs read each version."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json, print_table
from finetop.core.protocol.messages.data_versions import DataVersion, DataVersions
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.core.wording import data_versions
from finetop.core.wording.durations import day

RUNS_SHOWN = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", default="", metavar="TEXT", help="only paths that contain this")
    options.limit(parser, 50)


def run(args: argparse.Namespace, home: Home) -> int:
    found = ask_once(home, DataVersions(args.path, args.limit))
    if args.json:
        print_json({"versions": plain(found.versions), "total": found.total})
    elif not found.versions:
        print(
            f"No version of a source with {clean_line(args.path)!r} in its path."
            if args.path
            else "No versions yet: a run records the data it reads when it starts."
        )
    else:
        print_table(
            ("source", "version", "rows", "first read", "runs", "read by, newest first"),
            [_line(one) for one in found.versions],
            right=(2, 4),
            below=[_origin(one) for one in found.versions],
        )
        if found.total > len(found.versions):
            print(f"… {found.total - len(found.versions)} more: --limit {found.total}")
        print("How the data of two runs differ: finetop compare RUN RUN --data")
    return 0


def _line(one: DataVersion) -> Sequence[str]:
    more = one.runs - min(len(one.names), RUNS_SHOWN)
    names = ", ".join(one.names[:RUNS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    of = "" if one.number == one.newest else f" of {one.newest}"
    version = f"v{one.number}{of}  #{one.content[:6]}"
    return (
        data_versions.source_words(one),
        version,
        f"{one.rows:,}",
        day(one.first_seen),
        f"{one.runs}",
        names or "-",
    )


def _origin(one: DataVersion) -> list[str]:
    return [] if one.origin is None else [f"  {data_versions.origin_words(one.origin, one.origin_number)}"]


PLUGIN = Command("list versions of data and the runs that used them", "data", run, arguments)
