"""`finetop data`: the versions of data that runs have read, and which runs read each version."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_columns, print_json, terminal_width
from finetop.core.commands.shared.table_layout import wrapped
from finetop.core.features.data_versions import columns, wording as data_versions
from finetop.core.features.data_versions.messages import DataVersion, DataVersions, DataVersionsAnswer
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line


def arguments(parser: argparse.ArgumentParser) -> None:
    options.optional(parser, "path", "TEXT", "only paths that contain this")
    options.limit(parser, 50)


def run(args: argparse.Namespace, home: Home) -> int:
    answer = ask_once(home, DataVersions(args.path, args.limit))
    if args.json:
        print_json({"versions": plain(answer.versions), "total": answer.total})
    elif not answer.versions:
        none = "No versions yet: a run records the data it reads when it starts."
        print(f"No version of a source with {clean_line(args.path)!r} in its path." if args.path else none)
    else:
        print_versions(answer)
    return 0


def print_versions(answer: DataVersionsAnswer) -> None:
    print_columns(columns.VERSIONS, answer.versions, below=list(map(_origin, answer.versions)))
    if answer.total > len(answer.versions):
        print(f"… {answer.total - len(answer.versions)} more: --limit {answer.total}")
    print("How the data of two runs differ: finetop compare RUN RUN --data")


def _origin(row: DataVersion) -> list[str]:
    """Return the lines, as wide as the terminal, that say what a version was made of."""
    if row.origin is None:
        return []
    text, room = data_versions.origin_words(row.origin, row.origin_number), terminal_width()
    return [f"  {line}" for line in ([text] if room is None else wrapped(text, room - 2))]


PLUGIN = Command("list versions of data and the runs that used them", "data", run, arguments)
