"""The page of models for a side: base, checkpoints and remedies of the run, other runs, GGUF files, endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.css.query import NoMatches

from finetop.core.errors import BadInput, FinetopError
from finetop.core.features.chat.messages import ChatSide
from finetop.core.features.remedies import wording as remedies
from finetop.core.features.remedies.messages import Remedies, RemediesAnswer
from finetop.core.protocol.messages.runs import GetRun, Runs, RunsAnswer
from finetop.core.protocol.runs import RemedyRow, RunDetail, RunRow
from finetop.core.runtime.files import given_path
from finetop.core.text import clean_line, count
from finetop.tui.app_interface import files_are_here, host_of
from finetop.tui.keys import bindings
from finetop.tui.paths import completed
from finetop.tui.screens.pages import TYPED_BESIDE, TablePage
from finetop.tui.screens.shared.run_status import forgot
from finetop.tui.text import Line, cursor_mark, cut_end, cut_middle, has_words, leaf, padded
from finetop.tui.widgets.table import Table

MOST_RUNS = 50
_LABEL = 34  # cells
THIS_RUN, REMEDIES, OTHERS, TYPED = "this run", "its remedies", "other runs, newest first", "as typed"


@dataclass(frozen=True, slots=True)
class Choice:
    """A model to choose, listed under the heading `of`."""

    model: ChatSide
    about: str
    of: str


def of_run(detail: RunDetail) -> list[Choice]:
    """Return the base of a run and its checkpoints, the newest first."""
    best = detail.best.step if detail.best is not None else None
    steps = sorted({checkpoint.step for checkpoint in detail.checkpoints}, reverse=True)
    usual = "its best checkpoint" if best is not None else "its newest checkpoint"
    return [
        Choice(ChatSide("base", "base"), leaf(detail.row.model), THIS_RUN),
        Choice(ChatSide("tuned", "checkpoint"), usual, THIS_RUN),
        *(
            Choice(
                ChatSide(f"step {count(step)}", "checkpoint", step=step),
                "checkpoint, the best" if step == best else "checkpoint",
                THIS_RUN,
            )
            for step in steps
        ),
    ]


def of_remedies(rows: Sequence[RemedyRow]) -> list[Choice]:
    """Return the remedies that were tried."""
    tried = [row for row in rows if row.verdict in ("ok", "regressed", "no_verdict") and not row.why_not]
    sides = [ChatSide(row.label, "checkpoint", step=row.step, remedy=row.name) for row in tried]
    return [Choice(side, remedies.verdict(row), REMEDIES) for side, row in zip(sides, tried, strict=True)]


def of_others(rows: Sequence[RunRow], run: str, machine: str, now: float) -> list[Choice]:
    """Return other runs with a checkpoint; with several machines, those of the chat's own."""
    start = f"{machine}:" if machine else ""
    return [
        Choice(
            ChatSide(row.name.removeprefix(start), "checkpoint", run=row.name.removeprefix(start)),
            f"{row.tuned(leaf(row.model))}   {''.join(text for text, _ in forgot(row, now))}",
            OTHERS,
        )
        for row in rows
        if row.saved and row.name != run and row.name.startswith(start)
    ]


def typed_model(text: str, folder: Path | None) -> ChatSide | None:
    """Return the model that a text names: URL [MODEL] [$KEY], a GGUF file, RUN@STEP; None if it names none by itself.

    `folder` is where a relative path begins; None: files are on another machine. Raises BadInput.
    """
    text = text.strip()
    if text.startswith(("http://", "https://")):
        url, *words = text.split()
        model = " ".join(word for word in words if not word.startswith("$"))
        key_env = next((word[1:] for word in words if word.startswith("$")), "")
        return ChatSide(model or url, "endpoint", url=url, model=model, key_env=key_env)
    if text.endswith(".gguf"):
        path = given_path(text) if folder is not None else Path(text)
        if folder is None and not path.is_absolute():
            raise BadInput(f"{text}: a file on another machine needs its absolute path.")
        return ChatSide(path.name, "gguf", path=str(path if folder is None else folder / path))
    run, at, step = text.rpartition("@")
    if at and run and step.isdecimal():
        return ChatSide(text, "checkpoint", run=run, step=int(step))
    return None


