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
    answer = ask_once(home, DataVersions(args.path, args.limit))
    if args.json:
        print_json({"versions": plain(answer.versions), "total": answer.total})
    elif not answer.versions:
        print(
            f"No version of a source with {clean_line(args.path)!r} in its path."
            if args.path
            else "No versions yet: a run records the data it reads when it starts."
        )
    else:
        print_table(
            ("source", "version", "rows", "first read", "runs", "read by, newest first"),
            [_line(version) for version in answer.versions],
            right=(2, 4),
            below=[_origin(version) for version in answer.versions],
        )
        if answer.total > len(answer.versions):
            print(f"… {answer.total - len(answer.versions)} more: --limit {answer.total}")
        print("How the data of two runs differ: finetop compare RUN RUN --data")
    return 0


def _line(version_row: DataVersion) -> Sequence[str]:
    more = version_row.runs - min(len(version_row.names), RUNS_SHOWN)
    names = ", ".join(version_row.names[:RUNS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    of = "" if version_row.number == version_row.newest else f" of {version_row.newest}"
    version = f"v{version_row.number}{of}  #{version_row.content[:6]}"
    return (
        data_versions.source_words(version_row),
        version,
        f"{version_row.rows:,}",
        day(version_row.first_seen),
        f"{version_row.runs}",
        names or "-",
    )


def _origin(version: DataVersion) -> list[str]:
    return (
        []
        if version.origin is None
        else [f"  {data_versions.origin_words(version.origin, version.origin_number)}"]
    )


PLUGIN = Command("list versions of data and the runs that used them", "data", run, arguments)
