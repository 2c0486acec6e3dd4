"""A chat's state: the transcript as it comes, what waits to be sent, the history, scrolling, and the prompt's text."""

from __future__ import annotations

import pytest
from chat_fakes import SIDES, answer, at_hand, conversation, end, prompt, ready
from msgspec.structs import replace
from tui_fakes import NOW

from finetop.core.features.chat.messages import AskChat, ChatLine, ChatSettings, ChatSide, lost_item
from finetop.core.protocol.runs import Failed, Finished, Running
from finetop.tui.screens.chat import pane, prompt_entry
from finetop.tui.screens.chat.prompt_entry import press
from finetop.tui.screens.chat.state import ChatState
from finetop.tui.screens.chat.status import side_status
from finetop.tui.widgets.entry import Entry, entry_of

OPEN = Running(NOW - 10, "open")


def make_state(*lines: ChatLine) -> ChatState:
    state = ChatState("support")
    state.begin(41, SIDES, OPEN)
    state.feed(lines, NOW)
    return state


def typed(state: ChatState, text: str) -> None:
    state.entry = entry_of(text)


def shown(state: ChatState, at: int, width: int = 60, height: int = 12) -> list[str]:
    lines = pane.side_lines(state, at, width=width, height=height, now=NOW)
    return ["".join(text for text, _ in line) for line in lines]


def words(state: ChatState, at: int, now: float = NOW) -> str:
    return "".join(text for text, _ in side_status(state, at, now)[0])


def title(state: ChatState, width: int, now: float = NOW) -> str:
    return "".join(text for text, _ in pane.title_line(state, width, now))


def sent(state: ChatState, text: str) -> AskChat:
    """Type a prompt and send it."""
    typed(state, text)
    ask = state.to_send()
    assert ask is not None
    return ask


def test_each_side_has_its_answer_its_end_and_its_error() -> None:
    state = make_state(*conversation())
    assert [turn.prompt for turn in state.turns] == ["Where is my order?", "How do I return a parcel?"]
    assert state.turns[0].answers[1].text == "Ahoy! Your parcel sails today."
    assert state.is_answering and not state.turns[1].is_over
    assert words(state, 0) == "9 tokens in 0.56 s, first after 0.21 s, 16 tok/s"
    assert words(state, 1) == "● answering, 10 s"
    state.feed([ChatLine("error", NOW, 1, 2, "connection refused")], NOW)
    assert words(state, 1) == "✗ error" and words(state, 0).startswith("9 tokens"), "one side fails alone"
    assert not state.is_answering
    assert "✗ connection refused" in "\n".join(shown(state, 1))
    assert "✗" not in "\n".join(shown(state, 0))


def test_a_side_that_was_not_asked_shows_nothing_of_the_prompt() -> None:
    state = make_state(*ready(), ChatLine("prompt", NOW, number=1, text="only you", sides=[1]))
    assert "only you" in "\n".join(shown(state, 1)) and "only you" not in "\n".join(shown(state, 0))


@pytest.mark.parametrize(("lines", "side", "status"), [
    ([], 0, "● loading model, 3.1 of 8 GB"),
    (ready(), 0, "ready"),
    ([*ready(), prompt(1, "hi")], 0, "● reading the prompt"),
    ([*ready(), prompt(1, "hi"), *answer(0, 1, "so")], 1, "waiting for base"),
    ([*ready(), prompt(1, "hi"), *answer(0, 1, "so"), prompt(2, "ho")], 0, "waiting for the prompt before"),
])  # fmt: skip
def test_a_side_says_what_it_does(lines: list[ChatLine], side: int, status: str) -> None:
    state = make_state(*lines)
    if not lines:
        state.job = Running(NOW - 4, "loading model", 3.1, 8.0, "GB")
    assert words(state, side) == status


