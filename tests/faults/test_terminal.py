"""The app comes and goes; the run goes on. In a real pseudo-terminal, on the real supervisor."""

import os
import subprocess
import sys

from terminal import Terminal
from waiting import wait_until

from finetop.core.client.connection import Client
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.session import Hello, Shutdown


def test_apps_come_and_go_and_the_run_goes_on(rig, terminal):
    """Two at once, one closed, one hung up, another opened, and one that loses its supervisor."""
    first, second = terminal(), terminal(columns=120, rows=40)
    for app in (first, second):
        app.wait_text("No runs yet")
    name = rig.submit("long-one", steps=100_000, pause_s=0.02)
    for app in (first, second):
        app.wait_text(name)
    rig.wait_state(name, "running")
    first.keys("q")
    assert os.waitstatus_to_exitcode(first.wait_end()) == 0
    rig.wait_step(name, rig.ask(GetRun(name)).row.step + 1)
    second.hang_up()
    second.wait_end()
    rig.wait_step(name, rig.ask(GetRun(name)).row.step + 1)
    assert rig.ask(GetRun(name)).jobs[0].attempt == 1
    third = terminal()
    third.wait_text(name)
    rig.ask(Kill(name))
    rig.wait_state(name, "stopped")
    # Shown once the followed connection has answered; if the supervisor was gone before that, the app starts one.
    # While a run trains, 80 columns have no room for it.
    third.wait_text("CPU core")
    rig.kill()
    third.wait_text("NO SUPERVISOR")
    rig.up()
    rig.submit("after-the-break", steps=1)
    third.wait_text("2 total")  # the list itself may keep its rows in place, and offer the new one under o


def test_ctrl_z_stops_the_app_where_a_shell_can_continue_it(rig, terminal):
    shell = Terminal(["sh"], rig.home.root)
    try:
        shell.keys(f"PS1='$ '\n{sys.executable} -m finetop.tui.main\n")
        shell.wait_text("No runs yet")
        shell.keys("\x1a")
        # The shell writes where the app left the cursor, which may be near the end of a row.
        wait_until(lambda: shell.pump(0.02) or "Stopped" in "".join(shell.screen.display), shell.text)
        shell.screen.reset()
        shell.keys("fg; echo back-$((40 + 2))\n")
        shell.wait_text("No runs yet")
        shell.keys("q")
        shell.wait_text("back-42")
    finally:
        shell.close()
    alone = terminal()
    alone.wait_text("No runs yet")
    alone.keys("\x1a")
    alone.wait_text("No shell with job control")


def test_hang_up_of_the_shell_that_started_everything_leaves_the_supervisor(cold_rig, terminal_of):
    app = terminal_of(cold_rig.home.root)  # it starts one
    app.wait_text("No runs yet")
    app.hang_up()
    app.wait_end()
    with Client(cold_rig.home, start=False) as client:
        pid = client.ask(Hello()).pid
        client.ask(Shutdown())
    assert pid > 1


def test_a_dumb_terminal_is_refused_with_the_way_out(rig, terminal):
    process = subprocess.run(
        [sys.executable, "-m", "finetop.tui.main"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, env={**os.environ, "FINETOP_HOME": str(rig.home.root)},
    )  # fmt: skip
    assert process.returncode == 4
    assert "finetop ls" in process.stderr
    assert process.stderr.count("\n") == 1
