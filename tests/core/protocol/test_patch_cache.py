"""Answers over a slow link: first whole, then patches; whole again once one end has dropped an answer."""

import msgspec
import pytest
from tui_fakes import make_row

from finetop.core.client import connection
from finetop.core.errors import NoSupervisor
from finetop.core.protocol import wire
from finetop.core.protocol.messages.runs import Runs, RunsAnswer
from finetop.core.protocol.patch_cache import FEW, HeldAnswers, SentAnswers
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Running


def answer(loss: float, count: int = 60) -> RunsAnswer:
    losses = {7: loss}
    rows = [make_row(n, f"run-{n}", Running(1.0), metrics={"loss": losses.get(n, 1.0)}) for n in range(count)]
    return RunsAnswer(rows, count, count, 0, {"train": count}, 0, 12)


class Line:
    """Both ends of a connection, and the bytes between them."""

    def __init__(self) -> None:
        self.held, self.sent = HeldAnswers(), SentAnswers()
        self.number = 0
        self.bytes = 0

    def ask(self, ask: Ask, answer: RunsAnswer) -> RunsAnswer:
        self.number += 1
        envelope = wire.envelope_decoder.decode(connection.encode(self.number, ask, self.held))
        line = wire.encoder.encode(self.sent.reply(envelope, ask, wire.encoder.encode(answer)))
        self.bytes = len(line)
        return connection.decode(line, ask, self.held)


def test_the_second_answer_is_what_has_changed():
    line = Line()
    assert line.ask(Runs(), answer(1.5)) == answer(1.5)
    whole = line.bytes
    assert line.ask(Runs(), answer(0.25)) == answer(0.25)
    assert line.bytes < 120 < whole / 100
    assert line.ask(Runs(), answer(0.25)) == answer(0.25)
    assert line.bytes < 30


def test_another_question_or_a_list_that_is_all_new_is_answered_whole():
    line = Line()
    line.ask(Runs(), answer(1.5))
    assert line.ask(Runs(filter="run-7"), answer(0.25, 20)) == answer(0.25, 20)
    assert line.bytes > 2000
    rows = answer(1.5).rows[::-1]
    moved = msgspec.structs.replace(answer(1.5), rows=rows)  # the patch would be longer than the answer
    assert line.ask(Runs(), moved) == moved


@pytest.mark.parametrize("end", ["held", "sent"])
def test_an_end_that_has_let_go_gets_or_gives_the_whole(end):
    line = Line()
    line.ask(Runs(), answer(1.5))
    setattr(line, end, {"held": HeldAnswers, "sent": SentAnswers}[end]())
    assert line.ask(Runs(), answer(0.25)) == answer(0.25)
    assert line.bytes > 5000
    line.ask(Runs(), answer(0.125))
    assert line.bytes < 120


def test_many_questions_are_held_in_bounded_memory():
    line = Line()
    for offset in range(50):
        line.ask(Runs(offset=offset), answer(float(offset)))
    for held in (line.held._answers, line.sent._answers):
        assert [len(of_verb) for of_verb in held.values()] == [FEW]


def test_a_client_that_holds_nothing_is_answered_whole():
    ask = Runs()
    plain = wire.envelope_decoder.decode(connection.encode(1, ask))
    assert plain.held is None
    assert set(SentAnswers().reply(plain, ask, wire.encoder.encode(answer(1.5)))) == {"id", "answer"}
    assert b"held" not in connection.encode(1, ask)


def test_a_patch_of_what_is_not_held_is_refused_and_forgotten():
    line = Line()
    line.ask(Runs(), answer(1.5))
    with pytest.raises(NoSupervisor, match="can't be read"):
        connection.decode(b'{"id": 2, "patch": {"a": {"900": {"=": 1}}}}', Runs(), line.held)
    assert line.held.number(Runs()) == 0
