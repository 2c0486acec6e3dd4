"""Event lines: written lines can be read; torn, duplicate and unknown ones do no harm."""

import math
import os

import msgspec
import pytest
from hypothesis import given, strategies as st

from finetop.core.protocol import events
from finetop.core.runtime import event_log


def lines(path):
    return [events.decode(line) for line in path.read_bytes().splitlines() if line]


def test_numbers_go_on_after_a_restart_and_after_a_torn_line(tmp_path):
    path = tmp_path / "events.jsonl"
    log = event_log.EventLog(path)
    for step in range(3):
        log.write(events.metrics(step, {"loss": 1.0}))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"n":4,"t":1.0,"e":{"type":"met')
    again = event_log.EventLog(path)
    again.write(events.Ended("finished"))
    again.close()
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
    monkeypatch.setattr(
        os, "write", lambda descriptor, data: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    log.write(events.metrics(3, {"loss": 1.0}))
    monkeypatch.setattr(os, "write", real)
    log.write(events.metrics(4, {"loss": 1.0}))
    assert log.lost == 2
    read = []
    for line in path.read_bytes().splitlines():
        try:
            read.append(events.decode(line).e.step)
        except msgspec.DecodeError:
            continue
    assert read == [1, 4]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_decode_error(raw):
    try:
        events.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
