"""Why a run waits, in words."""

from finetop.core.protocol.messages.limits import ordinal, tries_words
from finetop.core.protocol.runs import Queued
from finetop.core.wording.queue import priority_word, what_words, why

NOW = 1000.0


def test_why_a_run_waits():
    again = {"next_at": NOW + 240, "tries": tries_words(2, 3)}
    for state, text in (
        (Queued(1, "waits for the one job slot"), "waits for the one job slot"),
        (Queued(3, "held", held=True), "held"),
        (Queued(3, "paused at step 412", held=True, paused_at=412, next_at=NOW + 9), "paused at step 412"),
        (Queued(2, "killed by signal 9", **again), "2nd of 3 tries in 4 min: killed by signal 9"),
        (Queued(2, "waits for a slot", next_at=NOW, tries="2nd of 3 tries"), "waits for a slot"),
        (Queued(2, "\x1b[2Jout of room"), "out of room"),
    ):
        assert why(state, NOW) == text


def test_numbers_in_words():
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th",
    ]  # fmt: skip
    assert [priority_word(n) for n in (0, 5, 10, 20, 33)] == ["0", "high", "normal", "low", "33"]


def test_a_job_is_named_with_the_step_that_it_is_of():
    jobs = (("train", None), ("train", 1), ("check", 20), ("remedy", 20))
    assert [what_words(*job) for job in jobs] == ["train", "resume @1", "check @20", "remedy @20"]
