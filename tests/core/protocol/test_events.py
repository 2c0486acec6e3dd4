"""Event lines: written lines can be read; torn, duplicate and unknown ones do no harm."""

import contextlib
import math
import os

import msgspec
import pytest
from hypothesis import given, strategies as st
from store_rows import write

from finetop.core.protocol import events
from finetop.core.runtime import event_log


def test_numbers_go_on_after_a_restart_and_after_a_torn_line(tmp_path):
    path = write(tmp_path / "events.jsonl", *(events.metrics(step, {"loss": 1.0}) for step in range(3)))
    with path.open("ab") as file:
        file.write(b'{"n":4,"t":1.0,"e":{"type":"met')
    write(path, events.Ended("finished"))
    whole = path.read_bytes().splitlines()
    assert len(whole) == 5
    assert events.decode(whole[-1]).n == 4
    with pytest.raises(msgspec.DecodeError):
        events.decode(whole[3])


def test_values_that_are_not_finite_are_null_and_named():
    event = events.metrics(3, {"loss": math.nan, "grad_norm": math.inf, "lr": 0.1})
    line = events.Line(1, 0.0, event)
    read = events.decode(msgspec.json.encode(line)).e
    assert read.values == {"loss": None, "grad_norm": None, "lr": 0.1}
    assert read.bad == {"loss": "nan", "grad_norm": "inf"}


def test_a_full_disk_costs_lines_and_never_an_exception(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    log = event_log.EventLog(path)
    log.write(events.metrics(1, {"loss": 1.0}))
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:10]))
    log.write(events.metrics(2, {"loss": 1.0}))

    def refuse(descriptor, data):
        raise OSError(28, "No space left")

    monkeypatch.setattr(os, "write", refuse)
    log.write(events.metrics(3, {"loss": 1.0}))
    monkeypatch.setattr(os, "write", real)
    log.write(events.metrics(4, {"loss": 1.0}))
    assert log.lost == 2
    read = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            read.append(events.decode(line).e.step)
    assert read == [1, 4]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_decode_error(raw):
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        events.decode(raw)
