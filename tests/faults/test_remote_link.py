"""Fault 5: the app on a host behind ssh: drops, kills, nothing lost. Over a stand-in, and a real sshd and link."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import far
import pytest
from link import why_not
from rig import counted
from waiting import LIMIT_S, wait_until

from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun


@pytest.fixture
def terminal(terminal_of):
    """Start `finetop` in a terminal, on the home that is set by then."""
    return lambda *words: terminal_of(Path(os.environ["FINETOP_HOME"]), *words)


def test_the_app_lives_through_drops_and_leaves_no_ssh_behind(hosts, terminal, survived):
    rig = hosts.host("lab")
    name = rig.submit("long-one", steps=100_000, pause_s=0.02)
    rig.wait_state(name, "running")
    app = terminal("--on", "lab")
    app.wait_text("long-one")
    for _ in range(2):
        hosts.behave("lab", "refused")
        hosts.drop("lab")
        app.wait_text("NO LINK to lab")
        assert "long-one" in app.text()
        hosts.behave("lab", "ok")
        app.keys("R")
        app.wait_gone("NO LINK")
    app.keys("q")
    app.wait_end()
    wait_until(lambda: not hosts.living(), "ssh is gone after q")
    killed = terminal("--on", "lab")
    killed.wait_text("long-one")
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait_end()
    wait_until(lambda: not hosts.living(), "ssh is gone after kill -9")
    hung_up = terminal("--on", "lab")
    hung_up.wait_text("long-one")
    hung_up.hang_up()
    hung_up.wait_end()
    wait_until(lambda: not hosts.living(), "ssh is gone after a hang-up")
    assert rig.ask(GetRun(name)).jobs[0].attempt == 1
    rig.ask(Stop(name))
    rig.wait_state(name, "stopped")
    survived("5", "link dropped, app killed, terminal gone (--on, stand-in for ssh)", repeats=4,
             **counted(*rig.told_and_written(name)), orphans=len(hosts.living()))  # fmt: skip


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_over_a_real_link_with_loss_a_drop_loses_nothing(tmp_path, monkeypatch, terminal, survived):
    """Round trip 150 ms, 1 % loss, the cable unplugged for 20 s and the session killed: every step arrives once."""
    with far.far_host(tmp_path) as host:
        for key, value in host.environment.items():
            monkeypatch.setenv(key, value)
        name = host.rig.submit("far-one", steps=100_000, pause_s=0.1, start=1)
        host.rig.wait_state(name, "running")
        app = terminal(*host.options)
        app.wait_text("far-one")
        command = [
            sys.executable, "-m", "finetop.tui.main", *host.options, "tail", name, "--json", "-n", "9999",
        ]  # fmt: skip
        with (tmp_path / "tail.txt").open("w") as out:
            tail = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        wait_until(lambda: (tmp_path / "tail.txt").stat().st_size > 0, "the tail has begun")
        host.link.down()
        app.wait_text("NO LINK to far-box")
        assert "far-one" in app.text()
        host.link.up()
        app.keys("R")
        app.wait_gone("NO LINK")
        before = set(ssh_of(host))
        host.server.drop()
        wait_until(lambda: (now := set(ssh_of(host))) and not now & before, "the app and the tail come back")
        app.wait_gone("reconnecting")
        host.rig.ask(Stop(name))
        assert tail.wait(LIMIT_S) == 0
        reported_steps = [
            json.loads(line)["step"]["step"] for line in (tmp_path / "tail.txt").read_text().splitlines()
        ]
        _, wrote = host.rig.told_and_written(name)
        assert wrote == list(range(1, len(wrote) + 1))
        assert host.rig.ask(GetRun(name)).jobs[0].attempt == 1
        app.keys("q")
        app.wait_end()
        wait_until(lambda: not ssh_of(host), "no ssh is left here")
        survived("5", "cable pulled, session killed (--on, sshd, 150 ms, 1 % loss)", repeats=2,
                 **counted(reported_steps, wrote), orphans=len(ssh_of(host)))  # fmt: skip


def ssh_of(host: far.Far) -> list[str]:
    """The ssh processes of this test that are still running."""
    results = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[0].endswith("ssh") and str(host.folder / "ssh_config") in words:
            results.append(process.parent.name)
    return results
