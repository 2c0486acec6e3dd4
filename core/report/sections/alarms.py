"""The alarms of the run, and the step at which each was over."""

from __future__ import annotations

from finetop.core.report import Block, Table
from finetop.core.report.load import RunFacts

TITLE = "Alarms"


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    detail = facts.detail
    if not detail.alarms:
        return ()
    over = ["" if alarm.over_step is None else f"since step {alarm.over_step:,}" for alarm in detail.alarms]
    rows = [(f"{alarm.step:,}", alarm.text, end) for alarm, end in zip(detail.alarms, over, strict=True)]
    earlier = detail.alarms_total - len(detail.alarms)
    more = f"{earlier} earlier" if earlier > 0 else ""
    return (Table(("step", "alarm", "over"), tuple(rows), right=(0,), more=more),)
