"""`finetop approaches [RECIPE|NAME]`: prompt, few-shot, retrieval and training side by side, with prices and advice."""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from itertools import groupby

from finetop.core.client.connection import ask_once
from finetop.core.client.remote.recipe_files import require_files
from finetop.core.commands import Command
from finetop.core.commands.queue import priority_of
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_columns, print_json, print_table
from finetop.core.errors import BadInput, NotFound, did_you_mean, near
from finetop.core.features.approaches import approaches, columns, messages as data, wording
from finetop.core.features.approaches.messages import Approaches
from finetop.core.features.approaches.request import request
from finetop.core.recipe.command import require_ours
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.core.wording.durations import ago
from finetop.core.wording.units import metric_words

ABOUT = "compare prompt, few-shot, retrieval and training on your own test, with what each costs"
WIDTH = 80  # columns of the advice
PACE_S = 5.0  # between two polls: each one compares all that is measured


def arguments(parser: argparse.ArgumentParser) -> None:
    about = "a recipe to compare on, or a comparison to show; without it, all comparisons"
    options.path(parser, "what", "RECIPE|NAME", about, nargs="?")
    options.settings(parser, "change one setting of the recipe")
    options.optional(parser, "--only", "A,B", f"only these approaches: {', '.join(approaches.names())}")
    options.value(parser, "--seeds", "N", "train each approach N times", type=options.count)
    options.name(parser, "the comparison's name")
    options.queueing(parser)
    options.flag(parser, "--wait", "follow until everything is measured")


def run(args: argparse.Namespace, home: Home) -> int:
    queues = bool(args.set or args.only or args.seeds or args.name or args.hold)
    if not args.what:
        if queues:
            raise BadInput("which recipe?", hint="finetop approaches RECIPE --only prompt,lora.")
        return print_comparisons(args, home)
    is_file = args.what.endswith((".yaml", ".yml")) or "/" in args.what
    if not queues and not is_file:
        known = [comparison.name for comparison in ask_once(home, Approaches()).comparisons]
        if args.what.removeprefix(approaches.TAG) in known:
            return follow(args, home, args.what) if args.wait else print_comparison(args, home, args.what)
    try:
        return queue(args, home)
    except NotFound as error:
        if is_file or queues:
            raise
        is_recipe = error.hint.startswith("Did") and not near(args.what[:80], known)
        hint = error.hint if not known or is_recipe else did_you_mean(args.what[:80], known)
        raise NotFound(f"there is no comparison or recipe {args.what[:80]!r}.", hint=hint) from error


def queue(args: argparse.Namespace, home: Home) -> int:
    """Queue the runs of a comparison. Runs of the same recipe on the same data are reused."""
    priority = priority_of(args.priority)
    loaded = load_recipe(args.what, [*args.set, *options.name_set(args)])
    require_ours(loaded.recipe, "finetop approaches")
    require_files(loaded, home)
    only = [queued_run.strip() for queued_run in args.only.split(",") if queued_run.strip()]
    message = request(
        loaded, home, source=loaded.text, only=only, seeds=args.seeds, held=args.hold, priority=priority
    )
    queued = ask_once(home, message)
    if args.wait:
        return follow(args, home, queued.comparison)
    if args.json:
        print_json({"comparison": plain(queued)})
        return 0
    for queued_run in queued.runs:
        status = f"is queued{', held' if args.hold else ''}"
        print(f"{queued_run.name} {'already exists; reusing it' if queued_run.was_there else status}")
    for approach, why in sorted(queued.left_out.items()):
        print(f"{approach} is left out: {clean_line(why)}")
    new = sum(not queued_run.was_there for queued_run in queued.runs)
    print(f"{new} of {len(queued.runs)} runs are new. Results: finetop approaches {queued.comparison}")
    return 0


def follow(args: argparse.Namespace, home: Home, name: str) -> int:
    """Wait until no run of a comparison is under way, then print it."""
    shown = ""
    try:
        while True:
            answer = ask_once(home, Approaches(name))
            if not any(row.state == "under way" for row in answer.rows):
                break
            brief = next(brief for brief in answer.comparisons if brief.name == answer.name)
            line = f"{brief.measured} of {brief.runs} runs are measured"
            if line != shown and not args.json:
                print(line, flush=True)
                shown = line
            time.sleep(PACE_S)
    except KeyboardInterrupt:
        print(f"\nThe runs keep running. Results: finetop approaches {clean_line(name)}", file=sys.stderr)
        raise
    return print_comparison(args, home, name)


def print_comparisons(args: argparse.Namespace, home: Home) -> int:
    answer = ask_once(home, Approaches())
    if args.json:
        print_json({"comparisons": plain(answer.comparisons)})
    elif not answer.comparisons:
        print("No comparisons yet. Queue one: finetop approaches RECIPE (see finetop methods).")
    else:
        head = ("comparison", "compared by", "approaches", "runs", "measured", "pending", "failed", "queued")
        print_table(head, [brief_cells(brief) for brief in answer.comparisons], right=(2, 3, 4, 5, 6))
    return 0


def brief_cells(brief: data.ComparisonBrief) -> tuple[str, ...]:
    failed = brief.runs - brief.measured - brief.to_come
    counts = (brief.approaches, brief.runs, brief.measured, brief.to_come, failed)
    return brief.name, brief.metric, *map(str, counts), f"{ago(brief.created)} ago"


def print_comparison(args: argparse.Namespace, home: Home, name: str) -> int:
    """Print a comparison. Exit code 1 if an approach failed."""
    answer = ask_once(home, Approaches(name))
    if args.json:
        print_json({"approaches": plain(answer)})
    else:
        print_answer(answer)
    return int(any(row.state == "failed" for row in answer.rows))


def print_answer(answer: data.ApproachesAnswer) -> None:
    """Print each approach's results, its costs, and the advice."""
    better = "lower is better" if answer.lower_is_better else "higher is better"
    by = metric_words(answer.metric)
    name, model, target = map(clean_line, (answer.name, answer.model, answer.target))
    print(f"{name}: {model} on {target}, by {by} ({better})")
    done = [row for row in answer.rows if row.target is not None]
    if done:
        for number, table in enumerate(columns.tables(answer)):
            print("\n" * (number > 0), end="")
            print_columns(table, done)
    for line in wording.notes_on_table(answer):
        print("\n".join(textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)))
    for topic, texts in groupby(answer.advice, key=lambda advice: advice.topic):
        print(f"{topic}:")
        for advice in texts:
            for line in textwrap.wrap(clean_line(advice.text), WIDTH - 2, break_on_hyphens=False):
                print(f"  {line}")


PLUGIN = Command(ABOUT, "compare", run, arguments)
