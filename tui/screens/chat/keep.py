"""Keeping an answer: among the run's samples, or as a row of a test file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from finetop.core.errors import BadInput
from finetop.core.features.chat.keep import ENDINGS
from finetop.core.features.chat.messages import KeepAnswer
from finetop.core.runtime.files import given_path
from finetop.core.text import clean_line
from finetop.tui.app_interface import files_are_here, host_of
from finetop.tui.paths import completed
from finetop.tui.screens.chat.state import ChatState
from finetop.tui.screens.shared.run_actions import send
from finetop.tui.text import Line, cut_end
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.entry import Entry, entry_of
from finetop.tui.widgets.frame import Answer


def ask_where(screen: AppScreen[Any], state: ChatState, redraw: Callable[[], object]) -> None:
    """Ask where the chosen answer is kept."""
    host = host_of(screen)
    turn, answer = state.turn, state.answer
    if turn is None or answer is None or state.job_id is None:
        host.say("no answer to keep yet.")
        return
    if not answer.is_over or answer.error:
        host.say("this answer failed." if answer.error else "still answering: S stops it, then w keeps it.")
        return
    keep = KeepAnswer(state.run, state.job_id, turn.number, state.chosen)
    side = clean_line(state.sides[state.chosen].model.label)
    question: Line = (
        (f" Keep the answer of {cut_end(side, 24)}?", "bold"),
        (f"  {cut_end(clean_line(answer.text).strip(), 40)}", ""),
    )
    answers = (
        Answer("s", "as a sample of the run", lambda: screen.run_worker(send(host, keep))),
        Answer("t", "as a row of a test file", lambda: _ask_file(screen, state, keep, redraw)),
    )
    screen.bottom.ask(question, answers, leave="cancel")


def _ask_file(
    screen: AppScreen[Any], state: ChatState, keep: KeepAnswer, redraw: Callable[[], object]
) -> None:
    host = host_of(screen)
    is_here = files_are_here(host)
    name = keep.run.rpartition(":")[2]

    def fault(text: str) -> str:
        try:
            path = given_path(text)
        except BadInput as error:
            return clean_line(str(error))
        if path.suffix not in ENDINGS:
            return "a test file of JSON lines ends in .jsonl"
        return "" if is_here or path.is_absolute() else "a file on another machine needs its absolute path"

    def done(text: str, is_kept: bool) -> None:
        if is_kept:
            path = host.folder / given_path(text.strip()) if is_here else given_path(text.strip())
            _type_reference(state, replace(keep, to=str(path)))
            redraw()

    screen.bottom.ask_text(
        "add a row to",
        str(host.folder / f"{name}-test.jsonl") if is_here else "",
        done=done,
        fault=fault,
        keep="go on to its reference answer",
        leave="cancel",
        complete=(lambda text: completed(text, host.folder)) if is_here else None,
    )


def _type_reference(state: ChatState, keep: KeepAnswer) -> None:
    """Let the row's reference answer be edited on the prompt line: the expected one, else the answer."""
    turn = state.turn
    answer = None if turn is None else turn.answers.get(keep.side)
    if turn is None or answer is None:
        return
    state.keeping, state.is_typing = keep, True
    state.entry = entry_of(turn.expected or answer.text.strip())


def send_reference(screen: AppScreen[Any], state: ChatState) -> None:
    """Write the row, with the text on the prompt line as its reference."""
    host = host_of(screen)
    keep, text = state.keeping, state.entry.text.strip()
    if keep is None:
        return
    if not text:
        host.say("a row of a test file needs a reference answer.")
        return
    state.keeping, state.is_typing, state.entry = None, False, Entry()
    screen.run_worker(send(host, replace(keep, text=text)))
