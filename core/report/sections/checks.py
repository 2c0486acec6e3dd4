"""Every check of the run, one row each."""

from __future__ import annotations

from finetop.core.report import Block, Table, moment
from finetop.core.report.load import RunFacts
from finetop.core.wording.verdicts import short_answer

TITLE = "Checks"


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    detail = facts.detail
    if not detail.checks:
        return ()
    rows = [
        (
            "-" if check.step is None else f"{check.step:,}",
            short_answer(check, name_suite=False),
            check.suite,
            f"{check.items_used:,} of {check.items_total:,}",
            "watch, no claim" if check.watch else f"claim {check.claim}" if check.claim else "",
            moment(check.at),
        )
        for check in detail.checks
    ]
    return (Table(("step", "verdict", "suite", "items", "standing", "at"), tuple(rows), right=(0, 3)),)