class ModelsPage(TablePage["ChatSide | None"], inherit_bindings=False):
    """Models by name; letters narrow the list, or name a file or an endpoint. Enter returns the chosen one."""

    KEYS = ()
    BINDINGS: ClassVar = bindings(TYPED_BESIDE)
    TITLE = "Models"

    def __init__(self, run: str, label: str) -> None:
        super().__init__()
        self._run, self._label = run, label
        self._all: list[Choice] = []
        self._listed: list[Choice] = []

    def on_mount(self) -> None:
        host = host_of(self)
        folder = host.folder if files_are_here(host) else None
        self._list("")
        self.bottom.ask_text(
            f"in place of {cut_end(clean_line(self._label), 24)}:",
            "",
            changed=self._list,
            done=self._done,
            keep="choose",
            leave="cancel",
            fault=self._fault,
            complete=None if folder is None else lambda text: completed(text, folder),
        )
        self._load()

    @work
    async def _load(self) -> None:
        """List what there is, part by part; a part that can't be read is left out."""
        host = host_of(self)
        machine = self._run.partition(":")[0] if len(host.homes) > 1 else ""
        try:
            detail: RunDetail = await host.ask(GetRun(self._run))
            self._add(of_run(detail))
            answer: RunsAnswer = await host.ask(Runs("", "newest", 0, MOST_RUNS))
            others = of_others(answer.rows, detail.row.name, machine, host.now())
            self._add(await self._remedies())
            self._add(others)
        except (FinetopError, NoMatches):
            return

    async def _remedies(self) -> list[Choice]:
        try:
            answer: RemediesAnswer = await host_of(self).ask(Remedies(self._run))
        except FinetopError:  # nothing can be made from this run
            return []
        return of_remedies(answer.rows)

    def _add(self, choices: Sequence[Choice]) -> None:
        self._all += choices
        question = self.bottom.question
        text = getattr(getattr(question, "entry", None), "text", "")
        self._list(text, self.query_one(Table).cursor)

    def _list(self, text: str, at: int = 0) -> None:
        self._listed = [
            choice
            for choice in self._all
            if has_words(f"{choice.model.label} {choice.about} {choice.of}", text)
        ]
        try:
            model = self._typed(text)
        except BadInput:
            model = None
        if model is not None:
            about = {"endpoint": "endpoint", "gguf": "GGUF file"}.get(model.kind, "checkpoint")
            self._listed.append(Choice(model, about, TYPED))
        self.show_title("Models", "type a name, RUN@STEP, a .gguf file or a URL")
        self.query_one(Table).show(len(self._listed), at)

    def _typed(self, text: str) -> ChatSide | None:
        host = host_of(self)
        return typed_model(text, host.folder if files_are_here(host) else None)

    def _fault(self, text: str) -> str:
        try:
            self._typed(text)
        except BadInput as error:
            return clean_line(str(error))
        if not self._listed and text.strip():
            return "no such model; a file ends in .gguf, an endpoint is http://HOST:PORT/v1 MODEL $KEY"
        return ""

    def draw_heading(self, index: int) -> str:
        return self._listed[index].of

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        choice = self._listed[index]
        label = padded(cut_middle(clean_line(choice.model.label), _LABEL - 2), _LABEL)
        about = cut_end(clean_line(choice.about), max(0, width - _LABEL - 4))
        return (cursor_mark(has_cursor), (f"  {label}", "bold" if has_cursor else ""), (about, "dim"))

    @on(Table.Opened)
    def _opened(self) -> None:
        self._done("", True)

    def _done(self, text: str, is_kept: bool) -> None:
        cursor = self.query_one(Table).cursor
        self.dismiss(self._listed[cursor].model if is_kept and cursor < len(self._listed) else None)
