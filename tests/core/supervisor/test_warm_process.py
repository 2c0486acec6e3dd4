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


@pytest.fixture
def warm_rig(cold_rig):
    cold_rig.up(FINETOP_SPARE="1")
    return cold_rig


def ends_with(rig, pid, number):
    """Check that the waiting process ends with its supervisor, however that ends."""
    rig.processes[-1].send_signal(number)
    rig.processes[-1].wait()
    until(lambda: not alive(pid))


def test_the_next_job_is_done_by_the_process_that_waits_and_another_takes_its_place(warm_rig):
    first = until(lambda: waiting_pid(warm_rig))
    name = warm_rig.submit(steps=30, pause_s=0.01)
    row = warm_rig.wait_state(name, "finished")
    assert (row.step, job_pid(warm_rig, name)) == (30, first)
    assert warm_rig.ask(GetRun(name)).jobs[0].attempt == 1
    assert json.loads((warm_rig.job_folder(name) / "exit.json").read_text())["code"] == 0
    second = until(lambda: waiting_pid(warm_rig))
    assert second != first
    assert not alive(first)
    ends_with(warm_rig, second, signal.SIGTERM)


def test_kill_ends_its_whole_tree_and_a_dead_one_costs_no_job(warm_rig):
    first = until(lambda: waiting_pid(warm_rig))
    name = warm_rig.submit(waits_at=1, grandchild=True)
    warm_rig.wait_state(name, "running")
    grandchild = warm_rig.grandchild_of(name)
    warm_rig.ask(Kill(name))
    assert warm_rig.wait_state(name, "stopped").state.how == "kill"
    assert not alive(first)
    assert not alive(grandchild)
    second = until(lambda: waiting_pid(warm_rig))
    os.kill(second, signal.SIGKILL)
    other = warm_rig.submit(steps=3)
    assert warm_rig.wait_state(other, "finished").step == 3
    assert job_pid(warm_rig, other) != second
    ends_with(warm_rig, until(lambda: waiting_pid(warm_rig)), signal.SIGKILL)


def test_it_goes_when_nobody_is_there_and_is_given_up_when_it_keeps_dying(cold_rig):
    cold_rig.up(FINETOP_SPARE="1", FINETOP_TEST_IDLE_S="1.0")
    pid = until(lambda: waiting_pid(cold_rig))
    until(lambda: not alive(pid))
    cold_rig.restart(FINETOP_SPARE="1", FINETOP_TEST_DIES="1")
    until(lambda: "it died 3 times" in cold_rig.ask(Hello()).spare)
    name = cold_rig.submit(steps=2)
    cold_rig.wait_state(name, "finished")


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
    assert until(lambda: waiting_pid(cold_rig))
