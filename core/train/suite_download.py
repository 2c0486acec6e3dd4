"""Whether the data of the check at the end is here: asked before the first step, not after hours of training."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

from finetop.core.check.tasks import download
from finetop.core.check.tasks.suite import find_suite
from finetop.core.protocol.events import Alarm

if TYPE_CHECKING:
    from finetop.core.check.tasks.suite import Suite
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home


def look_ahead(recipe: Recipe, home: Home, events: EventLog) -> threading.Thread | None:
    """Open the suite's tasks beside the training, so that their data is fetched; an alarm says which can't be reached.

    None where there is nothing to fetch, or where a check on the way opens them before the first step. Raises
    NotFound or BadInput for a suite that can't be read.
    """
    general = recipe.check.general
    if general is None or not recipe.check.at_end:
        return None
    suite = find_suite(general.suite, home)
    if recipe.check.every is not None or all(task.data is not None for task in suite.tasks):
        return None
    looking = threading.Thread(target=_fetch, args=(general.suite, suite, home, events), daemon=True)
    looking.start()
    return looking


def _fetch(name: str, suite: Suite, home: Home, events: EventLog) -> None:
    """Run the fetching in a process of its own: its libraries would stay in the trainer's memory."""
    done = subprocess.run(
        download.command(name, home),
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("✗")]
    what = ", ".join(failed) or (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    text = f"the check at the end can't open {suite.name}: {what} (see `finetop suites {name} --fetch`)"
    events.write(Alarm("suite", 0, text))
    print(f"alarm: {text}", flush=True)