def test_an_endpoint_that_says_nothing_counts_from_when_it_was_its_turn() -> None:
    state = ChatState("support")
    state.begin(41, [SIDES[0], ChatSide("qwen", "endpoint", url="http://h/v1")], OPEN)
    state.feed([*ready(), prompt(1, "hi"), *answer(0, 1, "so")], NOW)
    assert words(state, 1, NOW + 9) == "waiting for base"
    state.feed([end(0, 1, 1)], NOW + 10)
    assert words(state, 1, NOW + 50) == "● waiting for the server, 40 s" and state.is_waiting
    state.feed([ChatLine("text", NOW + 51, 1, 1, "hello")], NOW + 51)
    assert words(state, 1, NOW + 52) == "● answering" and not state.is_waiting


def test_how_an_answer_ended_is_said_below_it() -> None:
    for why, said in (("length", " (cut at 2 tokens; s changes the limit)"), ("stopped", " (stopped)")):
        state = make_state(*ready(), prompt(1, "hi"), *answer(0, 1, "a b"), end(0, 1, 2, why=why))
        assert said in shown(state, 0)
    state = make_state(*ready(), prompt(1, "hi"), end(0, 1, 0))
    assert " (an empty answer)" in shown(state, 0)
    state.job = Finished(NOW - 9, NOW)
    assert " ■ the chat ended here" in shown(state, 1), "it was cut off"


def test_outside_text_is_harmless_and_a_long_line_whole() -> None:
    hostile = "\x1b[2Jred\x1b]0;title\x07 \u202eback"
    state = make_state(*ready(), prompt(1, hostile), *answer(0, 1, hostile), end(0, 1, 3))
    text = "\n".join(shown(state, 0))
    assert "\x1b" not in text and "title" not in text and "<202E>back" in text
    long = make_state(*ready(), prompt(1, "hi"), ChatLine("text", NOW, 0, 1, "word " * 4000 + "end"))
    assert shown(long, 0)[-1].rstrip().endswith("end"), "no line of an answer is cut"
    unbroken = make_state(*ready(), prompt(1, "hi"), ChatLine("text", NOW, 0, 1, "x" * 500))
    assert max(map(len, shown(unbroken, 0))) <= 60


def test_a_pane_follows_the_end_until_it_is_scrolled_and_again_at_its_end() -> None:
    state = make_state(*ready(), prompt(1, "hi"), ChatLine("text", NOW, 0, 1, "\n".join(map(str, range(40)))))
    size = {"width": 60, "height": 12}
    assert shown(state, 0)[-1] == " 39"
    assert pane.scrolled(state, 0, -5, **size)
    assert shown(state, 0)[-1] == " 34" and "of 41" in shown(state, 0)[0]
    state.feed([ChatLine("text", NOW, 0, 1, "\n40")], NOW)
    assert shown(state, 0)[-1] == " 34", "nothing moves under the reader"
    assert pane.scrolled(state, 0, 99, **size) and not pane.scrolled(state, 0, 1, **size)
    state.feed([ChatLine("text", NOW, 0, 1, "\n41")], NOW)
    assert shown(state, 0)[-1] == " 41"


def test_prompts_line_up_side_by_side() -> None:
    lines = [prompt(1, "hi"), *answer(0, 1, "word " * 60), end(0, 1, 60), *answer(1, 1, "a"), end(1, 1, 1)]
    state = make_state(*ready(), *lines, prompt(2, "second"))

    def row_of(at: int, width: int) -> int:
        texts = ["".join(text for text, _ in line) for line in pane.body_lines(state, at, width)]
        return next(row for row, text in enumerate(texts) if "> second" in text)

    assert row_of(0, 58) > row_of(1, 60)
    state.widths = (58, 60)
    assert row_of(0, 58) == row_of(1, 60)
    state.turn_at = 1
    assert pane.row_of_turn(state, 0, 58) == pane.row_of_turn(state, 1, 60) == row_of(0, 58)


def test_a_prompt_is_taken_off_the_line_once_and_waits_until_it_is_in_the_transcript() -> None:
    state = make_state(*conversation())
    typed(state, "  \n ")
    assert state.to_send() is None
    state.settings = ChatSettings(system="Be brief.", temperature=0.7)
    ask = sent(state, "Third?")
    assert (ask.number, ask.job, ask.text, ask.fresh) == (3, 41, "Third?", False)
    assert ask.settings.system == "Be brief." and state.entry == Entry()
    assert " sending …" in shown(state, 0)
    state.accepted.add(3)
    assert " waiting" in shown(state, 0)
    state.feed([prompt(3, "Third?")], NOW)
    assert not state.unsent and state.turns[-1].prompt == "Third?"


