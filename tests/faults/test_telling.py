"""Fault 1: the supervisor killed between an alarm and its message: nothing is lost, a repeated one has the same id."""

import json
import random
import time

import pytest
from waiting import LIMIT_S, times as repeats, wait_until

from finetop.core.protocol.messages.runs import Sql
from finetop.core.runtime.crash_points import DIED, SWITCH

NOTIFY = "#!/bin/sh\ncat >> {out}\n"


def listening(rig, tmp_path):
    """Send all of the rig's notices through a command that appends to a file."""
    rig.home.root.mkdir(mode=0o700, parents=True)
    out, script = tmp_path / "out.jsonl", tmp_path / "notify"
    script.write_text(NOTIFY.format(out=out))
    script.chmod(0o700)
    tell = f"tell: {{on: [alarms], command: [{script}], every_s: 0, limit_s: 10}}"
    (rig.home.root / "settings.yaml").write_text(f"settings: 1\n{tell}\n")
    return out


def told(out):
    """The notices sent, by id, and how many messages they took."""
    messages = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    return {message["id"]: message for message in messages}, len(messages)


def counted(out):
    """How many alarms were sent: those left out of a message are counted in it."""
    return sum(message["more"] + (message["kind"] != "many") for message in told(out)[0].values())


def wait_told(rig, out, count):
    wait_until(lambda: counted(out) >= count, lambda: f"{told(out)} {rig.home.log.read_text()}")


@pytest.mark.parametrize(
    ("place", "times"),
    [
        ("notices-gathered", 1),  # the messages exist, nothing is sent
        ("message-tried", 1),  # a try is counted, nothing is sent
        ("message-sent", 2),  # sent, but not recorded
    ],
)
def test_an_alarm_is_told_whenever_the_supervisor_dies(cold_rig, tmp_path, survived, place, times):
    rig, out = cold_rig, listening(cold_rig, tmp_path)
    first = rig.up(**{SWITCH: place})
    name = rig.submit(steps=5, alarms={"3": [["spike", False]]})
    assert first.wait(LIMIT_S) == DIED
    rig.up()
    rig.wait_state(name, "finished")
    wait_told(rig, out, 1)
    open_ones = Sql("SELECT count(*) FROM messages WHERE outcome IS NULL")
    wait_until(lambda: rig.ask(open_ones).rows == [[0]], "all are sent")
    by_id, messages = told(out)
    assert (len(by_id), messages) == (1, times)
    survived("1", f"killed at {place}: alarm told", written=1, lost=1 - len(by_id))


def test_alarms_are_all_told_whenever_the_supervisor_is_killed(cold_rig, tmp_path, survived):
    rig, out, draw = cold_rig, listening(cold_rig, tmp_path), random.Random(1)
    rig.up()
    name = rig.submit(steps=200, pause_s=0.1, alarms={"each": [["spike", False]]})
    kills = repeats(20, 3)
    for _ in range(kills):
        time.sleep(draw.uniform(0.1, 1.2))  # between two alarms, or as one is sent
        rig.restart()
    rig.wait_state(name, "finished")
    wait_told(rig, out, 200)
    assert rig.ask(Sql("SELECT count(*) FROM alarms")).rows == [[200]]
    survived("1", "killed at random: alarms told", repeats=kills, written=200, lost=200 - counted(out))
