"""`finetop suites`: what a model can be checked on; with --fetch, its data sets are brought here."""

from __future__ import annotations

import argparse
import subprocess
from typing import Any

from finetop.core.check.tasks import download as fetching
from finetop.core.check.tasks.suite import Suite, SuiteTask, find_suite, suites
from finetop.core.commands.shared.output import print_json, print_table
from finetop.core.errors import BadInput
from finetop.core.runtime.home import Home

ABOUT = "the benchmark suites that a model can be checked on"
GROUP = "check"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "suite", nargs="?", metavar="SUITE", help="show this one's tasks (a name, or ./FILE.yaml)"
    )
    parser.add_argument(
        "--fetch", action="store_true", help="open every task of SUITE, so that its data is here"
    )


def run(args: argparse.Namespace, home: Home) -> int:
    if args.fetch:
        return fetch(args.suite, home)
    found = (find_suite(args.suite, home),) if args.suite else suites(home)
    if args.json:
        print_json({"suites": [as_json(suite) for suite in found]})
    elif args.suite:
        tell(found[0])
    else:
        print_table(
            ("suite", "tasks", "what it is"),
            [(suite.name, str(len(suite.tasks)), suite.about) for suite in found],
            right=(1,),
        )
        print(
            "\nA suite's tasks: `finetop suites NAME`. One of your own: a file in HOME/suites, or ./FILE.yaml."
        )
    return 0


def fetch(name: str | None, home: Home) -> int:
    """Open every task in a process of its own, which may import what this one must not."""
    if not name:
        raise BadInput("--fetch needs a suite.", hint="Say which: `finetop suites core --fetch`.")
    find_suite(name, home)
    return subprocess.run(fetching.command(name, home), check=False).returncode


def tell(suite: Suite) -> None:
    print(f"{suite.name}: {suite.about}\n{suite.file}\n")
    print_table(
        ("task", "items from", "metric", "shots", "at most", "weight"),
        [
            (
                task.name,
                source_of(task),
                task.metric or "its first",
                "-" if task.num_fewshot is None else str(task.num_fewshot),
                "all" if task.cap is None else str(task.cap),
                f"{task.weight:g}",
            )
            for task in suite.tasks
        ],
        right=(3, 4, 5),
    )


def source_of(task: SuiteTask) -> str:
    """Say where a task's items are, in few words."""
    if task.task is not None:
        return f"the harness's {task.task}"
    return (task.data or task.yaml or "").rpartition("/")[2]


def as_json(suite: Suite) -> dict[str, Any]:
    return {
        "name": suite.name,
        "about": suite.about,
        "file": str(suite.file),
        "tasks": [
            {
                "name": task.name,
                "data": task.data,
                "task": task.task,
                "yaml": task.yaml,
                "metric": task.metric,
                "num_fewshot": task.num_fewshot,
                "cap": task.cap,
                "weight": task.weight,
            }
            for task in suite.tasks
        ],
    }
