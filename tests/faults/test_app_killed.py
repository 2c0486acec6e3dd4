"""Fault 4: kill -9 of the app while it draws: supervisor and runs are untouched, and the terminal can be used again."""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from rig import counted
from terminal import Terminal
from waiting import times, wait_until

from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.session import Hello
from finetop.core.runtime import processes

CASES = [(shell, times(10, 2)) for shell in ("sh", "bash") if shutil.which(shell)]
SCREEN = 1049
MOUSE = {1000, 1002, 1003, 1006, 1015}


@pytest.fixture
def shell(rig, request):
    """A shell in a terminal, as a user has, on the rig's home."""
    terminal = Terminal([request.param], rig.home.root)
    terminal.keys("PS1='$ '\n")
    terminal.wait_text("$")
    yield terminal
    terminal.close()


def start_app(shell: Terminal) -> int:
    """Type the app's command on a line of its own, and return its pid once it has drawn the run."""
    shell.screen.reset()  # an earlier app's screen does not count
    shell.keys(f"\n{sys.executable} -m finetop.tui.main\n")
    shell.wait_text("long-one")
    return next(pid for pid in processes.descendants(shell.pid) if "finetop.tui.main" in words_of(pid))


def words_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def answers(shell: Terminal) -> bool:
    """Return whether a typed command, with enter at its end, is shown and done."""
    shell.keys("echo back-$((40 + 2))\r")
    return "echo back-" in shell.wait_text("back-42")


@pytest.mark.parametrize(("shell", "kills"), CASES, indirect=["shell"])
def test_killed_while_it_draws_the_app_leaves_all_as_it_was_and_reset_mends_the_terminal(
    request, rig, shell, survived, kills
):
    moments, wrong = random.Random(4), []
    name = rig.submit("long-one", steps=100_000, pause_s=0.02)
    rig.wait_state(name, "running")
    supervisor = rig.ask(Hello()).pid
    for number in range(kills):
        app = start_app(shell)
        assert SCREEN in shell.modes, "the app does not show: the test tests nothing"
        seen = shell.bytes
        shell.keys(moments.choice(["j", "?", "\t", ""]))
        wait_until(lambda: shell.pump(0.005) or shell.bytes > seen, "it draws")  # noqa: B023
        time.sleep(moments.uniform(0.0, 0.01))  # at any moment of drawing
        os.kill(app, signal.SIGKILL)
        wait_until(lambda: shell.pump(0.02) or not processes.alive(app), "it is gone")  # noqa: B023
        if number % 2:  # started again in the same terminal, and left
            app = start_app(shell)
            shell.keys("q")
            wait_until(lambda: shell.pump(0.05) or not processes.alive(app), "the app has gone")  # noqa: B023
            wait_until(
                lambda: shell.pump(0.05) or SCREEN not in shell.modes, "the screen is the shell's again"
            )
        else:
            # blindly: enter is no line's end now, and nothing is echoed
            shell.keys("\nreset; echo done-$((1 + 1))\n")
            shell.wait_text("done-2")
            assert SCREEN not in shell.modes, "the terminal is reset"
        wrong += [f"{number}: modes {shell.modes}"] if shell.modes & MOUSE else []
        wrong += [] if answers(shell) else [f"{number}: {shell.text()}"]
        wrong += [] if rig.ask(Hello()).pid == supervisor else [f"{number}: another supervisor"]
        shell.keys("clear\r")
        wait_until(lambda: shell.pump(0.05) or "back-42" not in shell.text(), "it is clear")
    rig.ask(Stop(name))
    rig.wait_state(name, "stopped")
    reported, side = rig.told_and_written(name)
    wrong += ["started twice"] if rig.ask(GetRun(name)).jobs[0].attempt != 1 else []
    print(*wrong, sep="\n")
    what = f"kill -9 of the app while it draws ({request.node.callspec.params['shell']})"
    survived("4", what, repeats=kills, **counted(reported, side), wrong=len(wrong),
             orphans=len(rig.orphans()))  # fmt: skip
