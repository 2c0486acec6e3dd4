"""`python -m finetop.core.check.tasks.download SUITE HOME`: opens every task of a suite to download its data.

It is its own process because the command line must not import these libraries. Prints one line per task; exit code
0, or 4 if a data set can't be reached, 2 if a task is faulty.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from finetop.core.check.tasks.suite import find_suite
from finetop.core.errors import FinetopError
from finetop.core.runtime.home import Home
from finetop.core.runtime.parts import explain_missing
from finetop.core.runtime.processes import python


def command(suite: str, home: Home) -> list[str]:
    """Return the command line that opens a suite's tasks."""
    return python("finetop.core.check.tasks.download", suite, str(home.root))


def main(arguments: list[str]) -> int:
    """Open every task of the suite, in order, and continue past those that fail."""
    suite_name, home = arguments
    from finetop.core.runtime.job_process import SETTINGS

    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    from finetop.core.check.tasks import harness, requests

    suite = find_suite(suite_name, Home(Path(home)))
    harness.quiet()
    worst, hints = 0, set()
    width = max(len(task.name) for task in suite.tasks)
    for task, place in zip(suite.tasks, suite.places, strict=True):
        try:
            opened = requests.build_task(task, place)
            print(f"✓ {task.name:<{width}}  {len(opened.documents):>7,} items  {opened.metric}", flush=True)
        except FinetopError as error:
            print(f"✗ {task.name:<{width}}  {error.message}", flush=True)
            hints.add(error.hint)
            worst = max(worst, error.exit_code)
    print(*sorted(hints), sep="\n", end="\n" if hints else "")
    return worst


if __name__ == "__main__":
    try:
        with explain_missing():
            raise SystemExit(main(sys.argv[1:]))
    except FinetopError as error:
        print(f"finetop: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
