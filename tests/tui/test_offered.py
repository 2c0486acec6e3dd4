"""The next steps offered on each screen, pressed: the real requests refuse none of them."""

from __future__ import annotations

from typing import Any

import pytest
from run_states import make_all
from still import Still
from tui_fakes import pressed, settled

from finetop.core.protocol.request import Ask
from finetop.core.supervisor.requests import dispatch
from finetop.tui.app import FinetopApp
from finetop.tui.theme import Look
from finetop.tui.widgets.frame import Bottom, Question

ORDERS = ("f", "r", "s", "A", "E", "P", "R", "T")  # the others only show something or fill a form
SIZE = (80, 24)
IN_TRIAGE = ("regressed", "regressed-cleaned")
IN_REMEDIES = ("remedies-half-tried", "remedies-found")
ON_RUN = ("running-pretrain", "running-saved", "lost-not-resumable", "target-failed")
IN_RUNS = ("killed-unsaved", "lost", "paused", "check-held", "unchecked", "remedies-running")


class InProcess:
    """A connection to a supervisor in this process."""

    def __init__(self, still: Still) -> None:
        self._still = still

    async def ask(self, ask: Ask) -> Any:
        return await dispatch.answer(self._still.supervisor, ask)

    def close(self) -> None:
        pass


def offered(app: FinetopApp) -> list[str]:
    """Return the keys offered as next and alternative step."""
    bottom = app.screen.query_one(Bottom)
    return [line[1][0] for line in bottom.next if len(line) > 1 and line[0][0].strip() in ("next", "or")]


async def press(app: FinetopApp, pilot: Any, key: str) -> list[str]:
    """Press a key and the first answer to its question; return the refusals."""
    before = len(app.messages)
    await pressed(pilot, key)
    question = app.screen.query_one(Bottom).question
    if isinstance(question, Question):
        await pressed(pilot, question.answers[0].key)
    elif question is not None:
        await pilot.press("escape")
    return [message.text for message in app.messages[before:] if message.style == "red"]


@pytest.mark.slow
async def test_no_key_that_is_offered_leads_to_a_refusal(quiet: Still) -> None:
    make_all(quiet, *IN_TRIAGE, *IN_REMEDIES, *ON_RUN, *IN_RUNS)
    refused: dict[str, list[str]] = {}
    pressed = 0
    asker = InProcess(quiet)
    app = FinetopApp(
        quiet.home, connect=lambda home: asker, start=lambda home: None, machine="box", look=Look("16"),
        folder=quiet.home.root, pace_s=0.05,
    )  # fmt: skip
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        for opens, among in (
            (app.open_triage, IN_TRIAGE),
            (app.open_remedies, IN_REMEDIES),
            (app.open_run, ON_RUN),
            (app.show_runs, IN_RUNS),
        ):
            for name in among:
                opens(name)
                await settled(pilot)
                for key in dict.fromkeys(key for key in offered(app) if key in ORDERS):
                    if key not in offered(app):
                        continue  # earlier actions have changed what is offered
                    pressed += 1
                    if wrong := await press(app, pilot, key):
                        refused[f"{app.screen.title} {name} {key}"] = wrong
                app.show_runs()
                await settled(pilot)
    assert refused == {}
    assert pressed >= 6
