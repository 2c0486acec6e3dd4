"""The waiting process takes the next training job under its own keeper, once, and is never left behind."""

import json
import os
import re
import signal
from pathlib import Path

import psutil
import pytest
from waiting import wait_until as until

from finetop.core.protocol import events
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.session import Changes, Hello
from finetop.core.runtime.processes import alive


def waiting_pid(rig):
    match = re.search(r"process (\d+) waits", rig.ask(Hello()).spare)
    return int(match[1]) if match else None


def job_pid(rig, name):
    lines = (rig.job_folder(name) / "events.jsonl").read_bytes().splitlines()
    return events.decode(lines[0]).e.pid


def ends_with(rig, pid, number):
    """Check that the waiting process ends with its supervisor, however that ends."""
    rig.processes[-1].send_signal(number)
    rig.processes[-1].wait()
    until(lambda: not alive(pid))


@pytest.mark.slow
def test_the_next_job_is_done_by_the_process_that_waits_and_another_takes_its_place(cold_rig):
    cold_rig.up(FINETOP_SPARE="1")
    first = until(lambda: waiting_pid(cold_rig))
    name = cold_rig.submit(steps=30, pause_s=0.01)
    row = cold_rig.wait_state(name, "finished")
    assert (row.step, job_pid(cold_rig, name)) == (30, first)
    assert cold_rig.ask(GetRun(name)).jobs[0].attempt == 1
    assert json.loads((cold_rig.job_folder(name) / "exit.json").read_text())["code"] == 0
    second = until(lambda: waiting_pid(cold_rig))
    assert second != first
    assert not alive(first)
    # a kill ends its whole tree
    name = cold_rig.submit(waits_at=1, grandchild=True)
    cold_rig.wait_state(name, "running")
    grandchild = cold_rig.grandchild_of(name)
    cold_rig.ask(Kill(name))
    assert cold_rig.wait_state(name, "stopped").state.how == "kill"
    assert not alive(second)
    assert not alive(grandchild)
    # a dead one costs no job
    third = until(lambda: waiting_pid(cold_rig))
    os.kill(third, signal.SIGKILL)
    name = cold_rig.submit(steps=3)
    assert cold_rig.wait_state(name, "finished").step == 3
    assert job_pid(cold_rig, name) != third
    ends_with(cold_rig, until(lambda: waiting_pid(cold_rig)), signal.SIGKILL)


@pytest.mark.slow
def test_it_goes_when_nobody_is_there_and_is_given_up_when_it_keeps_dying(cold_rig):
    cold_rig.up(FINETOP_SPARE="1", FINETOP_TEST_IDLE_S="1.0")
    pid = until(lambda: waiting_pid(cold_rig))
    until(lambda: not alive(pid))
    cold_rig.restart(FINETOP_SPARE="1", FINETOP_TEST_DIES="1")
    until(lambda: "it died 3 times" in cold_rig.ask(Hello()).spare)
    cold_rig.wait_state(cold_rig.submit(steps=2), "finished")


@pytest.mark.slow
def test_none_waits_in_a_home_in_which_no_run_was_ever_queued(cold_rig, monkeypatch):
    """A supervisor that only answered queries takes little memory: it and its children."""
    monkeypatch.delenv("FINETOP_SPARE", raising=False)
    cold_rig.up()
    asked = cold_rig.ask(Hello())
    for _ in range(8):  # beats of 0.2 s, each of which could start one; checked every 0.1 s here
        cold_rig.ask(Changes(cold_rig.ask(Changes(0, 0.0)).revision, 0.2))
    assert (waiting_pid(cold_rig), asked.spare) == (None, "none now")
    assert not psutil.Process(cold_rig.processes[-1].pid).children(recursive=True)
    held = Path(f"/proc/{cold_rig.processes[-1].pid}/smaps_rollup").read_text()
    pss_kib = int(re.search(r"^Pss: +(\d+)", held, re.MULTILINE)[1])  # shared pages count proportionally
    assert pss_kib < 150 * 1024
    first = cold_rig.submit(steps=3)
    cold_rig.wait_state(first, "finished")
    ends_with(cold_rig, until(lambda: waiting_pid(cold_rig)), signal.SIGTERM)
