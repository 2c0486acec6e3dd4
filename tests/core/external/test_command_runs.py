"""Commands from the command line to their end, with the real supervisor and real programs."""

import json
import sys

import pytest
from waiting import wait_until

from finetop.core.protocol.events import NOTHING_READ
from finetop.core.protocol.messages.runs import GetRun

PYTHON = sys.executable
STEPS = [(step, round(1 / step, 4)) for step in range(1, 9)]


@pytest.fixture
def detail(station):
    return lambda name: station.ask(GetRun(name))


@pytest.fixture
def log_of(station):
    return lambda name: (station.job_folder(name) / "log.txt").read_text()


@pytest.fixture
def ended(station):
    """Return a function that waits until a run has ended, and returns its state."""
    return lambda name: station.wait_state(name, "finished", "failed", "stopped", "lost").state


@pytest.mark.slow
def test_the_output_becomes_the_model_of_the_same_run_and_is_checked(
    finetop, queue, ended, detail, losses, base, adapter, tmp_path
):
    code = "import runpy, shutil; runpy.run_path('train.py'); shutil.copytree('adapter', 'out')"
    name = queue(PYTHON, "-c", code, "1", "8", options=("--output", "out"))
    assert ended(name).cause == ""
    run = wait_until(lambda: len(detail(name).jobs) == 3 and detail(name))
    finetop("stop", name)  # this base can't be loaded
    assert [job.verb for job in run.jobs] == ["command", "import", "check"]
    assert (run.row.method, run.row.objective, run.row.model) == ("lora", "command", str(base))
    assert [checkpoint.step for checkpoint in run.checkpoints] == [8]
    assert (run.row.step, run.row.steps) == (8, 8)
    assert losses(name) == STEPS
    assert run.recipe["method"]["rank"] == 2 and run.recipe["command"]["run"][0] == PYTHON
    for arguments in (("show", name), ("ls",), ("report", name, "--to", "r.html"), ("tail", name)):
        code, _, err = finetop(*arguments)
        assert code == 0 and "Traceback" not in err, err
    assert name in (tmp_path / "r.html").read_text()


def test_a_run_of_which_nothing_was_recognised_says_so_with_what_to_do(finetop, queue, ended, log_of):
    name = queue(PYTHON, "-c", "print('[17] L~2.5\\n' * 50)", name="unread")
    ended(name)
    row = next(line for line in finetop("ls")[1].splitlines() if line.startswith(name))
    assert "finished, no numbers" in row
    assert f"alarm      step 0: {NOTHING_READ}" in finetop("show", name)[1]
    assert f"finetop: {NOTHING_READ}" in log_of(name)


def test_the_configuration_that_a_script_writes_is_shown_and_a_column(finetop, queue, ended):
    code = (
        "import json; json.dump({'lr': 2e-5, 'seed': 3}, open('config.json', 'w')); print('step 1 loss 0.5')"
    )
    name = queue(PYTHON, "-c", code, name="configured")
    ended(name)
    shown = finetop("show", name)[1]
    assert "  config     lr 2e-5, seed 3\n" in shown
    assert "loss: stdout log.txt (it is the run's own)" in shown
    assert "2 settings: config config.json (no other program works in its folder)" in shown
    assert json.loads(finetop("show", name, "--json")[1])["run"]["numbers_from"]["settings"] == {
        "lr": 2e-05,
        "seed": 3.0,
    }
    assert "2e-5" in finetop("ls", "config.lr<1e-4", "--columns", "config.lr,config.seed")[1]


def test_without_a_model_the_run_has_finished_and_says_why_there_is_no_check(finetop, queue, ended, detail):
    name = queue(PYTHON, "train.py", "1", "2", name="none")
    state = ended(name)
    assert (type(state).__name__, [job.verb for job in detail(name).jobs]) == ("Finished", ["command"])
    assert (
        "no model to check: its output folder is not known. Name it next time: --output DIR." in state.cause
    )
    shown = finetop("show", name)[1]
    assert "finished\n" in shown and "no model to check" in shown


# What a program does before it fails: the kind of the failure, its cause, and how often it is tried.
FAILURES = {
    "code": ("print('no such column'); print('  0%|  | 0/6 [00:07<?]'); raise SystemExit(3)",
             "code", "the command exited with code 3", 1),
    "signal": ("import os; os.kill(os.getpid(), 9)", "killed", "the command was killed by signal 9", 2),
    "launcher": ("import subprocess, sys; run = subprocess.run([sys.executable, '-c', 'import nosuch'], check=True)",
                 "code", "the command exited with code 1", 1),
    "disk": ("raise OSError(28, 'No space left on device')", "disk_full", "disk full", 2),
}  # fmt: skip


@pytest.mark.slow
def test_failures_have_their_kind_their_reason_and_their_retries(queue, station, detail):
    for name, (code, _, _, _) in FAILURES.items():
        queue(PYTHON, "-c", code, name=name)
    for name, (_, kind, cause, tries) in FAILURES.items():
        state = station.wait_state(name, "failed").state
        assert (state.kind, len(detail(name).jobs)) == (kind, tries)
        assert cause in state.cause
    state = detail("code").row.state
    assert (state.exit_code, state.hint) == (3, "no such column")
    # accelerate ends so
    assert detail("launcher").row.state.hint == "ModuleNotFoundError: No module named 'nosuch'"


