"""Regressions: which run lost what, how sure that is, which items it were, and how people see it.

Points are of 100 and a positive drop is worse; shares and log-probabilities (nats) are as the check has them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from finetop.core.protocol.accepts import Asked
from finetop.core.protocol.check_result import Flip
from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Order, Question

StandingState = Literal["new", "looking", "accepted", "fixed"]
Kind = Literal["", "lost", "won"]


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """How people see one regression: of a run as a whole, or of one of its tasks."""

    state: StandingState = "new"
    by: str = ""
    at: float = 0.0  # 0: now
    reason: str = ""  # why it is accepted
    note: str = ""
    fixed_by: str = ""  # the run that mends it
    drop: float | None = None  # points lost when that was said


class TriageCell(msgspec.Struct, frozen=True, array_like=True):
    """What a run lost on one task."""

    drop: float | None
    mark: str  # lost, kept, open, unmeasurable


class TriageRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run in the table of triage: the check that it is known by."""

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
    cells: list[TriageCell | None]  # in the order of the answer's tasks; None: it was not asked
    step: int | None = None  # of the checkpoint that was checked
    run_step: int = 0
    real_drop: bool = False
    reason: str = ""
    standings: dict[str, Standing] = {}  # by task; "": the run as a whole
    host: str = ""  # the machine that it is on, where several are looked at
    refuses: list[Asked] = []  # what can't be ordered of the run as it stands

    @property
    def standing(self) -> Standing | None:
        """How the run as a whole stands; None where it has not regressed."""
        return self.standings.get("", Standing()) if self.verdict == "regressed" else None

    @property
    def shown_name(self) -> str:
        """RUN, or RUN@STEP where its last step is not what was checked."""
        is_last = self.step is None or self.step == self.run_step
        return self.name if is_last else f"{self.name}@{self.step}"


class TriageAnswer(msgspec.Struct, frozen=True):
    rows: list[TriageRow]
    tasks: list[str]  # of these rows, the worst first
    matching: int
    total: int  # runs that were checked
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
    """A page of the table of triage: new regressions first, worst first, then those that people know of."""

    filter: str = ""
    offset: int = 0
    limit: int = 100


class TaskFacts(msgspec.Struct, frozen=True):
    """All numbers of one task, or of the whole (task ""). The interval is of the drop, in points; it made the mark."""

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
        """The interval, as a pair."""
        return None if self.low is None or self.high is None else (self.low, self.high)


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """What one checkpoint scored; step None is the base."""

    step: int | None
    score: float | None
    mark: str  # lost, kept, open; of the whole: lost where it is REGRESSED, kept where it is OK


class TriageRunAnswer(msgspec.Struct, frozen=True):
    row: TriageRow
    columns: list[str]  # the tasks in the order of its cells
    tasks: list[TaskFacts]  # the whole first, then the worst first
    curve: list[CurvePoint]  # of the whole
    not_looked_at: list[int]  # checkpoints that were never checked
    item_s: float | None = None  # what an item took in that check, all in all; None where it is not known
    newest: int | None = None  # the step that a check of the run looks at; None where no checkpoint is kept


class TriageRun(Question[TriageRunAnswer], tag="triage-run", frozen=True):
    """One run turned: a task a row."""

    run: str


class ItemKind(msgspec.Struct, frozen=True):
    """How many items of one category of a task were asked, lost and won."""

    kind: str
    n: int
    lost: int
    won: int
    task: str = ""


class CellAnswer(msgspec.Struct, frozen=True):
    facts: TaskFacts
    kinds: list[ItemKind]  # most lost first; of the whole, its tasks
    curve: list[CurvePoint]  # the base, then checked checkpoints
    floor_items: int  # base against itself in other batches
    floor_flips: int
    first: list[Flip]  # the surest losses
    not_looked_at: list[int]  # checkpoints that were never checked


class LookAtCell(Question[CellAnswer], tag="triage-cell", frozen=True):
    """Everything about one cell of the table; task "" is the run as a whole."""

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


class LostItems(Question[LostItemsAnswer], tag="lost-items", frozen=True, omit_defaults=True):
    """Items that flipped, both ways, lost ones first, the surest on top."""

    run: str
    task: str = ""  # of this one alone
    kind: str = ""  # of this category alone
    only: Kind = ""
    margin: float = 0.0  # the tuned model's margin is at least so far from 0
    runs: int = 0  # lost in at least so many runs of the same base
    text: str = ""  # in question or answers
    offset: int = 0
    limit: int = 100


class ItemAnswer(msgspec.Struct, frozen=True):
    item: Flip
    choices: list[str]  # none: it was answered in words
    steps: list[tuple[int | None, bool]]  # checked steps at which it was asked, and whether it was lost there
    also: list[str]  # a few of the other runs of the same base that lost it
    methods: list[tuple[str, int, int]]  # method, other runs that lost it, other runs that were asked it
    of_kind: ItemKind


class LookAtItem(Question[ItemAnswer], tag="lost-item", frozen=True):
    """One item whole."""

    run: str
    task: str
    item: str


class SetStandingAnswer(msgspec.Struct, frozen=True):
    message: str
    before: Standing  # what to set to undo it


class SetStanding(Order[SetStandingAnswer], tag="set-standing", frozen=True):
    """Say how a regression is seen: it is looked at, accepted for a reason, fixed by a run, or new again."""

    run: str
    task: str = ""
    standing: Standing = Standing()


class EarlierAnswer(msgspec.Struct, frozen=True):
    run: str
    unseen: int  # checkpoints that are there and were not looked at
    most: int  # looks that it takes at most; 0: all that can be told is known
    text: str  # what is known, in a sentence
    look_s: float | None = None  # what one took; None where nobody knows


class Earlier(Question[EarlierAnswer], tag="earlier", frozen=True):
    """What it takes to tell since which checkpoint a run has regressed: see check/bisect.py."""

    run: str


class LookEarlierAnswer(msgspec.Struct, frozen=True):
    run: str
    step: Whole | None  # None: nothing is to be looked at any more
    message: str


class LookEarlier(Order[LookEarlierAnswer], tag="look-earlier", frozen=True):
    """Queue the look at the checkpoint that tells most about since when a run has regressed."""

    run: str
    on: bool = False  # and when that has ended the next, until it is known
