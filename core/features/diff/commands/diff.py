"""`finetop diff BASE TUNED`: the verdict from two sample logs of lm-evaluation-harness; no model is loaded."""

from __future__ import annotations

import argparse
from typing import Any

from finetop.core.commands import Command
from finetop.core.commands.shared import ci_reports, options
from finetop.core.commands.shared.output import print_columns, print_json
from finetop.core.errors import BadInput
from finetop.core.features.diff.diff import diff
from finetop.core.features.diff.join import JOINED, DiffOptions
from finetop.core.protocol.check_result import ALPHA, MARGIN, read
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home
from finetop.core.wording.columns import NOT_KNOWN, Column
from finetop.core.wording.verdicts import report

ABOUT = "compare two sample logs of lm-evaluation-harness: 0 ok, 1 regressed, 3 no verdict"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.path(parser, "base", "A", "the base's samples_*.jsonl, or a folder of them")
    options.path(parser, "tuned", "B", "the tuned model's")
    about = (
        "metric that decides (default: the first of acc, exact_match, acc_norm, or any in [0, 1]); repeatable"
    )
    options.repeated(parser, "--metric", "[TASK=]NAME", about)
    options.optional(parser, "--filter", "NAME", "filter, for tasks with several (default: the first)")
    about = f"a drop of this or more is REGRESSED ({MARGIN:g})"
    options.value(parser, "--margin", "POINTS", about, type=float, default=MARGIN)
    about = f"highest error rate of a verdict ({ALPHA:g})"
    parser.add_argument("--alpha", type=float, default=ALPHA, help=about)
    about = "random seed of the draw and the order of items (1)"
    parser.add_argument("--seed", type=int, default=1, help=about)
    about = "at most N items per task (500 if there are several tasks; 0: all)"
    options.value(parser, "--cap", "N", about, type=int, default=None)
    about = "no verdict if a smaller share of items is in both logs with the same prompt (0.9)"
    options.value(parser, "--joined", "SHARE", about, type=float, default=JOINED)
    ci_reports.arguments(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    silent = ci_reports.on_stdout(args)
    numbers = {"margin": args.margin / 100, "alpha": args.alpha, "seed": args.seed, "joined": args.joined}
    wanted = DiffOptions(metrics=metrics_of(args.metric), filter=args.filter, cap=args.cap, **numbers)
    result = diff(given_path(args.base), given_path(args.tuned), wanted)
    name = f"{args.base} -> {args.tuned}"
    ci_reports.write(args, name, read(result))
    if args.json:
        print_json({"base": args.base, "tuned": args.tuned, "check": result})
    elif not silent:
        print(report(name, read(result)))
        print()
        print_joined(result["joined"]["tasks"])
    return ci_reports.CODES[str(result["verdict"])]


def metrics_of(texts: list[str]) -> dict[str, str]:
    """Parse --metric: TASK=NAME for one task, NAME for all others. Raises BadInput if one is empty or given twice."""
    metrics: dict[str, str] = {}
    for word in texts:
        task, _, name = word.rpartition("=")
        if not name or word.startswith("="):
            raise BadInput(f"--metric {word[:60]!r} names no metric.", hint="Give NAME or TASK=NAME.")
        if task in metrics:
            hint = "Give it once."
            raise BadInput(f"--metric: {task or 'the metric of all tasks'} is given twice.", hint=hint)
        metrics[task] = name
    return metrics


def print_joined(tasks: list[dict[str, Any]]) -> None:
    """Print how many items of each compared task were joined, and why others were not.

    A terminal that is too narrow does without the reasons that hold for no item.
    """
    rows = [task for task in tasks if not task["left_out"]]
    if rows:
        none = [column for column in REASONS if all(column.text(row) == "0" for row in rows)]
        print_columns(TABLE, rows, drop=none)


def _count(key: str, title: str) -> Column[dict[str, Any]]:
    return Column(title, lambda task: str(task[key]))


# Why an item of both logs was not joined.
REASONS = [_count(key, key.replace("_", " ")) for key in ("other_prompt", "other_target", "no_score")]
TABLE: list[Column[dict[str, Any]]] = [
    Column("joined task", lambda task: task["task"], is_right=False),
    Column("metric", lambda task: task["metric"], is_right=False),
    Column("filter", lambda task: task["filter"] or NOT_KNOWN, is_right=False),
    *(_count("joined", "joined"), _count("only_base", "only A"), _count("only_tuned", "only B"), *REASONS),
]
PLUGIN = Command(ABOUT, "check", run, arguments, is_remote=False)
