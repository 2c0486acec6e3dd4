"""An exported file and what was proven of it: one struct from the job that wrote it to the screen."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Share = Annotated[float, Meta(ge=-1, le=1)]
Number = Annotated[float, Meta(ge=-1e290, le=1e290)]
Bytes = Annotated[int, Meta(ge=0, le=2**53)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]
Key = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=10_000)]
Three = tuple[Number | None, Number | None, Number | None]  # base, tuned, exported; None: not scored

NOT_ASKED = "not checked"


class TaskScores(msgspec.Struct, frozen=True, array_like=True):
    """The means of one task on the items that the exported file was asked; `drop` is against the tuned model."""

    task: Key
    mark: Literal["lost", "kept", "open", "unmeasurable"]
    drop: Share | None
    scores: Three
    items: Count = 0


class TargetScores(msgspec.Struct, frozen=True, array_like=True):
    """A metric of the target; low to high bounds exported - tuned (95 %), from the paired rows."""

    scores: Three
    low: Number
    high: Number
    rows: Count = 0


Standing = Literal["written", "refused", "anyway"]  # refused: REGRESSED, and kept as NAME.unproven


class ExportVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """An exported file against the tuned model, on the items of the run's check, asked by the program that runs it.

    Drops and margin are shares; a positive drop is worse than the tuned model.
    """

    verdict: Literal["ok", "regressed", "no_verdict"]
    reason: Text
    margin: Share
    drop: Share | None = None
    decided: tuple[Share, Share] | None = None  # the interval that the verdict is based on
    scores: Three = (None, None, None)
    items_used: Count = 0
    items_total: Count = 0
    lost: Count = 0
    won: Count = 0
    tasks: Annotated[list[TaskScores], Meta(max_length=1000)] = []  # worst first
    target: Annotated[dict[Key, TargetScores], Meta(max_length=20)] = {}  # by metric; decides nothing
    answers_differ: Count = 0  # items that got another answer, right or wrong
    suite: Text = ""
    seconds: Number = 0.0


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an export; `verdict` is None if it was not asked the items, and `unasked` says why."""

    step: Count
    remedy: Text = ""  # whose model it is instead of the checkpoint's
    folder: Text
    name: Key  # of the file
    quant: Key  # its number format
    bytes: Bytes
    trained_bytes: Bytes  # of the weights that it was written from, as trained
    nats: Number | None = None  # nats/token of general text
    trained_nats: Number | None = None
    tokens_per_s: Number | None = None  # one answer, on the CPU of the machine that exported
    verdict: ExportVerdict | None = None
    unasked: Text = ""
    standing: Standing = "written"
    at: Annotated[float, Meta(ge=0, le=1e11)] = 0.0
