"""Reads in a thread: one at a time, and nobody waits for one that hangs."""

import threading

import pytest
from waiting import wait_until

from finetop.core.external import looks
from finetop.core.external.looks import Looks


def test_a_look_that_hangs_is_left(monkeypatch):
    monkeypatch.setattr(looks, "APART_S", 0.0)
    monkeypatch.setattr(looks, "LEFT_S", 0.05)
    hangs, seen = threading.Event(), []

    def read(is_last: bool) -> None:
        seen.append(is_last)
        hangs.wait()

    looking = Looks(read)
    looking.look()
    wait_until(lambda: seen, "the first look")
    looking.look()
    assert not looking.look_at_last()
    assert seen == [False]  # a second one is not begun beside it
    hangs.set()
    monkeypatch.setattr(looks, "LEFT_S", 60.0)
    assert looking.look_at_last()
    assert seen == [False, True]


def test_an_error_of_a_look_is_raised_where_the_program_is_watched(monkeypatch):
    def read(is_last: bool) -> None:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        Looks(read).look_at_last()
