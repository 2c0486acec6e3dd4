"""Fault 35: a command, its job, its keeper or its supervisor is killed at a random moment.

The command reports each step, then notes it in a side file. What it wrote in the last second before its job died was
read by nobody: those steps are counted as unread. Everything before the last stored step must be stored, once.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import command_runs
import pytest
from command_runs import LOOP, noted, program_of, python, stored, submit
from rig import Rig, counted

from finetop.core.protocol.runs import word

ENDS = ("finished", "stopped", "failed", "lost")


def kill_command(rig: Rig, name: str) -> None:
    os.kill(program_of(rig, name), signal.SIGKILL)


def kill_job(rig: Rig, name: str) -> None:
    os.kill(rig.process_of(name), signal.SIGKILL)


def kill_keeper(rig: Rig, name: str) -> None:
    os.kill(rig.keeper(name)["pid"], signal.SIGKILL)


def kill_supervisor(rig: Rig, name: str) -> None:
    """The run goes on, and ends by itself later."""
    rig.kill()
    rig.up()


KILLS: dict[str, tuple[Callable[[Rig, str], None], str, str, bool]] = {
    # what is killed -> how, the state and the kind of end that follow, and whether all that it wrote is read
    "command": (kill_command, "failed", "killed", True),
    "run_job": (kill_job, "failed", "killed", False),
    "supervisor": (kill_supervisor, "finished", "", True),
    "keeper": (kill_keeper, "lost", "vanished", False),
}


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_whatever_is_killed_no_step_that_was_read_is_lost_or_doubled(cold_rig, tmp_path, survived, rounds):
    rig, moments = cold_rig, random.Random(rounds)
    command_runs.up(rig, FINETOP_TEST_GRACE_S="6")
    total: Counter[str] = Counter()
    for number in range(rounds):
        victim = list(KILLS)[number % len(KILLS)]
        kill, state, kind, reads_all = KILLS[victim]
        folder = tmp_path / f"work-{number}"
        name = submit(rig, folder, python(LOOP, 1_000_000, 0.002), f"{victim}-{number}")
        rig.wait_step(name)
        time.sleep(moments.uniform(0.0, 1.2))
        kill(rig, name)
        if state == "finished":
            (folder / "end").touch()
        row = rig.wait_state(name, *ENDS)
        steps, side = stored(rig, name), noted(folder)
        read = [step for step in side if reads_all or step <= max(steps)]
        total["wrong"] += (word(row.state), getattr(row.state, "kind", "")) != (state, kind)
        total["wrong"] += row.step != max(steps)
        total["wrong"] += len(set(steps) - set(side)) > 1  # killed between its line and its note
        total["unread"] += len(side) - len(read)
        total.update(counted(steps, read))
        total["kills"] += 1
    total["orphans"] = len(rig.orphans())
    print(dict(total))
    survived("35", "kill -9 of a command, its job, keeper or supervisor", repeats=total.pop("kills"),
             **{key: count for key, count in total.items() if key != "unread"})  # fmt: skip
