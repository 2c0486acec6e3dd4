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
