"""`finetop rm RUN…`: move runs to the home's trash, after listing them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetop.core.client.connection import ask_once
from finetop.core.commands.shared import options, several
from finetop.core.commands.shared.output import agreed, plain, print_json, print_table, warn
from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.trash import Remove, Removed
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, counted
from finetop.core.wording.endings import trash_confirmation
from finetop.core.wording.units import size_word


def arguments(parser: argparse.ArgumentParser) -> None:
    several.arguments(parser)
    options.yes(parser)


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """List the runs to remove on all machines and those that can't be removed; then ask once."""
    outcomes, code = several.each(args, homes, lambda run, home: (home, run))
    names_by_label: dict[str, tuple[Home, list[str]]] = {}  # by machine
    listed: list[tuple[Home, list[Removed]]] = []
    errors = {}
    for run, outcome in outcomes:
        if isinstance(outcome, FinetopError):
            errors[run] = str(outcome)
        else:
            home, name = outcome
            names_by_label.setdefault(home.label, (home, []))[1].append(name)
    for home, runs in names_by_label.values():
        answer = ask_once(home, Remove(runs, only_show=True, each=len(args.runs) > 1))
        listed.append((home, answer.runs))
        for kept in answer.kept:
            errors[kept.run] = kept.error
            code = max(code, kept.exit_code)
            if not args.json:
                warn(clean_line(kept.error))
    removed = [row for _, rows in listed for row in rows]
    if removed and not confirm(args, removed):
        print("Nothing was done.")
        return max(code, 1)
    for home, rows in listed:
        if rows:
            ask_once(home, Remove([str(row.run_id) for row in rows]))
    total = sum(row.size_bytes for row in removed)
    if args.json:
        document = {"removed": plain(removed), "size_bytes": total}
        print_json({**document, "errors": errors} if errors else document)
    elif removed:
        summary = f"{counted(len(removed), 'run')}, {size_word(total)}"
        print(f"{summary} in the trash. Undo: finetop trash --restore RUN; for good: finetop trash --empty")
    return code


def confirm(args: argparse.Namespace, removed: Sequence[Removed]) -> bool:
    """List the runs to remove, and ask for confirmation."""
    if not args.json:
        print_removed(removed)
    size = size_word(sum(row.size_bytes for row in removed))
    return agreed(args, f"{trash_confirmation([clean_line(row.name) for row in removed], size)}.")


def print_removed(removed: Sequence[Removed]) -> None:
    head = ("run", "number", "checkpoints", "files", "size")
    rows = [
        (row.name, str(row.run_id), str(row.checkpoints), str(row.files), size_word(row.size_bytes))
        for row in removed
    ]
    print_table(head, rows, right=(1, 2, 3, 4))


ABOUT = "move runs to the trash: rows, logs, checkpoints"
PLUGIN = several.command(ABOUT, "maintenance", arguments, run_several)
