"""The saved checkpoints, and the best of them."""

from __future__ import annotations

from finetop.core.protocol.runs import Finished, RunDetail
from finetop.core.report import Block, Points, Table, moment
from finetop.core.report.load import Told

TITLE = "Checkpoints"


def blocks(told: Told) -> tuple[Block, ...]:
    return checkpoints(told.detail)


def checkpoints(detail: RunDetail) -> tuple[Block, ...]:
    found: list[Block] = []
    if detail.checkpoints:
        rows = [
            (f"{one.step:,}", one.kind, f"{one.size_bytes / 1e6:,.1f} MB", moment(one.at), one.path)
            for one in detail.checkpoints
        ]
        head = ("step", "kind", "size", "at", "folder")
        found.append(Table(head, tuple(rows), right=(0, 2)))
    state = detail.row.state
    if isinstance(state, Finished) and state.cause:
        found.append(Points((state.cause,)))
    if detail.best is not None:
        found.append(Points((f"best: {detail.best.text}",)))
    return tuple(found)
