"""The saved checkpoints, and the best of them."""

from __future__ import annotations

from finetop.core.protocol.runs import Finished, RunDetail
from finetop.core.report import Block, Points, Table, moment
from finetop.core.report.load import RunFacts

TITLE = "Checkpoints"


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    return checkpoints(facts.detail)


def checkpoints(detail: RunDetail) -> tuple[Block, ...]:
    blocks_found: list[Block] = []
    if detail.checkpoints:
        rows = []
        for saved in detail.checkpoints:
            size = f"{saved.size_bytes / 1e6:,.1f} MB"
            rows.append((f"{saved.step:,}", saved.kind, size, moment(saved.at), saved.path))
        head = ("step", "kind", "size", "at", "folder")
        blocks_found.append(Table(head, tuple(rows), right=(0, 2)))
    state = detail.row.state
    if isinstance(state, Finished) and state.cause:
        blocks_found.append(Points((state.cause,)))
    if detail.best is not None:
        blocks_found.append(Points((f"best: {detail.best.text}",)))
    return tuple(blocks_found)
