"""`finetop triage`: what the runs lost, worst first; one run task by task; who handles it and how."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import msgspec

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options, remote
from finetop.core.commands.shared.output import (
    plain,
    print_json,
    print_table,
    terminal_width,
    widths_of,
)
from finetop.core.commands.shared.table_layout import total_width, wrapped
from finetop.core.errors import BadInput
from finetop.core.features.triage import messages as data
from finetop.core.features.triage.merged_table import merged_table
from finetop.core.features.triage.messages import Triage, TriageRow, TriageRun
from finetop.core.features.triage.triage_state import record
from finetop.core.features.triage.wording import counts_line, standing_words, state_words, worst_cell
from finetop.core.protocol.standing import Standing, StandingState
from finetop.core.runtime.home import Home
from finetop.core.runtime.user import user_name
from finetop.core.wording.durations import ago
from finetop.core.wording.units import decimals
from finetop.core.wording.verdicts import MARKS, change, change_of, interval_of, outdated

NAME = 30  # cells for names before tasks fold
TASKS = 6  # most columns of the table; --tasks N shows more


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "one run in detail, task by task", nargs="?")
    options.optional(parser, "task", "TASK", "a task of the run, for the options below")
    options.flag(parser, "--looking", "assign it to yourself")
    options.optional(parser, "--note", "TEXT", "write a note on it")
    options.optional(parser, "--fixed-by", "RUN", "mark it as fixed by a later run")
    options.flag(parser, "--new", "mark it as new again")
    options.optional(parser, "--filter", "WORDS", "only runs whose name, model or state contains these")
    options.value(
        parser, "--tasks", "N", f"number of columns (default: {TASKS}, if they fit)", type=options.count
    )
    options.limit(parser, 50)


def run(args: argparse.Namespace, home: Home) -> int:
    wanted = _standing(args)
    if wanted is not None:
        if not wanted.fixed_by and not args.new and not args.looking:  # --note alone keeps the state
            wanted = _with_note(home, args)
        return record(home, args, wanted)
    if args.run:
        return print_run(args, home)
    answer = ask_once(home, Triage(args.filter, 0, args.limit))
    return print_table_of_runs(args, answer)


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """Print the tables of several machines as one; RUN is found on its own. Exit code 4 if one did not answer."""
    if args.run:
        home, args.run = remote.find_run(args.run, homes)
        return run(args, home)
    _standing(args)
    answers, missing = remote.ask_all(homes, Triage(args.filter, 0, args.limit))
    code = print_table_of_runs(args, merged_table(answers, [home.label for home in homes], 0, args.limit))
    return 4 if missing else code


def _standing(args: argparse.Namespace) -> Standing | None:
    """Return the triage state to record, or None if the call only prints. Raises BadInput."""
    states = (("--looking", args.looking), ("--fixed-by", args.fixed_by), ("--new", args.new))
    options = [option for option, is_given in states if is_given]
    if len(options) > 1:
        raise BadInput(f"{options[0]} and {options[1]} can't be combined.", hint="Give one of them.")
    if not options and not args.note:
        if args.task:
            hint = f"The lost items: finetop flips {args.run} --task {args.task}"
            add = "add --looking, --note, --fixed-by or --new"
            raise BadInput(f"nothing to record for {args.task}: {add}.", hint=hint)
        return None
    if not args.run:
        raise BadInput(f"{(options or ['--note'])[0]} needs a run.", hint="Name it: finetop triage RUN …")
    state: StandingState = "fixed" if args.fixed_by else "looking" if args.looking else "new"
    return Standing(state, user_name(), note=args.note.strip(), fixed_by=args.fixed_by)


def _with_note(home: Home, args: argparse.Namespace) -> Standing:
    """Return the regression's current state with the new note."""
    answer = ask_once(home, TriageRun(args.run))
    before = answer.row.standings.get(args.task, Standing(by=user_name()))
    return msgspec.structs.replace(before, note=args.note.strip())


