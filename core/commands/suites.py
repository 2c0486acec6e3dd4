"""`finetop suites`: what a model can be checked on."""

from __future__ import annotations

import argparse

from finetop.core.check.suite import suites
from finetop.core.commands.output import print_json, print_table
from finetop.core.home import Home

ABOUT = "the benchmark suites that a model can be checked on"


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, home: Home) -> int:
    found = suites(home)
    if args.json:
        print_json(
            {
                "suites": [
                    {"name": s.name, "about": s.about, "tasks": [t.name for t in s.tasks]} for s in found
                ]
            }
        )
        return 0
    print_table(
        ("suite", "tasks", "what it is"),
        [(suite.name, ", ".join(task.name for task in suite.tasks), suite.about) for suite in found],
    )
    return 0