def test_a_stop_is_the_signal_to_the_whole_group_and_no_failure(finetop, queue, station, log_of, tmp_path):
    code = """
import os, pathlib, signal, subprocess, sys, time
child = "import signal, pathlib, time; say = lambda name: pathlib.Path(name).touch();"
child += "signal.signal(signal.SIGINT, lambda *_: (say('child'), exit()));"
child += "say('up'); time.sleep(600)"
below = subprocess.Popen([sys.executable, "-c", child])
signal.signal(signal.SIGINT, lambda *_: (below.wait(), print("saved", flush=True), exit()))
time.sleep(600)
"""
    name = queue(PYTHON, "-c", code, options=("--set", "command.stop_signal=SIGINT"))
    wait_until((tmp_path / "up").exists)
    assert finetop("stop", name)[0] == 0
    state = station.wait_state(name, "stopped").state
    assert (state.how, (tmp_path / "child").exists()) == ("stop", True)
    assert "saved" in log_of(name)


def test_a_command_that_ignores_the_signal_is_killed(finetop, queue, station, tmp_path):
    code = "import pathlib, signal, time; signal.signal(15, signal.SIG_IGN);"
    code += "pathlib.Path('up').touch(); time.sleep(600)"
    name = queue(PYTHON, "-c", code, options=("--set", "command.grace_s=0.2"))
    wait_until((tmp_path / "up").exists)
    pid = station.process_of(name)
    assert finetop("stop", name)[0] == 0
    assert station.wait_state(name, "stopped").state.how == "stop"
    assert not any(line.startswith(f"{pid} ") for line in station.descendants())


@pytest.mark.slow
def test_without_resume_command_a_pause_and_a_resume_are_refused(finetop, queue, station, losses):
    name = queue(PYTHON, "train.py", "1", "3", "hold")
    station.wait_step(name, 3)
    code, _, err = finetop("pause", name)
    assert code == 1 and "command.resume_command is not set" in err
    finetop("stop", name)
    assert station.wait_state(name, "stopped").state.how == "stop"
    code, _, err = finetop("resume", name)
    assert code == 1 and "how it goes on is not known" in err
    assert losses(name) == STEPS[:3]


@pytest.mark.slow
def test_a_pause_goes_on_by_the_resume_command_and_nothing_is_doubled(
    finetop, queue, station, losses, detail, tmp_path
):
    onward = "import runpy, sys; print(sys.argv); sys.argv[1:] = '48'; runpy.run_path('train.py')"
    resume = f'{PYTHON} -c "{onward}" {{checkpoint}}'
    options = ("--resume-command", resume, "--output", "out")
    name = queue(PYTHON, "train.py", "1", "6", "hold", options=options)
    station.wait_step(name, 6)
    assert finetop("pause", name)[0] == 0
    station.wait_state(name, "queued")
    assert detail(name).row.state.held
    (tmp_path / "out" / "checkpoint-3").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint-3" / "trainer_state.json").write_text("{}")
    code, out, err = finetop("resume", name)
    assert code == 0, err
    assert out.startswith(f"{name} resumes from its checkpoint-3, place ")
    station.wait_state(name, "finished")
    assert losses(name) == STEPS
    assert (detail(name).row.step, detail(name).row.steps) == (8, 8)


@pytest.mark.slow
def test_a_stopped_or_failed_command_goes_on_when_asked(finetop, queue, station, losses, tmp_path):
    code = "import runpy; runpy.run_path('train.py', run_name='x'); raise SystemExit(3)"
    again = f"{PYTHON} train.py 3 5 hold"
    name = queue(PYTHON, "-c", code, "1", "4", options=("--resume-command", again))
    station.wait_state(name, "failed")
    code, out, err = finetop("retry", name)
    assert code == 0, err
    assert out.startswith(f"{name} starts its command again, place ")
    station.wait_step(name, 5)
    finetop("stop", name)
    station.wait_state(name, "stopped")
    assert losses(name) == STEPS[:5]
    code, _, err = finetop("resume", name, "--set", "command.grace_s=1")
    assert code == 1 and "another program's run" in err
    assert finetop("resume", name)[0] == 0
    station.wait_state(name, "running")
    finetop("kill", name)
    assert station.wait_state(name, "stopped").state.how == "kill"


def test_the_budget_of_hours_ends_it_with_the_reason(queue, station):
    name = queue(PYTHON, "train.py", "1", "2", "hold", options=("--set", "budget.hours=0.0001"))
    state = station.wait_state(name, "stopped").state
    assert state.cause.startswith("budget.hours (0.0001) is used up: trained for ")


def test_the_command_has_the_environment_of_its_shell_and_its_own(
    queue, station, log_of, monkeypatch, tmp_path
):
    monkeypatch.setenv("VIRTUAL_ENV", "/some/venv")
    monkeypatch.setenv("PRIVATE", "of the shell alone")
    monkeypatch.setenv("NAMED", "of the shell")
    own = tmp_path / "bin" / "mytrainer"
    own.parent.mkdir()
    own.write_text(
        '#!/bin/sh\necho "[$VIRTUAL_ENV] [$PRIVATE] [$THREADS] [$PYTHONUNBUFFERED] [$NAMED] [$GIVEN]"\n'
    )
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{own.parent}:/usr/bin:/bin")
    name = queue(
        "mytrainer", options=("--set", "command.env={THREADS: 2}", "--env", "NAMED", "--env", "GIVEN=a=b")
    )
    station.wait_state(name, "finished")
    assert "[/some/venv] [] [2] [1] [of the shell] [a=b]" in log_of(name)


def test_a_shell_line_is_a_shells(finetop, log_of, tmp_path):
    (tmp_path / "line.yaml").write_text(
        "recipe: 1\nname: line\ncommand: {shell: 'echo one; echo {what} | tr a-z A-Z', values: {what: two}}\n"
    )
    code, _, err = finetop("run", "line.yaml", "--wait")
    assert code == 0, err
    assert "one\nTWO\n" in log_of("line")
