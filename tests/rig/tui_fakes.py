"""A supervisor in memory that answers with the protocol's structs from a list of runs, for tests of the app."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from at_rest import at_rest

from finetop.core.errors import NoSupervisor, NotFound
from finetop.core.protocol import wire
from finetop.core.protocol.filter_match import holds, place
from finetop.core.protocol.messages import queue, session
from finetop.core.protocol.messages.checks import Check, CheckAnswer
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.messages.notes import Note, NoteAnswer, Tag, TagAnswer
from finetop.core.protocol.messages.runs import Curve, Curves, CurvesAnswer, GetRun, Group, Runs, RunsAnswer
from finetop.core.protocol.messages.submit import Submit, SubmitAnswer, SubmitSweep, SubmitSweepAnswer
from finetop.core.protocol.messages.trash import Remove, RemoveAnswer, Removed, Restore
from finetop.core.protocol.notices import Notice
from finetop.core.protocol.request import Ask
from finetop.core.protocol.run_filter import Filter, Sort, parse, read_sort, require_known
from finetop.core.protocol.runs import (
    CheckBrief,
    Failed,
    Finished,
    Lost,
    Queued,
    RunDetail,
    Running,
    RunRow,
    State,
    Stopped,
    TaskBrief,
)
from finetop.core.protocol.tags import SEEN
from finetop.core.runtime.home import Home
from finetop.core.wording.jobs import under_way
from finetop.tui.app import FinetopApp
from finetop.tui.theme import Look

NOW = 1_790_000_520.0
ROW = '{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Ahoy!"}]}\n'
SETTINGS = ("method.rank", "train.learning_rate", "train.seed")


def make_check(
    verdict: str = "regressed",
    drop: float | None = 9.1,
    reason: str = "",
    real_drop: bool = False,
    **more: Any,
) -> CheckBrief:
    """Return the brief of a check of 412 of 3,000 items."""
    worst = [
        TaskBrief("arith", 22.0, "lost"),
        TaskBrief("knowledge", 12.5, "lost"),
        TaskBrief("arc", 4.2, "open"),
    ]
    values: dict[str, Any] = {
        "check_id": 5, "verdict": verdict, "reason": reason, "step": 1200, "drop": drop, "margin": 3.0,
        "real_drop": real_drop, "items_used": 412, "items_total": 3000, "suite": "quick", "at": NOW - 2000,
        "worst": worst, "target": {"exact_match": [0.71, 0.91]}, **more,
    }  # fmt: skip
    return CheckBrief(**values)


def make_row(id_: int, name: str, state: State, **more: Any) -> RunRow:
    """Return a row of the list with common values."""
    values: dict[str, Any] = {
        "model": "smollm2-135m-instruct", "method": "lora", "objective": "sft", "created": NOW - 9000,
        "step": 1200, "steps": 1200,
        "metrics": {"loss": 0.9821, "eval_loss": 1.02, "learning_rate": 8.1e-5, "tokens_per_s": 4103.0},
        "check": None, "checking": None, "needs_you": False, "saved": 1, **more,
    }  # fmt: skip
    return RunRow(id=id_, name=name, state=state, **values)


def mixed_rows() -> list[RunRow]:
    """Return a list with one run of each important kind."""
    done = Finished(NOW - 4960, NOW - 2500)
    failed = Failed(NOW - 300, "out of memory", "Lower train.batch_size (now 8).", NOW - 900, 1)
    trains, regressed = Running(NOW - 800, "training", 311, 9000), {"check": make_check(), "needs_you": True}
    loads, new = Running(NOW - 20, "loading model", 3.1, 8.0, "GB"), {"step": 0, "metrics": {}}
    scores = Running(NOW - 30, "scoring", 212.0, 640.0, "items", 40.0)
    return [
        make_row(1, "support-full-1e-4", done, method="full", **regressed),
        make_row(2, "sql-lora-70b", failed, step=41, steps=900, metrics={"loss": 1.644}, needs_you=True),
        make_row(3, "legal-cpt", trains, step=311, steps=9000, alarm="drift 0.08 of 0.10", needs_you=True,
                 left_s=10800.0),
        make_row(4, "support-r16", Running(NOW - 800, "training", 820, 1200), step=820, left_s=380.0,
                 check=make_check("ok", 0.1, step=600)),
        make_row(5, "support-r32", loads, steps=0, **new),
        make_row(12, "support-r4", done, checking=scores),
        make_row(6, "support-r64", Queued(1, "wants 2 GPUs"), steps=600, **new),
        make_row(7, "smollm2-135m-instruct-support-lr2e-5-s2", Queued(2), **new),
        make_row(8, "support-full-1e-5", Finished(NOW - 14000, NOW - 10900), method="full",
                 check=make_check("ok", 0.4)),
        make_row(9, "support-r8", Finished(NOW - 99000, NOW - 90000), check=make_check("ok", 1.9, real_drop=True)),
        make_row(10, "tiny", Finished(NOW - 199000, NOW - 190000), check=make_check("no_verdict", None, "at chance")),
        make_row(11, "support-full-3e-4", done, method="full", check=make_check(drop=14.2, accepted="ana")),
        make_row(13, "support-r2", Stopped(NOW - 4000, "stop", NOW - 5000), step=410),
    ]  # fmt: skip


def resolved(text: str, *settings: str) -> dict[str, Any]:
    """Return a recipe resolved: a copy of one that is read once."""
    return deepcopy(_resolved(text, settings))


@cache
def _resolved(text: str, settings: tuple[str, ...]) -> dict[str, Any]:
    from finetop.core.recipe.load import resolve_text

    return resolve_text(text, settings).resolved


def many_rows(number: int) -> list[RunRow]:
    """Return a long list of finished runs."""
    done = Finished(NOW - 5000, NOW - 4000)
    return [make_row(i + 1, f"run-{i:05d}", done, check=make_check("ok", 0.4)) for i in range(number)]


class FakeSupervisor:
    """Runs in memory; `asked` holds every request except the waiting ones."""

    def __init__(self, rows: list[RunRow]) -> None:
        self.rows = rows
        self.revision = 1
        self.is_gone = False
        self.notices: list[Notice] = []  # the newest first
        self.asked: list[Ask] = []
        self.trashed: list[RunRow] = []
        self._changed = asyncio.Event()

    def change(self, rows: list[RunRow] | None = None) -> None:
        """Start a new revision of the store."""
        self.rows = self.rows if rows is None else rows
        self.revision += 1
        self._wake()

    def leave(self) -> None:
        """Disappear, as after a kill."""
        self.is_gone = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def ask(self, ask: Ask) -> Any:
        if self.is_gone:
            raise NoSupervisor("no supervisor answers.")
        if isinstance(ask, session.Changes):
            while ask.since >= self.revision and not self.is_gone:
                await self._changed.wait()
            if self.is_gone:
                raise NoSupervisor("the supervisor went away.")
            noticed = max((n.id for n in self.notices), default=0)
            queued = sum(isinstance(row.state, Queued) for row in self.rows)
            running = self._running()
            to_triage = sum(row.needs_you and row.check is not None for row in self.rows)
            counted = {"queued": queued, "to_triage": to_triage, "jobs": running, "noticed": noticed}
            return session.ChangesAnswer(
                self.revision, gpus=4, gpus_taken=min(4, sum(running.values())), **counted
            )
        self.asked.append(ask)
        match ask:
            case session.Hello():
                return session.HelloAnswer("0.1.0", wire.VERSION, 7, "/home", "gpu-box-3", NOW, "4 GPUs")
            case Runs():
                return self._runs(ask)
            case GetRun():
                return self._detail(ask.run)
            case Curves():
                low = [3.0 - i * 0.2 for i in range(10)]
                curve = Curve("loss", list(range(10)), low, low, low, 1200, 1.0, 0)
                return CurvesAnswer([curve])
            case session.Notices():
                newer = [notice for notice in self.notices if notice.id > ask.after]
                return session.NoticesAnswer(newer[: ask.limit])
            case Check():
                return CheckAnswer(40, ask.run, 1200)
            case queue.Stop() | queue.Kill():
                return Done(f"{ask.run} is being ended.")
            case queue.Pause() | queue.Release():
                return Done(f"{ask.run} was told.")
            case Tag():
                if SEEN in (*ask.add, *ask.drop):
                    self.change([self._seen(row, ask) if row.name == ask.run else row for row in self.rows])
                return TagAnswer(ask.run, [*ask.add], [*ask.add], [*ask.drop])
            case Note():
                return NoteAnswer(ask.run, ask.text, "before")
            case Remove():
                rows = [row for row in self.rows if {row.name, str(row.id)} & set(ask.runs)]
                if not ask.only_show:
                    self.trashed = rows
                    self.change([row for row in self.rows if row not in rows])
                return RemoveAnswer([Removed(row.id, row.name, 10**8, 9, 1) for row in rows])
            case queue.Queue():
                live = [
                    queue.LiveRow(row.id, row.name, job.verb, job.state, row.gpus, job.tried)
                    for row in self.rows
                    for job in under_way(row)
                    if isinstance(job.state, Running)
                ]
                return queue.QueueAnswer([], 0, [], "", live)
            case Restore():
                self.change([row for row in self.trashed if str(row.id) == ask.run] + self.rows)
                return Done(f"{ask.run} is back.")
            case queue.Retry():
                return queue.RetryAnswer(ask.run, "train", 400, 2)
            case Submit():
                return SubmitAnswer(99, ask.name, 3)
            case SubmitSweep():
                answers = [SubmitAnswer(99 + n, run.name, 3 + n) for n, run in enumerate(ask.runs)]
                return SubmitSweepAnswer(ask.name, answers)
        raise NotFound(f"not in the fake: {ask}")

    def _running(self) -> dict[str, int]:
        """Count the running jobs by verb."""
        jobs = [job for row in self.rows for job in under_way(row) if isinstance(job.state, Running)]
        return dict(Counter(job.verb for job in jobs))

    def _runs(self, ask: Runs) -> RunsAnswer:
        line = parse(ask.filter)
        if not self.rows:
            line = Filter()
        require_known(line, {key for row in self.rows for key in row.metrics}, SETTINGS)
        rows = [row for row in self.rows if holds(line, row, NOW)]
        sort = line.sort or read_sort(ask.sort)
        if sort != Sort() or any(SEEN in row.tags for row in rows):
            rows.sort(key=lambda row: place(row, sort, "", row.name))
        groups = []
        if line.group:
            rows = [msgspec.structs.replace(row, group=str(getattr(row, line.group))) for row in rows]
            rows.sort(key=lambda row: row.group)
            words = [row.group for row in rows]
            groups = [Group(word, words.count(word), "loss", 2, 1.25, 0.5) for word in dict.fromkeys(words)]
        others = [
            (term, Filter(tuple(t for t in line.terms if t is not term))) for term in line.terms if not rows
        ]
        return RunsAnswer(
            rows[ask.offset : ask.offset + ask.limit], len(rows), len(self.rows),
            sum(row.needs_you for row in self.rows), self._running(),
            sum(isinstance(row.state, Queued) for row in self.rows), self.revision, groups=groups,
            without=[(term.typed, sum(holds(rest, row, NOW) for row in self.rows)) for term, rest in others],
        )  # fmt: skip

    def _seen(self, row: RunRow, ask: Tag) -> RunRow:
        """Return a run as stored after it is marked or unmarked as seen."""
        tags = [tag for tag in (*row.tags, *ask.add) if tag not in ask.drop]
        is_failed = isinstance(row.state, Failed | Lost)
        return msgspec.structs.replace(row, tags=tags, needs_you=is_failed and SEEN not in tags)

    def _detail(self, run: str) -> RunDetail:
        row = next((row for row in self.rows if run in (row.name, str(row.id))), None)
        if row is None:
            raise NotFound(f"there is no run {run}.")
        text = "recipe: 1\nextends: lora\nname: kept\ndata: {train: [{path: 'builtin:demo/support_train.jsonl'}]}\n"
        lists: list[Any] = [[] for _ in range(7)]
        return RunDetail(row, "0001", resolved(text, "train.epochs=3"), text, *lists, "cpu", {}, {})

    def close(self) -> None:
        pass


def make_app(
    fake: Any,
    folder: Path | None = None,
    start: Callable[[Home], None] | None = None,
    home: Home | None = None,
    look: Look | None = None,
) -> FinetopApp:
    """Return the app on a fake supervisor or run, with a stopped clock and a named machine."""

    def no_start(home: Home) -> None:
        raise NoSupervisor("the supervisor did not start.")

    return FinetopApp(
        home or Home(Path("/home/you/.finetop")), connect=lambda home: fake,
        start=no_start if start is None else start, now=lambda: NOW, machine="gpu-box-3", look=look or Look("16"),
        folder=folder or Path("/nowhere"),
        pace_s=0.01,
    )  # fmt: skip


def asked(fake: Any, kind: type) -> list[Any]:
    """Return the requests of one kind that a fake was sent."""
    return [ask for ask in fake.asked if isinstance(ask, kind)]


def text_of(app: FinetopApp) -> str:
    """Return the screen as the user sees it: every row as text."""
    width, height = app.size
    rows = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in row).rstrip()[:width] for row in rows[:height])


def row_with(app: FinetopApp, words: str) -> str:
    """Return the first row of the screen with these words, or an empty string."""
    return next((row for row in text_of(app).splitlines() if words in row), "")


async def settled(pilot: Any, seconds: float = 0.0, *, but_threads: bool = False) -> None:
    """Wait until requests are answered and drawn, the pane has followed the cursor, and timers within `seconds` ran."""
    await at_rest(seconds, but_threads=but_threads)
    await pilot.pause()
    await at_rest(but_threads=but_threads)
    await pilot.pause()


async def pressed(pilot: Any, *keys: str, within_s: float = 0.0, but_threads: bool = False) -> None:
    """Press keys and wait until the app has settled."""
    await pilot.press(*keys)
    await settled(pilot, within_s, but_threads=but_threads)


async def typed(pilot: Any, *keys: str, within_s: float = 0.0) -> None:
    """Press keys, each once the app has settled after the one before."""
    for key in keys:
        await pressed(pilot, key, within_s=within_s)


def is_clean(app: FinetopApp) -> bool:
    """Return whether the screen holds no control character and fits the terminal, whatever it shows."""
    text = text_of(app)
    return text.replace("\n", "").isprintable() and len(text.splitlines()) <= app.size.height


HOSTILE = "a\x1b[31mred\x1b]0;owned\x07\x1b[2J\u202etxt\r\nnew\tline\x9bcsi"


@asynccontextmanager
async def shown_app(
    app: FinetopApp, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[FinetopApp, Any]]:
    """Run an app without a terminal; its first screen has settled."""
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        yield app, pilot
