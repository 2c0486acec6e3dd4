"""A log in a terminal: whole lines, progress bars now and then, an endless line in bounded memory."""

from finetop.core.commands.tail import OPEN_S, LogLines, from_line
from finetop.core.protocol.messages.runs import LogAnswer


class Clock:
    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


def piece(text, gap=0):
    return LogAnswer(1, text, 0, 0, gap)


def test_lines_are_printed_when_they_have_ended():
    lines = LogLines(Clock())
    assert lines.feed(piece("one\ntw")) == "one\n"
    assert lines.feed(piece("o\nthr")) == "two\n"
    assert lines.end() == "thr\n"
    assert lines.end() == ""
    assert from_line(piece("f a line\nnext\nla")).text == "next\nla"  # a log begins with a whole line
    assert from_line(piece("\nnext\n")).text == "next\n"
    assert from_line(piece("one line that never ends")).text == "one line that never ends"


def test_a_progress_bar_is_shown_now_and_then_and_whole_at_its_end():
    clock = Clock()
    lines = LogLines(clock)
    shown = []
    for at in range(1, 101):
        clock.at += 0.5
        shown += lines.feed(piece(f"\r{at}%")).splitlines()
    assert len(shown) == 50 / OPEN_S
    assert shown[0] == "10%" and shown[-1] == "100%"
    assert lines.feed(piece("\ndone\n")) == "100%\ndone\n"
    # A state that does not change is shown once.
    lines.feed(piece("loading"))
    clock.at += OPEN_S
    assert lines.feed(piece("")) == "loading\n"
    clock.at += OPEN_S
    assert lines.feed(piece("")) == ""
    assert lines.end() == ""


def test_a_line_of_any_length_takes_no_memory_and_is_cut():
    lines = LogLines(Clock())
    for _ in range(200):
        assert lines.feed(piece("x" * 65536)) == ""
        assert len(lines._open) <= 8192
    shown = lines.feed(piece("\nnext\n"))
    assert shown.endswith("…\nnext\n") and len(shown) < 4200


def test_what_is_not_kept_is_said_between_the_lines():
    lines = LogLines(Clock())
    assert lines.feed(piece("first\ncut he")) == "first\n"
    shown = lines.feed(piece("re is the end\nlast\n", gap=1_234_500_000))
    wanted = ["cut he", "… 1,234.5 MB of this log are not kept: it grew too long …", "re is the end", "last"]
    assert shown.splitlines() == wanted
