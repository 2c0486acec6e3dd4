"""Fault 18: the file system of the run folders answers no call, is stale, or has no locks."""

import errno
import os
import subprocess
import sys

import pytest
import shim
from rig import counted
from waiting import LIMIT_S, times, wait_until

from finetop.core.errors import EnvironmentTrouble
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun, Runs
from finetop.core.protocol.messages.session import Changes
from finetop.core.runtime import files
from finetop.core.runtime.home import prepare

needs_shim = pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "all is here")
DELAY_MS = 3_600_000  # of each call: whoever gets an answer did not wait for one


@pytest.fixture
def made(tmp_path):
    return shim.shim(tmp_path)


@pytest.fixture
def live(cold_rig, made, tmp_path):
    """A rig with a run that was just started, whose run folders' file system can be made slow."""
    cold_rig.side = tmp_path / "side"
    cold_rig.side.mkdir()
    cold_rig.up(**made.environment)
    name = cold_rig.submit("long-one", steps=100_000, pause_s=0.02)
    wait_until(lambda: cold_rig.ask(GetRun(name)).row.step > 0, "its job tells")
    return cold_rig


def attempt(rig, name: str) -> int:
    """The attempt that continues: a keeper that needs seconds to start, on a busy machine, loses its job to another."""
    return int(rig.ask(GetRun(name)).jobs[0].attempt)


def stopped(rig, name: str, begun: int, wrong: int = 0) -> dict[str, int]:
    """Stop a run, and count: written, lost, doubled, wrongly marked; `begun` is its attempt."""
    rig.ask(Stop(name))
    state = rig.wait_state(name, "stopped", "failed", "lost", "finished").state
    wrong += (data.word(state) != "stopped") + (attempt(rig, name) != begun)
    return {**counted(*rig.told_and_written(name)), "wrong": wrong, "orphans": len(rig.orphans())}


def press(app, key: str) -> None:
    """Press a key, and wait until the terminal receives anything."""
    app.pump(0.2)
    seen = app.bytes
    app.keys(key)
    wait_until(lambda: app.pump(0.05) or app.bytes > seen, app.text)


@needs_shim
def test_while_no_call_returns_the_app_and_its_questions_are_answered(live, made, terminal_of, survived):
    keys, begun = 40, attempt(live, "long-one")
    app = terminal_of(live.home.root)
    app.wait_text("long-one")
    made.set(folder=live.home.runs, delay_ms=DELAY_MS)
    calls = made.calls
    wait_until(lambda: made.calls > calls, "the supervisor has met the slow file system")
    for _ in range(keys):
        press(app, "?")
        live.ask(Runs())
    assert made.calls < calls + 200, "it is not slow: the test tests nothing"
    made.set()
    survived("18", "no call returns", repeats=2 * keys, **stopped(live, "long-one", begun))


@needs_shim
@pytest.mark.parametrize("what", ["error", "lock_error"])
def test_a_file_system_that_is_stale_or_has_lost_its_locks_ends_no_run(live, made, survived, what):
    number = errno.ESTALE if what == "error" else errno.ENOLCK
    words = "stale file handle" if what == "error" else "no locks available"
    wrong, begun, repeats = 0, attempt(live, "long-one"), times(20, 4)
    for _ in range(repeats):
        made.set(folder=live.home.runs, **{what: number})
        wait_until(lambda: words in live.ask(Changes(0, 0.0)).trouble, "it is said")
        wrong += data.word(live.ask(GetRun("long-one")).row.state) != "running"
        made.set()
        wait_until(lambda: not live.ask(Changes(0, 0.0)).trouble, "recovered")
    fault = "stale (ESTALE)" if what == "error" else "no locks (ENOLCK)"
    survived("18", fault, repeats=repeats, **stopped(live, "long-one", begun, wrong))


@needs_shim
def test_a_home_that_can_not_be_locked_is_refused_in_words(cold_rig, made, survived):
    prepare(cold_rig.home)
    made.set(folder=cold_rig.home.root, lock_error=errno.EOPNOTSUPP)
    command = [sys.executable, "-m", "finetop.core.supervisor", "--home", str(cold_rig.home.root)]
    own = {**os.environ, **made.environment}
    ended = subprocess.run(command, env=own, capture_output=True, text=True, timeout=LIMIT_S)
    output = ended.stderr.strip()
    assert (ended.returncode, "\n" in output) == (EnvironmentTrouble.exit_code, False)
    assert "can't be locked: Operation not supported. Put the home on a local disk" in output
    assert not cold_rig.home.database.exists()
    survived("18", "a home without locks")


def test_a_home_on_a_network_file_system_is_refused(tmp_path, monkeypatch, survived):
    mounts = tmp_path / "mounts"
    for kind in sorted(files.NETWORK):
        mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/export {tmp_path} {kind} rw 0 0\n")
        monkeypatch.setattr(files, "MOUNTS", mounts)
        with pytest.raises(EnvironmentTrouble, match=f"is on {kind}, a network file system"):
            files.require_local(tmp_path)
    survived("18", "a home on a network file system", repeats=len(files.NETWORK))
