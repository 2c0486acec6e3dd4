"""The Chat screen by its keys: prompts, settings, models, keeping, ends, a dropped link, and its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from chat_fakes import (
    LOADING,
    RUN,
    SIDES,
    WAITING,
    ChattingSupervisor,
    answer,
    chat_job,
    conversation,
    end,
    prompt,
    ready,
)
from remedy_fakes import MendingSupervisor, after
from textual import events
from triage_fakes import FakeTriage, make_store
from tui_fakes import (
    NOW,
    FakeSupervisor,
    asked,
    make_app,
    mixed_rows,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
)

from finetop.core.features.chat.messages import (
    AskChat,
    ChatLine,
    ChatSettings,
    ChatSide,
    CloseChat,
    KeepAnswer,
    OpenChat,
    StopAnswers,
)
from finetop.core.protocol.runs import Failed, Finished, JobRow, Running
from finetop.tui.screens.chat.screen import ChatScreen
from finetop.tui.screens.chat.state import BASE
from finetop.tui.screens.runs.screen import RunsScreen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPEN = Running(NOW - 10, "open")


def talking(*left_open: JobRow) -> ChattingSupervisor:
    fake = ChattingSupervisor(OPEN, [*left_open])
    fake.write(*conversation())
    return fake


async def opened(pilot: Any, *keys: str) -> ChatScreen:
    """Open a chat with the run under the cursor of Runs."""
    await pressed(pilot, "C", within_s=0.05)
    screen = pilot.app.screen
    assert isinstance(screen, ChatScreen)
    await pressed(pilot, *keys)
    return screen


async def test_a_prompt_is_sent_to_both_and_the_answers_stream() -> None:
    fake = ChattingSupervisor(LOADING)
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        assert "● loading model" in text_of(app) and "You can type already" in text_of(app)
        await pressed(pilot, "enter")
        assert "nothing to send: type a prompt first." in text_of(app)
        await pressed(pilot, *"What now", "question_mark", "ctrl+j", *"1 or 2", "enter")
        (ask,) = asked(fake, AskChat)
        assert (ask.job, ask.number, ask.text) == (41, 1, "What now?\n1 or 2")
        fake.write(*ready(), prompt(1, ask.text), *answer(0, 1, "I think so."), job=OPEN)
        await settled(pilot, 0.1)
        assert "I think so." in text_of(app) and "waiting for base" in row_with(app, "▸ tuned")
        fake.write(end(0, 1, 4), *answer(1, 1, "Aye!"), end(1, 1, 2))
        await settled(pilot, 0.1)
        assert "4 tokens in 0.25 s" in row_with(app, "── base") and "Aye!" in text_of(app)
        app.screen.post_message(events.Paste("one\ntwo\x1b[2J"))
        await pressed(pilot, "enter")
        assert asked(fake, AskChat)[-1].text == "one\ntwo"


async def test_a_command_on_the_prompt_line_goes_to_no_model() -> None:
    fake = talking()
    async with shown_app(make_app(fake)) as (app, pilot):
        screen = await opened(pilot, "slash", *"hepl", "enter")
        assert "there is no command /hepl: /new begins a new conversation" in text_of(app)
        await pressed(pilot, "ctrl+u", "slash", *"new", "enter")
        assert screen.state.is_fresh and screen.state.entry.text == ""
        await pressed(pilot, *" ", "slash", *"new", "enter")
        assert [ask.text for ask in asked(fake, AskChat)] == [" /new"]
        await pressed(pilot, "slash", *"quit", "enter")
        await settled(pilot, 0.1)
        assert isinstance(app.screen, RunsScreen)
    assert [close.job for close in asked(fake, CloseChat)] == [41]


STEP = ChatSide("step 1,200", "checkpoint", step=1200)
REMEDY = ChatSide("half-way to the base", "checkpoint", step=1200, remedy="interpolate-0.5")


@pytest.mark.parametrize(("fake", "keys", "model", "at_hand"), [
    (lambda folder: FakeSupervisor(mixed_rows()), ["C"], None, ""),
    (lambda folder: MendingSupervisor(after()), ["r", "j", "j", "C"], REMEDY, ""),
    (lambda folder: FakeTriage(make_store(folder)), ["2", "C"], STEP, ""),
    (lambda folder: FakeTriage(make_store(folder)), ["2", "right", "right", "enter", "C"], STEP, "knowledge item"),
], ids=["runs", "remedies", "triage", "item"])  # fmt: skip
async def test_the_key_opens_the_model_under_the_cursor(
    tmp_path: Path, fake: Callable[[Path], Any], keys: list[str], model: ChatSide | None, at_hand: str
) -> None:
    async with shown_app(make_app(fake(tmp_path), tmp_path)) as (app, pilot):
        for key in keys:
            await pressed(pilot, key, within_s=0.1)
        assert isinstance(app.screen, ChatScreen)
        assert app.screen._models == ([] if model is None else [BASE, model])
        if at_hand:
            assert app.screen.state.at_hand is not None and app.screen.state.at_hand.raw
            assert app.screen.state.at_hand.label.startswith(at_hand)
            assert app.screen.state.at_hand.text in app.screen.state.entry.text


async def test_leaving_ends_the_chat_whichever_way() -> None:
    for keys in (["escape", "escape"], ["escape", "1"], ["escape", "q"]):
        fake = talking()
        async with shown_app(make_app(fake)) as (app, pilot):
            await opened(pilot, *keys)
            if keys[-1] != "q":
                await settled(pilot, 0.1)
                assert isinstance(app.screen, RunsScreen)
        assert [close.job for close in asked(fake, CloseChat)] == [41], keys


async def test_one_that_was_left_open_is_offered_and_taken_up_or_replaced() -> None:
    fake = talking(chat_job())
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        assert "A chat with this run is still open (job 31 since 14:07)." in text_of(app)
        assert not asked(fake, OpenChat)
        await pressed(pilot, "enter", within_s=0.1)
        assert "Ahoy! Your parcel sails today." in text_of(app) and not asked(fake, OpenChat)
        await pressed(pilot, *"go on", "enter")
        assert [(ask.job, ask.number) for ask in asked(fake, AskChat)] == [(31, 3)]
    fake = ChattingSupervisor(OPEN, [chat_job()])
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot, "n")
        await settled(pilot, 0.1)
        assert [close.job for close in asked(fake, CloseChat)] == [31]
        assert len(asked(fake, OpenChat)) == 1


async def test_the_command_opens_the_app_in_its_chat_with_its_settings() -> None:
    fake = talking(chat_job())
    app = make_app(fake)
    app._first_run, app._first_chat = RUN, ChatSettings(temperature=0.7, system="Be brief.")
    async with shown_app(app) as (_, pilot):
        await settled(pilot, 0.1)
        assert "Ahoy! Your parcel sails today." in text_of(app) and "temperature 0.7" in text_of(app)
        assert not asked(fake, OpenChat)


async def test_the_other_keys_of_a_conversation() -> None:
    fake = talking()
    async with shown_app(make_app(fake)) as (app, pilot):
        screen = await opened(pilot, "escape")
        assert "▸> How do I return a parcel?" in text_of(app)
        await pressed(pilot, "w")
        assert "still answering" in text_of(app)
        await pressed(pilot, "tab", "w")
        assert "Keep the answer of base?  You can return it within 30 days." in text_of(app)
        await pressed(pilot, "s")
        assert asked(fake, KeepAnswer) == [KeepAnswer(RUN, 41, 2, 0)]
        assert "kept as a sample of support-full-1e-4." in text_of(app)
        await pressed(pilot, "tab", "left_square_bracket", "w", "t")
        assert f"add a row to /nowhere/{RUN}-test.jsonl" in text_of(app)
        await pressed(pilot, "enter")
        assert f"reference answer for /nowhere/{RUN}-test.jsonl" in text_of(app)
        await pressed(pilot, *" Yo!", "enter")
        row = asked(fake, KeepAnswer)[-1]
        assert (row.to, row.number, row.side) == (f"/nowhere/{RUN}-test.jsonl", 1, 1)
        assert row.text == "Ahoy! Your parcel sails today. Yo!"
        await pressed(pilot, "S")
        assert len(asked(fake, StopAnswers)) == 1
        await pressed(pilot, "z")
        assert "── base" not in text_of(app) and "tuned" in text_of(app)
        await pressed(pilot, "escape", "n", *"again", "enter")
        assert asked(fake, AskChat)[-1].fresh and not screen.state.is_fresh


async def test_settings_are_those_of_the_next_prompt() -> None:
    fake = talking()
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot, "escape", "s", "enter", *"Be brief.", "enter")
        await pressed(pilot, "j", "enter", "ctrl+u", *"9", "enter")
        assert "temperature must be a number from 0 to 5, not '9'" in text_of(app)
        await pressed(pilot, "ctrl+u", *"0.7", "enter", "G", "k", "enter", "escape")
        assert "temperature 0.7, seed 1, at most 512 tokens   no template, no system prompt" in text_of(app)
        await pressed(pilot, "i", *"hi", "enter")
        wanted = ChatSettings(system="Be brief.", temperature=0.7, raw=True)
        assert asked(fake, AskChat)[-1].settings == wanted


async def test_a_prompt_at_hand_goes_onto_the_line_with_its_answer_beside_it() -> None:
    fake = talking()
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot, "escape", "p")
        assert "85" in row_with(app, "arith item 17") and "rows of the test file" in text_of(app)
        await pressed(pilot, "slash", *"malta", "enter", "enter")
        assert "prompt: row 2, new conversation" in text_of(app)
        await pressed(pilot, "enter")
        (ask,) = asked(fake, AskChat)
        assert ask.text == "Do you ship to Malta?" and ask.fresh
        fake.write(prompt(3, ask.text, fresh=True))
        await settled(pilot, 0.1)
        assert "expected  Aye, in five days." in text_of(app)
        fake.prompts = []
        await pressed(pilot, "escape", "p")
        assert "none: the recipe names no prompts or test file" in text_of(app)


async def test_another_model_on_a_side_opens_another_chat() -> None:
    fake = talking()
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot, "escape", "m")
        assert "checkpoint" in row_with(app, "step 400")
        await pressed(pilot, *"r16", "enter", within_s=0.1)
        (first, second) = asked(fake, OpenChat)
        assert first.sides == [] and [close.job for close in asked(fake, CloseChat)] == [41]
        assert second.sides == [SIDES[0], ChatSide("support-r16", "checkpoint", run="support-r16")]
        fake.write(job=OPEN)
        await pressed(pilot, "escape", "m", *"nothing like it", "enter")
        assert "no such model" in text_of(app)


async def test_one_that_waits_for_a_gpu_says_why_and_can_take_the_cpu() -> None:
    fake = ChattingSupervisor(WAITING)
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot, *"hi", "enter", "escape")
        assert "○ 2nd in the queue, GPU 0 is support-r16's" in text_of(app)
        assert "o  answer on the CPU instead" in text_of(app)
        await pressed(pilot, "o", within_s=0.1)
        assert [ask.on_cpu for ask in asked(fake, OpenChat)] == [False, True]
        put = [(ask.job, ask.number) for ask in asked(fake, AskChat)]
        assert put == [(41, 1), (42, 1)], "what waits goes along"


async def test_the_end_of_the_job_and_a_refusal_say_what_to_do() -> None:
    fake = talking()
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        fake.write(job=Failed(NOW, "out of memory", "Take the CPU."))
        await settled(pilot, 0.1)
        assert "✗ failed: out of memory" in text_of(app) and "■ the chat ended here" in text_of(app)
        assert "R  open the chat again" in text_of(app)
        await pressed(pilot, "i")
        assert "the chat has ended: R opens it again." in text_of(app)
        fake.lines, fake.job = [], LOADING
        await pressed(pilot, "R", within_s=0.1)
        assert len(asked(fake, OpenChat)) == 2

    refusing = ChattingSupervisor()
    refusing.refusal = lambda ask: "this run has no checkpoint." if isinstance(ask, OpenChat) else ""
    async with shown_app(make_app(refusing)) as (app, pilot):
        await opened(pilot)
        assert "this run has no checkpoint." in text_of(app)
        await pressed(pilot, "escape")
        assert isinstance(app.screen, RunsScreen)


async def test_a_refused_prompt_is_back_on_the_line_unless_its_number_was_taken() -> None:
    def put_before(least: int) -> Callable[[Any], str]:
        return lambda ask: "it was put before." if isinstance(ask, AskChat) and ask.number < least else ""

    fake = ChattingSupervisor(OPEN)
    fake.refusal = put_before(3)
    async with shown_app(make_app(fake)) as (app, pilot):
        screen = await opened(pilot, *"hello", "enter")
        assert [(ask.number, ask.text) for ask in asked(fake, AskChat)] == [(3, "hello")], "of another client"
        fake.refusal = put_before(99)
        await pressed(pilot, *"again", "enter")
        assert screen.state.entry.text == "again" and [ask.text for ask in screen.state.unsent] == ["hello"]
        assert "was put before." in text_of(app)


async def test_a_dropped_link_loses_nothing() -> None:
    fake = ChattingSupervisor(OPEN)
    fake.write(*ready(), prompt(1, "hi"), *answer(0, 1, "one two"))
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        fake.leave()
        await settled(pilot, 0.1)
        assert "! reconnecting" in text_of(app) and "one two" in text_of(app)
        await pressed(pilot, *"and R", "enter")
        assert "not sent yet: no connection" in text_of(app) and not asked(fake, AskChat)
        fake.lines += [*answer(0, 1, " three"), end(0, 1, 3)]  # it went on meanwhile
        fake.is_gone = False
        await settled(pilot, 0.2)
        assert "one two three" in text_of(app) and "reconnecting" not in text_of(app)
        assert [ask.text for ask in asked(fake, AskChat)] == ["and R"]


async def test_who_is_away_for_long_holds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ChattingSupervisor(OPEN)
    fake.write(*ready())
    async with shown_app(make_app(fake)) as (app, pilot):
        screen = await opened(pilot)
        monkeypatch.setattr("finetop.tui.screens.chat.screen.AWAY_S", -1.0)
        fake.write(ChatLine("notice", NOW, text="still here"))
        await settled(pilot, 0.1)
        reads = fake.reads
        assert screen.state.is_asleep and "paused" in text_of(app)
        ended = Finished(NOW - 9, NOW, "nobody read for ten minutes")
        fake.write(ChatLine("notice", NOW, text="more"), job=ended)
        await settled(pilot, 0.1)
        assert fake.reads == reads
        monkeypatch.setattr("finetop.tui.screens.chat.screen.AWAY_S", 600.0)
        await pressed(pilot, "x", within_s=0.1)
        assert "■ nobody read for ten minutes" in text_of(app)


STATES: dict[str, tuple[Callable[[], ChattingSupervisor], list[str]]] = {
    "answering": (talking, []),
    "reading": (talking, ["escape"]),
    "waiting": (lambda: ChattingSupervisor(WAITING), ["escape"]),
    "left": (lambda: ChattingSupervisor(OPEN, [chat_job()]), []),
    "prompts": (talking, ["escape", "p", "G"]),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("state", STATES)
def test_picture(snap_compare: Callable[..., bool], size: tuple[int, int], state: str) -> None:
    make, keys = STATES[state]

    async def press(pilot: Any) -> None:
        await settled(pilot)
        await pressed(pilot, "C", within_s=0.1)
        await pressed(pilot, *keys)

    assert snap_compare(make_app(make()), terminal_size=size, run_before=press)
