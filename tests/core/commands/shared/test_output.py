"""How commands print: tables that fit a terminal, and colours only on a terminal that has them."""

import io
import sys

from typed import refuses

from finetop.core.commands.shared.output import print_table
from finetop.core.text import SafeWriter


class Terminal(io.StringIO):
    def isatty(self):
        return True


ROWS = [("a-run-with-a-name-that-is-long-s1", "1,200", "REGRESSED -9.1"), ("b", "20", "ok \x1b[31mevil")]


def printed(monkeypatch, out, **environment):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", SafeWriter(out))
    print_table(("run", "step", "did it forget?"), ROWS, right=(1,))
    return out.getvalue()


def test_a_table_fits_the_terminal_names_are_cut_in_their_middle_and_verdicts_have_a_colour(monkeypatch):
    text = printed(monkeypatch, Terminal())
    assert "\x1b[31mREGRESSED -9.1\x1b[0m" in text
    assert "\x1b[32mok evil" in text, "what others wrote has no colour of its own"
    plain = printed(monkeypatch, Terminal(), NO_COLOR="1")
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 40
    assert "…" in plain and "long-s1" in plain and "1,200" in plain
    piped = printed(monkeypatch, io.StringIO())  # all of it, without colours
    assert "\x1b" not in piped and ROWS[0][0] in piped


def test_help_is_in_groups_and_a_word_that_is_like_no_command_is_sent_there(command):
    code, out, _ = command("--help")
    lines = out.splitlines()
    assert code == 0
    assert lines.index("run") < lines.index("watch") < lines.index("check") < lines.index("maintenance")
    assert max(map(len, lines[6:-2])) <= 80
    refuses(command, {"foo": "finetop --help"})


def test_in_a_pipe_a_column_of_words_can_be_capped(capsys):
    rows = [("a" * 30, "1" * 30, "FAILED " + "why " * 30), ("b", "2", "ok")]
    print_table(("run", "step", "state"), rows, right=(1,), widest=20)
    _, first, second = capsys.readouterr().out.splitlines()
    assert first == f"{'a' * 10}…{'a' * 9}  {'1' * 30}  FAILED why why why …"
    assert second == f"{'b':<20}  {'2':>30}  ok"