def test_prompts_that_wait_go_to_the_next_chat_of_the_screen() -> None:
    state = ChatState("support")
    for text in ("first", "second"):
        sent(state, text)
    state.begin(41, SIDES)
    assert [(ask.job, ask.number, ask.text) for ask in state.unsent] == [(41, 1, "first"), (41, 2, "second")]
    state.accepted.add(1)
    state.begin(42, SIDES)
    assert [(ask.job, ask.number) for ask in state.unsent] == [(42, 1), (42, 2)] and not state.accepted


def test_a_prompt_at_hand_begins_a_conversation_with_its_system_prompt_and_shows_what_is_expected() -> None:
    state = make_state(*conversation())
    state.settings = ChatSettings(system="Be brief.")
    recipe, _, row, item = at_hand()
    state.at_hand = recipe
    ask = sent(state, recipe.text)
    assert ask.fresh and ask.settings.system == "You are a helpful pirate."
    ask = sent(state, "And now?")
    assert not ask.fresh and ask.settings.system == "You are a helpful pirate.", "goes on"
    state.at_hand = item
    ask = sent(state, item.text)
    assert ask.settings.raw and ask.settings.system == "", "an item is put as it is"
    assert ask.settings.max_new_tokens == 64
    ask = sent(state, "And now?")
    assert ask.fresh and ask.settings.system == "Be brief.", "an item has no second turn"
    state.at_hand = row
    ask = sent(state, row.text)
    assert ask.settings.system == "Be brief."
    state.feed([prompt(ask.number, ask.text, fresh=True)], NOW)
    text = "\n".join(shown(state, 0, height=40))
    assert "new conversation" in text and "expected  Aye, in five days." in text


ITEM = lost_item("arith", "17", "Q: What is 47 + 38?\nA:", "85", 4)


def head(state: ChatState, width: int = 120) -> str:
    return "".join(text for text, _ in pane.settings_line(state, width)).strip()


def test_the_head_says_what_the_prompt_on_the_line_is_sent_with() -> None:
    state = make_state(*conversation())
    assert head(state) == "temperature 0, greedy, at most 512 tokens   no system prompt"
    state.begin(42, SIDES, OPEN, trained_system="You are a pirate.")
    assert head(state).endswith("system, as in training  You are a pirate.")
    assert sent(state, "Hi").settings.system is None, "the supervisor fills in the same"
    state.at_hand = at_hand()[0]
    assert head(state).endswith("system  You are a helpful pirate.")
    assert sent(state, "Hi").settings.system == "You are a helpful pirate."
    state.at_hand = ITEM
    assert head(state).endswith("at most 64 tokens   no template, no system prompt")
    state.at_hand, state.settings = None, ChatSettings(system="", first=1)
    state.is_fresh = True
    assert head(state).endswith("512 tokens, tuned first   no system prompt (trained with one)")


def test_a_turn_says_what_it_was_sent_with_where_the_head_says_something_else() -> None:
    state = make_state(*ready())
    state.trained_system, state.picked = "You are a pirate.", {2: ITEM}
    raw = ChatSettings(system="", raw=True, max_new_tokens=64)
    for number, settings in enumerate(
        (ChatSettings(system="You are a pirate."), raw, ChatSettings(system="")), 1
    ):
        state.feed([replace(prompt(number, "hi", fresh=True), settings=settings)], NOW)
        state.feed([end(0, number, 64, why="length")], NOW)
    text = " ".join(" ".join(shown(state, 0, 100, 60)).split())
    assert "You are a pirate." not in text, "it is what the head shows"
    assert "sent as the check sent it: no chat template" in text
    assert "the check compared how likely each of 4 answers is; here the model writes its own" in text
    assert "(cut at 64 tokens; items of a check end there)" in text
    assert text.count("no system prompt (trained with one)") == 1


