"""Fault 35: a command, its job, its keeper, its supervisor or all of its tree is killed at a random moment.

The command reports or prints each step, then notes it in a side file. Every noted step must be stored, once, whoever
was killed and however little time there was to read it.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import command_runs
import pytest
from command_runs import LOOP, PRINTING_LOOP, noted, program_of, python, stored, submit
from rig import Rig, counted
from waiting import times, wait_until

from finetop.core.external.note import FILE
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.runs import word

ENDS = ("finished", "stopped", "failed", "lost")


def kill_supervisor(rig: Rig, name: str) -> None:
    """The run goes on, and ends by itself later."""
    rig.kill()
    rig.up()


def kill_job_and_supervisor(rig: Rig, name: str) -> None:
    """The next supervisor finds a dead job."""
    process = rig.process_of(name)
    rig.kill()
    os.kill(process, signal.SIGKILL)
    rig.up()


KILLS: dict[str, tuple[Callable[[Rig, str], object], str, str]] = {
    # what is killed -> how, and the state and the kind of end that follow
    "run_job": (lambda rig, name: os.kill(rig.process_of(name), signal.SIGKILL), "failed", "killed"),
    "keeper": (lambda rig, name: os.kill(rig.keeper(name)["pid"], signal.SIGKILL), "lost", "vanished"),
    "all": (lambda rig, name: rig.ask(Kill(name)), "stopped", ""),
    "command": (lambda rig, name: os.kill(program_of(rig, name), signal.SIGKILL), "failed", "killed"),
    "supervisor": (kill_supervisor, "finished", ""),
    "run_job and supervisor": (kill_job_and_supervisor, "failed", "killed"),
}


@pytest.mark.parametrize("rounds", [times(50, 2 * len(KILLS))])
def test_whatever_is_killed_no_step_is_lost_or_doubled(cold_rig, tmp_path, survived, rounds):
    rig, moments = cold_rig, random.Random(rounds)
    command_runs.up(rig, FINETOP_TEST_GRACE_S="6")
    total: Counter[str] = Counter()
    for number in range(rounds):
        victim = list(KILLS)[number % len(KILLS)]
        kill, state, kind = KILLS[victim]
        folder = tmp_path / f"work-{number}"
        loop = (LOOP, PRINTING_LOOP)[(number + number // len(KILLS)) % 2]
        name = submit(rig, folder, python(loop, 1_000_000, 0.002), f"{victim.replace(' ', '-')}-{number}")
        wait_until(lambda folder=folder: noted(folder), "its first step")
        time.sleep(moments.uniform(0.0, 2.5))  # at any moment of the loop
        kill(rig, name)
        if state == "finished":
            (folder / "end").touch()
        row = rig.wait_state(name, *ENDS)
        steps, side = stored(rig, name), noted(folder)
        total["wrong"] += (word(row.state), getattr(row.state, "kind", "")) != (state, kind)
        total["wrong"] += row.step != max(steps, default=0)
        total["wrong"] += len(set(steps) - set(side)) > 1  # killed between its line and its note
        total.update(counted(steps, side))
        total["kills"] += 1
        print(name, "finetop.log" if loop == LOOP else "printed", counted(steps, side), flush=True)
    total["orphans"] = len(rig.orphans())
    total["wrong"] += len(list(rig.home.runs.glob(f"*/jobs/*/{FILE}")))  # nothing is left to read
    logs = [log.read_bytes() for log in rig.home.runs.glob("*/jobs/*/events.jsonl")]
    total["wrong"] += sum(b'"resumed"' in log for log in logs)  # nothing was read twice
    print(dict(total))
    survived("35", "kill -9 of a command, its job, keeper or supervisor", repeats=total.pop("kills"), **total)
