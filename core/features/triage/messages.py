"""Regressions: which run lost what, how sure that is, which items, and their triage state.

Points are of 100 and a positive drop is worse; shares and log-probabilities (nats) are as in the check.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from finetop.core.protocol.accepts import RequestName
from finetop.core.protocol.check_result import Flip
from finetop.core.protocol.exports import ExportedFile
from finetop.core.protocol.request import Order, Question
from finetop.core.protocol.runs import Now
from finetop.core.protocol.standing import Standing

Kind = Literal["", "lost", "won"]


class TriageCell(msgspec.Struct, frozen=True, array_like=True):
    """What a run lost on one task."""

    drop: float | None
    mark: str  # lost, kept, open, unmeasurable


class TriageRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run in the triage table, with the check that represents it."""

    id: int
    name: str
    model: str
    method: str
    check_id: int
    verdict: Literal["ok", "regressed", "no_verdict"]
    drop: float | None
    margin: float
    suite: str
    at: float
    cells: list[TriageCell | None]  # in the order of the answer's tasks; None: not scored
    step: int | None = None  # of the checked checkpoint
    run_step: int = 0
    real_drop: bool = False
    reason: str = ""
    standings: dict[str, Standing] = {}  # by task; "": the whole run
    host: str = ""  # its machine, if several are shown
    refuses: list[RequestName] = []  # requests that the run refuses in its current state

    @property
    def standing(self) -> Standing | None:
        """The state of the whole run's regression; None if it has not regressed."""
        return self.standings.get("", Standing()) if self.verdict == "regressed" else None

    @property
    def shown_name(self) -> str:
        """RUN, or RUN@STEP if the checked checkpoint is not the last step."""
        is_last = self.step is None or self.step == self.run_step
        return self.name if is_last else f"{self.name}@{self.step}"


class TriageAnswer(msgspec.Struct, frozen=True):
    rows: list[TriageRow]
    tasks: list[str]  # of these rows, worst first
    matching: int
    total: int  # checked runs
    new: int
    looking: int
    accepted: int
    fixed: int
    unchecked: list[str]  # a few finished runs without a check, newest first
    unchecked_total: int
    newest: str = ""  # the run that was checked last, and when
    newest_at: float = 0.0
    revision: int = 0


class Triage(Question[TriageAnswer], tag="triage", frozen=True, omit_defaults=True):
    """A page of the triage table: new regressions first, worst first, then known ones."""

    filter: str = ""
    offset: int = 0
    limit: int = 100


class TaskFacts(msgspec.Struct, frozen=True):
    """All numbers of one task, or of the whole (task ""). The interval of the drop, in points, decided the mark."""

    task: str
    mark: str
    base: float | None
    tuned: float | None
    drop: float | None
    low: float | None
    high: float | None
    lost: int
    won: int
    n: int
    total: int
    reason: str = ""
    is_drop_proven: bool = False  # of the ability

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval as a pair."""
        return None if self.low is None or self.high is None else (self.low, self.high)


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """The score of one checkpoint; step None is the base."""

    step: int | None
    score: float | None
    mark: str  # lost, kept, open; for the whole: lost if REGRESSED, kept if OK


class TriageRunAnswer(msgspec.Struct, frozen=True):
    row: TriageRow
    columns: list[str]  # the tasks in the order of the row's cells
    tasks: list[TaskFacts]  # the whole first, then worst first
    curve: list[CurvePoint]  # of the whole
    not_looked_at: list[int]  # unchecked checkpoints that a search would choose from
    item_s: float | None = None  # seconds per item in that check, overhead included; None if unknown
    newest: int | None = None  # the step that a check of the run would use; None if no checkpoint is saved
    weights_now: Now = (
        "same"  # of the row's check; unless same, it says nothing of the weights that there are
    )


class TriageRun(Question[TriageRunAnswer], tag="triage-run", frozen=True):
    """One run with one row per task."""

    run: str


class ItemKind(msgspec.Struct, frozen=True):
    """How many items of one category of a task were scored, lost and won."""

    kind: str
    n: int
    lost: int
    won: int
    task: str = ""


class CellAnswer(msgspec.Struct, frozen=True):
    facts: TaskFacts
    kinds: list[ItemKind]  # most lost first; for the whole, its tasks
    curve: list[CurvePoint]  # the base, then checked checkpoints
    floor_items: int  # base against itself in other batches
    floor_flips: int
    first: list[Flip]  # the surest losses
    not_looked_at: list[int]  # unchecked checkpoints that a search would choose from
    exports: list[
        ExportedFile
    ] = []  # files of the checked checkpoint that were asked its items, oldest first
    weights_now: Now = "same"  # of the run's check


class LookAtCell(Question[CellAnswer], tag="triage-cell", frozen=True):
    """Details of one cell of the table; task "" is the whole run."""

    run: str
    task: str = ""
    items: int = 6


class LostItemsAnswer(msgspec.Struct, frozen=True):
    check_id: int
    items: list[Flip]
    matching: int
    lost: int  # of the task, whatever the filter
    won: int
    kinds: list[ItemKind]
    weights_now: Now = "same"  # of the check


class LostItems(Question[LostItemsAnswer], tag="lost-items", frozen=True, omit_defaults=True):
    """Items that flipped, both ways: lost ones first, surest on top."""

    run: str
    task: str = ""  # only this one
    kind: str = ""  # only this category
    only: Kind = ""
    margin: float = 0.0  # the tuned model's margin is at least this far from 0
    runs: int = 0  # lost in at least this many runs of the same base
    text: str = ""  # in question or answers
    offset: int = 0
    limit: int = 100


class ItemAnswer(msgspec.Struct, frozen=True):
    item: Flip
    choices: list[str]  # empty: a free-text answer
    steps: list[tuple[int | None, bool]]  # steps at which it was scored, and whether it was lost there
    also: list[str]  # a few of the other runs of the same base that lost it
    methods: list[tuple[str, int, int]]  # method, other runs that lost it, other runs that scored it
    of_kind: ItemKind


class LookAtItem(Question[ItemAnswer], tag="lost-item", frozen=True):
    """One item in full."""

    run: str
    task: str
    item: str


class SetStandingAnswer(msgspec.Struct, frozen=True):
    message: str
    before: Standing  # to undo it


class SetStanding(Order[SetStandingAnswer], tag="set-standing", frozen=True):
    """Set the triage state of a regression: assigned, accepted for a reason, fixed by a run, or new again."""

    run: str
    task: str = ""
    standing: Standing = Standing()