def test_a_failure_fills_the_empty_pane() -> None:
    state = make_state()
    cause = "the checkpoint step-1200 can't be used: 'model.safetensors' is missing, which was there at first"
    state.job = Failed(NOW, cause, hint="Pick another checkpoint.")
    text = " ".join(" ".join(shown(state, 0)[1:]).split())
    assert text == f"✗ {cause} Pick another checkpoint."


def test_s_ends_the_chosen_side_then_the_other() -> None:
    state = make_state(*ready(), prompt(1, "hi"), *answer(0, 1, "so"))
    state.chosen = 0
    assert state.side_to_stop == 0
    state.feed([end(0, 1, 1, why="stopped")], NOW)
    assert state.is_answering and state.side_to_stop == 1


def test_up_and_down_go_through_lines_and_then_earlier_prompts() -> None:
    state = make_state(*conversation())
    assert press(state, "down", None) == "no later prompt."
    typed(state, "draft\nof two lines")
    assert not press(state, "up", None) and state.entry.at == 5
    for expected in ("How do I return a parcel?", "Where is my order?"):
        assert not press(state, "up", None) and state.entry.text == expected
    assert press(state, "up", None) == "no earlier prompt."
    press(state, "down", None)
    press(state, "down", None)
    assert state.entry.text == "draft\nof two lines"


def test_a_paste_keeps_its_lines_and_loses_control_sequences() -> None:
    entry = prompt_entry.inserted(Entry("ab", 1), "one\r\ntwo\t\x1b[31mred\x1b[0m")
    assert entry == Entry("aone\ntwo    redb", 15)
    entry = prompt_entry.typed(entry, "home", None) or entry
    assert entry.at == 5
    assert prompt_entry.typed(entry, "ctrl+k", None) == Entry("aone\n", 5)
    assert prompt_entry.typed(Entry("ab", 1), "ctrl+j", None) == Entry("a\nb", 2)
    lines = prompt_entry.drawn(Entry("one\ntwo\n" + "x" * 25, 20), 11, 3)
    assert ["".join(text for text, _ in line) for line in lines] == ["two", "x" * 10, "x" * 10]
    assert ("x", "reverse") in lines[2]
    rows = prompt_entry.drawn(Entry("the quick brown fox", 0), 11, 3)
    assert ["".join(text for text, _ in row) for row in rows] == ["the quick ", "brown fox"]
    assert prompt_entry.drawn(Entry("", 0), 10, 3) == [(("", ""), (" ", "reverse"), ("", ""))]


def test_what_a_job_says_of_a_side_stands_in_its_pane() -> None:
    state = make_state(ChatLine("notice", NOW, side=1, text="step 12 answers"))
    assert [side.notice for side in state.sides] == ["", "step 12 answers"] and state.notice == ""


def test_a_countdown_goes_by_one_clock() -> None:
    ahead, notice = NOW + 3600, "demo needs the GPU: this chat makes room."
    state = make_state(ChatLine("notice", ahead, text=notice, ends_at=ahead + 48))
    assert "! demo needs the GPU: this chat ends in 48 s" in title(state, 100)
    assert "ends in 30 s" in title(state, 100, NOW + 18)
    assert "this chat ends in 48 s" in title(state, 60), "first of all"
    state.feed([ChatLine("notice", ahead, text="the run found another GPU")], NOW)
    assert "ends in" not in title(state, 100)


def test_what_a_side_s_reader_must_know_stands_above_its_turns_which_stay_beside_the_other_s() -> None:
    state = ChatState("support")
    state.begin(41, SIDES, OPEN, notices=["", "the weights of support@1200 changed since they were checked."])
    state.feed(conversation(), NOW)
    state.widths = (40, 40)
    base, tuned = shown(state, 0, 40, 30), shown(state, 1, 40, 30)
    assert (
        " ".join(line.strip() for line in tuned[1:3])
        == "! the weights of support@1200 changed since they were checked."
    )
    assert base[1:3] == ["", ""]
    first = "Where is my order?"
    assert [next(at for at, line in enumerate(lines) if first in line) for lines in (base, tuned)] == [3, 3]
