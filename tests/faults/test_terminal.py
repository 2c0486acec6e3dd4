"""The app comes and goes; the run goes on. In a real pseudo-terminal, on the real supervisor."""

import os

from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.session import Hello, Shutdown


def test_the_app_closed_and_opened_again_shows_the_run_further_on(rig, terminal):
    name = rig.submit("long-one", steps=100_000, pause_s=0.02)
    rig.wait_state(name, "running")
    first = terminal()
    first.wait_text("long-one")
    first.keys("q")
    assert os.waitstatus_to_exitcode(first.wait_end()) == 0
    before = rig.ask(GetRun(name)).row.step
    second = terminal(columns=120, rows=40)
    second.wait_text("long-one")
    rig.wait_step(name, before + 1)


def test_hang_up_ends_the_app_and_nothing_else(rig, terminal):
    name = rig.submit("long-one", steps=100_000, pause_s=0.02)
    rig.wait_state(name, "running")
    app = terminal()
    app.wait_text("long-one")
    app.hang_up()
    app.wait_end()
    rig.wait_step(name, rig.ask(GetRun(name)).row.step + 1)
    assert rig.ask(GetRun(name)).jobs[0].attempt == 1


def test_hang_up_of_the_shell_that_started_everything_leaves_the_supervisor(cold_rig, terminal_of):
    app = terminal_of(cold_rig.home.root)  # it starts one
    app.wait_text("No runs yet")
    app.hang_up()
    app.wait_end()
    from finetop.core.client.connection import Client

    with Client(cold_rig.home, start=False) as client:
        pid = client.ask(Hello()).pid
        client.ask(Shutdown())
    assert pid > 1


def test_two_apps_at_once_both_follow(rig, terminal):
    first, two = terminal(), terminal(columns=120, rows=40)
    first.wait_text("No runs yet")
    two.wait_text("No runs yet")
    name = rig.submit("seen-by-both", waits_at=2)
    first.wait_text(name)
    two.wait_text(name)


def test_a_dead_supervisor_is_said_and_the_app_lives(rig, terminal):
    app = terminal()
    app.wait_text("No runs yet")
    # Shown once the followed connection has answered; if the supervisor was gone before that, the app starts one.
    app.wait_text("CPU core")
    rig.kill()
    app.wait_text("NO SUPERVISOR")
    rig.up()
    rig.submit("after-the-break", steps=1)
    app.wait_text("after-the-break")


def test_a_dumb_terminal_is_refused_with_the_way_out(rig, terminal):
    import subprocess
    import sys

    process = subprocess.run(
        [sys.executable, "-m", "finetop.tui.main"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, env={**os.environ, "FINETOP_HOME": str(rig.home.root)},
    )  # fmt: skip
    assert process.returncode == 4
    assert "finetop ls" in process.stderr
    assert process.stderr.count("\n") == 1
