"""`finetop ls`: list the runs, as the app does."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from finetop.core.client.connection import Client
from finetop.core.client.remote.merge_runs import bare, merged, placed
from finetop.core.commands import Command
from finetop.core.commands.shared import options, output, remote
from finetop.core.commands.shared.output import plain, print_json, print_table
from finetop.core.errors import BadInput
from finetop.core.protocol import run_columns, runs as data
from finetop.core.protocol.messages.runs import Group, Runs, RunsAnswer
from finetop.core.protocol.run_filter import Filter, parse, read_sort
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, count
from finetop.core.wording import run_groups
from finetop.core.wording.durations import ago, short_span
from finetop.core.wording.jobs import answer_words
from finetop.core.wording.units import decimals

HOW, STEP, LOSS = 1, 3, 4  # columns that a narrow terminal has no room for
FILTER = """\
All terms of a filter must match; a leading - negates one:
  failed  support         part of any of: name, state, verdict, model, method,
                          tags, note, host
  method:lora             part of: name, model, method, objective, how, tag,
                          note, alarm, suite, host; with = the whole
  forgot:regressed        part of the text under "did it forget?"
  state:failed            queued, running, finished, stopped, failed, lost
  verdict:regressed       ok, regressed, accepted, fixed, no_verdict, none
  loss<1.2                any metric, and step, steps, drop (in points), id
  train.learning_rate<=1e-4  method.rank:16
                          any setting of the recipe
  age<2d  left<1h         time since it ended (else since it was created); time
                          remaining: 30m, 2h, 2d, 1w
  sort:-drop group:train.seed
                          sort order, and the setting to group by
In quotes: finetop ls 'method:lora loss<1.2 -tag:draft note:"to do"'"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = FILTER
    options.value(parser, "filter", "FILTER", "which runs: see below", nargs="*")
    about = "needs_you, newest, name, age, any metric or setting; --sort=-drop: largest first"
    options.value(parser, "--sort", "KEY", about, default="needs_you")
    options.optional(parser, "--columns", "A,B", "more columns: metrics, settings, tags, note, age …")
    options.limit(parser, 50)


def run(args: argparse.Namespace, home: Home) -> int:
    text, line, more = wanted(args)
    with Client(home) as client:
        if more:
            require_columns(client, more)
        page = client.ask(_ask(text, args, more))
    if args.json:
        counts = {"matching": page.matching, "total": page.total, "stopped": page.stopped}
        print_rows_json(page.rows, page.groups, line, counts)
        return 0
    if not page.total:
        start = "`finetop demo` shows one that forgets; `finetop run RECIPE` starts yours."
        print(f"No runs yet in {home.shown}. {start}")
    elif not page.rows:
        print_none(page, text)
    else:
        print_rows(page.rows, page.groups, line, more, page.matching)
    if page.stopped:
        print(f"Nothing starts: {clean_line(page.stopped)}.")
    return 0


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """List the runs of several machines in one table with a host column. Exit code 4 if one did not answer."""
    text, line, more = wanted(args)
    labels = [home.label for home in homes]
    answers, missing = remote.ask_all(homes, _ask(text, args, more))
    stopped = {label: page.stopped for label, page in answers.items() if page.stopped}
    pages = [[placed(row, labels, label) for row in page.rows] for label, page in answers.items()]
    rows = merged(pages, line.sort or read_sort(args.sort), line.group)[: args.limit]
    groups = run_groups.merged([page.groups for page in answers.values()])
    matching = sum(page.matching for page in answers.values())
    total = sum(page.total for page in answers.values())
    if args.json:
        counts = {"matching": matching, "total": total, "stopped": stopped, "missing": missing}
        print_rows_json(rows, groups, line, counts)
    elif rows:
        print_rows(rows, groups, line, more, matching)
        for label, why in stopped.items():
            print(f"Nothing starts on {label}: {why}.")
    else:
        print(none_match(text, total) if total else "No runs yet.")
    return 4 if missing else 0


def print_rows_json(
    rows: Sequence[data.RunRow], groups: Sequence[Group], line: Filter, counts: Mapping[str, object]
) -> None:
    print_json({"runs": plain(rows), **counts, **({"groups": plain(groups)} if line.group else {})})


