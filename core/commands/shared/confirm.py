"""Asks before something goes: shared by `rm`, `trash` and `clean`."""

from __future__ import annotations

import argparse
import sys

from finetop.core.errors import BadInput


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add --yes."""
    parser.add_argument("--yes", action="store_true", help="do it without asking")


def agreed(args: argparse.Namespace, question: str) -> bool:
    """Ask on the terminal, unless --yes was said. Raises BadInput where nobody can answer."""
    if args.yes:
        return True
    if args.json or not sys.stdin.isatty():
        raise BadInput("nothing was done: nobody can be asked here.", hint="Add --yes to do it.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def size(count: float) -> str:
    """Bytes in one unit: '812 B', '3.4 MiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    raise AssertionError
