"""`finetop check RUN --curve`: find the checkpoint since which a run has regressed, with as few checks as possible."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from finetop.core.check import bisect
from finetop.core.client.connection import ask_once
from finetop.core.commands.shared import options
from finetop.core.commands.shared.ci_reports import CODES
from finetop.core.commands.shared.output import plain, print_json, print_table, warn
from finetop.core.errors import BadInput, FinetopError, NotFound, Refused
from finetop.core.protocol import runs as data
from finetop.core.protocol.check_result import read
from finetop.core.protocol.messages.checks import Checks
from finetop.core.protocol.messages.machine import Paths
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime.home import Home
from finetop.core.wording.verdicts import verdict_line

KEPT = (
    *("verdict", "reason", "drop", "interval", "suite_interval"),
    *("items_used", "items_total", "claim", "watch", "check_id"),
)  # of a result, in --json
# (step, is_look): checks a step, for search only or for a claim, and waits
CheckStep = Callable[[int, bool], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `finetop check --curve`."""
    options.flag(parser, "--curve", "since which checkpoint has it regressed?")
    options.flag(parser, "--all", "with --curve: check all checkpoints")


def run(
    home: Home, name: str, check_step: CheckStep, *, settings: Mapping[str, Any], every: bool, as_json: bool
) -> int:
    """Check checkpoints until the regressed step is known, and print each result. Exit code by the newest.

    `check_step` queues a check and waits; `settings` are of these checks alone. Raises Refused, NotFound.
    """
    detail = ask_once(home, GetRun(name))
    if isinstance(detail.row.state, data.Queued | data.Running):
        why = f"{name} is {data.word(detail.row.state)}: its checkpoints are compared when it has ended."
        raise Refused(why, hint=f"See `finetop show {name}`.")
    wanted = bisect.wanted_settings(detail.recipe, settings)
    results = _results(home, name, wanted)
    steps = sorted({*(checkpoint.step for checkpoint in detail.checkpoints), *detail.deleted, *results})
    verdicts: dict[int, bisect.Seen] = {step: result["verdict"] for step, result in results.items()}
    steps_present = existing_steps(home, detail)
    verdicts |= {step: "missing" for step in steps if step not in verdicts and step not in steps_present}
    if not [step for step in steps if verdicts.get(step) != "missing"]:
        raise NotFound(f"{name} has no checkpoint that can be checked.", hint=f"See `finetop show {name}`.")
    newest = max(step for step in steps if verdicts.get(step) != "missing")
    checked: list[int] = []
    backwards = (step for step in reversed(steps) if step not in verdicts)
    while (step := next(backwards, None) if every else bisect.next_step(steps, verdicts)) is not None:
        if not as_json:
            print(f"step {step}, look {len(checked) + 1}", flush=True)
        checked.append(step)
        # The newest makes the claim of `finetop check RUN`; the others only search, and claim nothing.
        _try(check_step, step, is_look=step != newest)
        results = _results(home, name, wanted)
        verdicts[step] = results[step]["verdict"] if step in results else "missing"
        if step in results and not as_json:
            print(f"step {step}: {verdict_line(read(results[step]))}", flush=True)
    curve = bisect.conclude(steps, verdicts)
    if as_json:
        points = []
        for step in steps:
            kept = {key: results[step].get(key) for key in KEPT if step in results}
            seen = verdicts.get(step, "not looked at")  # part of the --json format
            points.append({"step": step, "seen": seen, "looked_now": step in checked, **kept})
        print_json({"run": name, "curve": plain(curve), "checkpoints": points})
    else:
        print_table(bisect.TABLE_HEAD, bisect.table_rows(steps, results, verdicts), right=(0, 2, 4, 5))
        print(f"\n{name}: {curve.text}")
    return CODES[curve.newest_verdict]


def _results(home: Home, name: str, wanted: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the newest result of each step that was checked under the wanted settings."""
    answer = ask_once(home, Checks(name))
    return bisect.comparable(answer.checks, wanted)


def existing_steps(home: Home, detail: data.RunDetail) -> set[int]:
    """Return the checkpoints whose folders still exist: older ones are removed while a run trains."""
    root = home.root / detail.folder
    folders = {str(root / checkpoint.path): checkpoint.step for checkpoint in detail.checkpoints}
    if home.link is None:
        return {step for folder, step in folders.items() if Path(folder).is_dir()}
    answer = ask_once(home, Paths(list(folders)))
    return {folders[fact.path] for fact in answer.facts if fact.kind == "folder"}


def _try(check_step: CheckStep, step: int, *, is_look: bool) -> None:
    """Check a checkpoint. A searched one that can't be read is left out; any other error is raised."""
    try:
        check_step(step, is_look)
    except FinetopError as error:
        if error.exit_code != BadInput.exit_code or not is_look:
            raise
        warn(f"step {step} is left out: {error}")