def print_rows(
    rows: Sequence[data.RunRow], groups: Sequence[Group], line: Filter, more: tuple[str, ...], matching: int
) -> None:
    """Print the table; with a host column if the runs are of several machines."""
    hosts = ("host",) if any(row.host for row in rows) else ()
    differ = len({row.check.suite for row in rows if row.check is not None}) > 1
    words = {column for column, key in enumerate(more, start=6) if run_columns.is_word(key)}
    numbers = set(range(6, 6 + len(more))) - words
    head = (*hosts, "run", "how", "state", "step", "loss", "left/age", *more, "did it forget?")
    cells = [(*(row.host for _ in hosts), *line_of(row, more, name_suite=differ)) for row in rows]
    right, prose, drop = (
        [len(hosts) + column for column in columns]
        for columns in ((3, 4, 5, *numbers), (HOW, 2, *words), (HOW, LOSS, STEP))
    )
    print_table(head, cells, right=right, prose=prose, drop=drop, above=headings(rows, groups, line.group))
    if matching > len(rows):
        print(f"… {matching - len(rows)} more: --limit {matching}")


def wanted(args: argparse.Namespace) -> tuple[str, Filter, tuple[str, ...]]:
    """Parse the filter, the order and the columns before anything is requested. Raises BadInput."""
    text = " ".join(args.filter)
    line = parse(text)
    sort = line.sort or read_sort(args.sort, f"--sort {args.sort}")
    return text, replace(line, sort=sort), run_columns.read_columns(args.columns)


def _ask(text: str, args: argparse.Namespace, more: tuple[str, ...]) -> Runs:
    return Runs(text, args.sort, 0, args.limit, run_columns.settings_of(more))


def require_columns(client: Client, more: tuple[str, ...]) -> None:
    """Require that some run has each metric or setting chosen as a column. Raises BadInput."""
    for key in run_columns.asked_for(more):
        try:
            client.ask(Runs(f"sort:{key}", limit=1))
        except BadInput as error:
            message = error.message.replace(f"sort:{key}:", f"--columns {key}:")
            raise BadInput(message, hint=error.hint) from None


def print_none(page: RunsAnswer, text: str) -> None:
    """Print that a filter hides all runs, and which of its terms hides the most."""
    print(none_match(text, page.total))
    if len(page.without) > 1:
        term, matching = max(page.without, key=lambda pair: pair[1])
        if matching:
            print(f"{matching} match without {term}")


def none_match(text: str, total: int) -> str:
    """Return the sentence that no run matches a filter, with what to do."""
    return f"No run matches {clean_line(text)!r}. `finetop ls` lists all {total:,}; `finetop ls -h` explains filters."


def headings(rows: Sequence[data.RunRow], groups: Sequence[Group], key: str) -> Mapping[int, str]:
    """Return the heading above the first row of each group, by row index."""
    firsts = run_groups.of_rows(rows, groups) if key else ()
    return {index: "\n" * (index > 0) + run_groups.group_heading(key, group) for index, group in firsts}


def line_of(row: data.RunRow, more: Sequence[str] = (), *, name_suite: bool | None = None) -> tuple[str, ...]:
    state = row.state
    if isinstance(state, data.Queued):
        when = ""
    elif isinstance(state, data.Running):
        when = "" if row.left_s is None else short_span(row.left_s)
    else:
        when = ago(state.ended)
    steps = f"{row.step:,}/{row.steps:,}" if row.steps else count(row.step)
    reward = "reward " if row.main_metric == "reward" else ""
    loss = reward + decimals(row.metrics.get(row.main_metric), 3)
    columns = [_cell(row, key) for key in more]
    answer = row.not_resumed or answer_words(row, name_suite=name_suite)
    return bare(row), row.method, output.state_words(row), steps, loss, when, *columns, answer


def _cell(row: data.RunRow, key: str) -> str:
    value = run_columns.cell(row, key, time.time())
    if isinstance(value, str):
        return value
    if value is None:
        return "-"
    return short_span(value) if key == "age" else run_columns.word_of(value)


PLUGIN = Command("list the runs and whether they forgot", "watch", run, arguments, run_several)