def print_table_of_runs(args: argparse.Namespace, answer: data.TriageAnswer) -> int:
    """Print runs by tasks, the worst of both first."""
    if args.json:
        print_json({"triage": plain(answer)})
        return 0
    if not answer.total:
        print("No run has been checked yet. `finetop check RUN` says whether it forgot.")
    elif not answer.rows:
        print(f"None of {answer.total} checked runs matches {args.filter!r}.")
    else:
        print(counts_line(answer))
        shown = tasks_that_fit(answer) if args.tasks is None else args.tasks
        hidden = answer.tasks[shown:]
        head, *rows = table_of(answer, shown)
        print_table(head, rows, right=range(2, len(head) - 1))
        if answer.matching > len(answer.rows):
            print(f"… {answer.matching - len(answer.rows)} more: --limit {answer.matching}")
        if hidden:
            worst = f"+{len(hidden)} is the worst of {', '.join(hidden)}: --tasks {len(answer.tasks)}"
            print("\n".join(wrapped(worst, terminal_width() or len(worst))))
    if answer.unchecked_total:
        more = answer.unchecked_total - len(answer.unchecked)
        rest = f" and {more} more" if more > 0 else ""
        print(f"Finished without a check: {', '.join(answer.unchecked)}{rest}. Check one: finetop check RUN")
    return 0


def table_of(answer: data.TriageAnswer, shown: int) -> list[tuple[str, ...]]:
    """Return the head and the rows with so many tasks; the others are one column, with the worst of each run."""
    tasks, hidden = answer.tasks[:shown], answer.tasks[shown:]
    head = ("", "run", "all", *tasks, *([f"+{len(hidden)}"] if hidden else []), "state")
    return [head, *(row_cells(row, shown, bool(hidden)) for row in answer.rows)]


def tasks_that_fit(answer: data.TriageAnswer) -> int:
    """Return how many tasks have a column: as many as the terminal has room for, as in the app."""
    room = terminal_width()
    for shown in range(min(TASKS, len(answer.tasks)), 0, -1):
        widths = widths_of(table_of(answer, shown))
        widths[1] = min(widths[1], NAME)  # a longer name has a line of its own
        if room is None or total_width(widths) <= room:
            return shown
    return 0


def row_cells(row: TriageRow, shown: int, has_more: bool) -> tuple[str, ...]:
    """Return a run's cells: mark, name, whole drop, its tasks, the worst of the hidden tasks, its state."""
    marks = {"regressed": "✗", "ok": "✓", "no_verdict": "?"}
    whole = "-" if row.drop is None else change_of(row.drop, row.margin)
    cells = [_cell(cell) for cell in row.cells[:shown]]
    if has_more:
        cells.append(_cell(worst_cell(row.cells[shown:])))
    return (marks[row.verdict], row.shown_name, f"{whole}{marks[row.verdict]}", *cells, state_words(row))


def _cell(cell: data.TriageCell | None) -> str:
    if cell is None or cell.drop is None:
        return "-"
    return f"{change(cell.drop / 100)}{MARKS[cell.mark]}"


def print_run(args: argparse.Namespace, home: Home) -> int:
    """Print one run task by task, with intervals and the recorded states."""
    answer = ask_once(home, TriageRun(args.run))
    if args.json:
        print_json({"triage": plain(answer)})
        return 0
    row = answer.row
    print(f"{row.shown_name}, suite {row.suite}, limit {row.margin:.1f}, base {row.model}")
    if answer.weights_now != "same":
        print(outdated(row.shown_name, answer.weights_now))
    print(answer.tasks[0].reason)
    head = ("", "task", "base", "tuned", "change", "interval", "lost", "won", "items", "state")
    print_table(head, [task_cells(task, row) for task in answer.tasks], right=(2, 3, 4, 6, 7, 8))
    steps = [point for point in answer.curve if point.step is not None]
    if len(steps) > 1:
        scores = [f"{point.step} {decimals(point.score, 3)}{MARKS[point.mark]}" for point in steps]
        print(f"by step  {'   '.join(scores)}")
    elif answer.not_looked_at:
        print(f"Since which step? finetop check {row.name} --curve")
    for task, standing in row.standings.items():
        note = f"note: {standing.note}" if standing.note else ""
        parts = [standing_words(standing), standing.reason, note, f"{ago(standing.at)} ago"]
        print(f"{task or 'all'}: {', '.join(filter(None, parts))}")
    return 0


def task_cells(task: data.TaskFacts, row: TriageRow) -> tuple[str, ...]:
    """Return a task's cells."""
    standing = row.standings.get(task.task) if task.task else row.standing
    drop = "-" if task.drop is None else change_of(task.drop, None if task.task else row.margin)
    scores = (decimals(task.base, 3), decimals(task.tuned, 3), drop, interval_of(task.interval, row.margin))
    items = (str(task.lost), str(task.won), f"{task.n} of {task.total}")
    state = standing_words(standing) if standing is not None else ""
    return MARKS[task.mark], task.task or "all", *scores, *items, state


PLUGIN = Command("show what each run lost, worst first, and its owner", "fix", run, arguments, run_several)
