"""Fault 36: commands that misbehave. Each ends in the right state, its numbers are there, and nothing of it is left."""

import json
import re
import time
from collections.abc import Iterator
from textwrap import dedent

import command_runs
import pytest
from command_runs import python, stored, submit
from rig import Rig
from waiting import wait_until

from finetop.core.commands.main import main
from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.runs import GetRun, Sql
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.runs import word
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import processes
from finetop.core.runtime.home import Home

HEAD = """
    import json, os, shutil, signal, subprocess, sys, time
    metrics = os.environ["FINETOP_METRICS"]

    def log(step, **values):
        with open(metrics, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\\n")
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Share one home: each of these runs has a folder of its own."""
    made = Rig(Home(tmp_path_factory.mktemp("hostile") / "home"))
    command_runs.up(made)
    yield made
    made.stop_all()


def ended(rig: Rig, name: str) -> tuple[str, int, list[int]]:
    """Wait for a run's end. Returns its state, how many processes of commands are left, and its loss's stored steps."""
    state = rig.wait_state(name, "finished", "stopped", "failed", "lost").state
    return word(state), len(rig.orphans()), stored(rig, name)


# What a command does -> how it ends, and the steps of its loss that must be stored
SCRIPTS: dict[str, tuple[str, str, list[int]]] = {
    "exits at once": ("raise SystemExit", "finished", []),
    "leaves a daemon, its GPUs, its folder, its log and its output, and becomes another program": (
        """
        os.environ["CUDA_VISIBLE_DEVICES"] = "7,8,9"
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            for descriptor in range(3):
                os.close(descriptor)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            time.sleep(600)
        os.wait()
        log(1, loss=1)
        shutil.rmtree(os.getcwd())
        os.remove(os.path.dirname(metrics) + "/log.txt")
        time.sleep(1.5)
        log(2, loss=1)
        os.chdir("/")
        os.close(1); os.close(2)
        time.sleep(1.5)
        log(3, loss=1)
        line = json.dumps({"step": 4, "loss": 1})
        os.execv("/bin/sh", ["sh", "-c", f"echo '{line}' >> $FINETOP_METRICS"])
        """,
        "finished",
        [1, 2, 3, 4],
    ),
    "prints half lines, what is no number and numbers of thousands of digits": (
        """
        for step in range(1, 4):
            for piece in (f"st", f"ep {step} lo", "ss 0.", "5", "\\n"):
                sys.stdout.write(piece); sys.stdout.flush(); time.sleep(0.15)
        for step, value in enumerate(("nan", "NaN", "inf", "-inf", "1e999", "1" * 500), 11):
            print(f"step={step} loss={value}")
        print('{"step": 17, "loss": NaN, "lr": Infinity}')
        print({"loss": float("nan"), "step": 18, "max_steps": -1})
        log(19, eval_loss=float("nan"), total_steps=-5)
        print('{"loss": 1, "step": 1e300}')
        for _ in range(20):
            print("loss=" + "1" * 19_000 + "x")
        print("step " + "1" * 5_000 + "/" + "2" * 5_000 + " loss 1.0")  # no step: the line counts as one
        print(" 50%|###| " + "1" * 5_000 + "/" + "2" * 5_000 + " [00:01<00:01")
        print('{"step": ' + "1" * 5_000 + ', "loss": 1}')
        print("iter" * 4_000 + "loss")
        print("step 27 loss 1.0")
        """,
        "finished",
        [1, 2, 3, *range(11, 16), 17, 18, 27],
    ),
    "prints lines of 10 MB": (
        """
        for _ in range(3):
            print("loss=1 " * 1_500_000)
        time.sleep(1.5)
        print("[" * 10_000_000)
        print("step 7 loss 1.0")
        """,
        "finished",
        [7],
    ),
    "writes a table with a cell of 1 MB": (
        """
        with open("metrics.csv", "w") as file:
            file.write("step,loss,note\\n1,1.0,a\\n2,1.0," + "x" * 900_000 + "\\n4,1.0,b\\n")
        """,
        "finished",
        [1, 4],
    ),
    "replaces its metrics by a link and by a pipe": (
        """
        log(1, loss=1)
        time.sleep(1.5)
        with open("/tmp/a" + str(os.getpid()), "w") as file:
            file.write('{"step": 666, "loss": 1}\\n' * 3)
        os.remove(metrics)
        os.symlink(file.name, metrics)
        time.sleep(1.5)
        os.remove(file.name)
        os.remove(metrics)
        os.mkfifo(metrics)
        time.sleep(1.5)
        """,
        "finished",
        [1],
    ),
    "deletes its log and fails": (
        "os.remove(os.path.dirname(metrics) + '/log.txt'); raise SystemExit(7)", "failed", []),
    "is killed by a signal of its own": ("log(1, loss=1); os.kill(os.getpid(), signal.SIGSEGV)", "failed", [1]),
}  # fmt: skip


def theirs(script: str, *words: object) -> list[str]:
    """Return the words that run a script, which has HEAD above it."""
    return python(dedent(HEAD) + dedent(script), *words)


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_command_that(rig, tmp_path, what):
    script, state, steps = SCRIPTS[what]
    name = submit(rig, tmp_path / "work", theirs(script))
    assert ended(rig, name) == (state, 0, steps), rig.about(name)
    if state == "failed":  # a log that was deleted says nothing, and hides no reason
        cause = rig.ask(GetRun(name)).row.state.cause
        assert cause in ("the command exited with code 7", "the command was killed by signal 11")


def test_a_command_that_ignores_sigterm_is_killed_after_its_grace(rig, tmp_path):
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); log(1, loss=1)\nwhile True: time.sleep(60)"
    name = submit(rig, tmp_path / "work", theirs(deaf), "deaf", "command.grace_s=0.5")
    rig.wait_step(name)
    rig.ask(Stop(name))
    assert ended(rig, name) == ("stopped", 0, [1])
    assert "it has not ended after 0.5 s, and is killed" in (rig.job_folder(name) / "log.txt").read_text()


def test_a_stop_reaches_a_program_that_has_left_its_process_group(rig, tmp_path):
    """A shell's job control makes groups: `sh -m`, or a launcher that starts its ranks in sessions of their own."""
    moved = """
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            time.sleep(600)
        os.setpgid(child, child)
        os.setpgid(0, child)
        log(1, loss=1)
        signal.signal(signal.SIGTERM, lambda *_: (log(2, loss=1), os._exit(0)))
        while True: time.sleep(60)
    """
    name = submit(rig, tmp_path / "work", theirs(moved), "moved", "command.grace_s=600")
    rig.wait_step(name)
    rig.ask(Stop(name))
    assert ended(rig, name) == ("stopped", 0, [1, 2])


@pytest.mark.parametrize(("ask", "state"), [(None, "finished"), (Kill, "stopped")])
def test_a_line_of_a_shell_leaves_none_of_its_programs(rig, tmp_path, ask, state):
    loop = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo step $i loss 0.5; sleep 0.01; done"
    tail = "" if ask is None else "; sleep 600 & sleep 600"
    recipe = {"run": [], "shell": f"({loop}) | tee out.txt | cat{tail}", "metrics": ["stdout"]}
    folder = tmp_path / "work"
    folder.mkdir()
    loaded = resolve_text(f"recipe: 1\nname: piped\ncommand: {json.dumps(recipe)}\n", (), folder)
    name = rig.ask(Submit(loaded.resolved, loaded.text, "piped")).name
    if ask is not None:
        wait_until(lambda: (folder / "out.txt").exists() and b"step 9 " in (folder / "out.txt").read_bytes())
        rig.ask(ask(name))
    outcome = ended(rig, name)
    assert outcome == (state, 0, [*range(1, 101)] if ask is None else outcome[2])


def test_control_sequences_of_a_command_reach_no_terminal(rig, tmp_path, capfd):
    """Not by its last line, which says why it failed, nor by the name of a metric."""
    bad = r"""
        log(1, **{"lo\x1b[2Jss": 1, "\x1b]0;owned\x07": 2, "\x9b2J\u202e": 3, "loss": 4})
        print("step 2 \x1b[2J loss \x1b[31m0.5\x1b[0m \x1b]52;c;aGk=\x07")
        print("Traceback (most recent call last):\nOSError: \x1b]0;owned\x07 \x9b2J gone", file=sys.stderr)
        sys.exit(3)
    """
    name = submit(rig, tmp_path / "work", theirs(bad), "escapes")
    assert ended(rig, name)[:2] == ("failed", 0)
    for words in (["show", name], ["ls"], ["tail", name], ["diff", name, name]):
        main([*words, "--home", str(rig.home.root)])
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", capfd.readouterr().out), words
    keys = [key for (key,) in rig.ask(Sql("SELECT DISTINCT key FROM metrics", 1000)).rows]
    assert "loss" in keys
    assert not [key for key in keys if re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", key)]


def test_ten_thousand_files_in_the_output_do_not_slow_the_job_down(rig, tmp_path):
    many = """
        log(1, loss=1)
        while not os.path.exists("go"): time.sleep(0.1)
        os.makedirs("out/deep")
        for number in range(5_000):
            os.mkdir(f"out/{number}")
            open(f"out/{number}.txt", "w").close()
        for step in range(2, 10_000):
            log(step, loss=1); time.sleep(0.1)
            if os.path.exists("end"): break
    """
    name = submit(rig, tmp_path / "work", [*theirs(many), "--output_dir", "out"], "many")
    rig.wait_step(name)
    (tmp_path / "work" / "go").touch()
    rig.wait_step(name, 60)
    assert cpu_share(rig, name) < 0.5
    (tmp_path / "work" / "end").touch()
    assert ended(rig, name)[:2] == ("finished", 0)


def cpu_share(rig: Rig, name: str) -> float:
    """Return the part of one core that a run's job has used in its life, but for what its imports took."""
    pid = rig.process_of(name)
    seen = processes.snapshot()[pid]
    ran_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(processes.start_time(pid)) / processes.TICKS_S
    return max(0.0, seen.cpu_s - 2.0) / ran_s


def test_numbers_come_from_a_database_once_it_is_no_longer_locked(rig, tmp_path):
    locked = """
        import sqlite3
        database = sqlite3.connect("runs.db", isolation_level=None)
        database.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT,"
                         " step INTEGER, metrics TEXT)")
        row = "INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (datetime('now'), 'a', ?, ?)"
        database.execute(row, (1, json.dumps({"loss": 0.5})))
        database.execute("BEGIN EXCLUSIVE")
        while not os.path.exists("go"): time.sleep(0.05)
        database.execute(row, (2, json.dumps({"loss": 0.25})))
        database.execute("COMMIT")
        time.sleep(2)
    """
    name = submit(rig, tmp_path / "work", theirs(locked), "locked", metrics=("trackio:runs.db",))
    rig.wait_state(name, "running")
    wait_until((tmp_path / "work" / "runs.db").exists)
    time.sleep(2.5)  # it has looked, in vain
    (tmp_path / "work" / "go").touch()
    assert ended(rig, name) == ("finished", 0, [1, 2])


def test_every_word_reaches_the_program_as_it_was_given_and_two_of_a_name_are_two_runs(rig, tmp_path):
    words = [
        "",
        " ",
        "a b",
        "é 日本 ü",
        '{"a": {"b": 1}, "lr": "{lr}"}',
        "{}",
        "{",
        "}{",
        "--",
        "-",
        "$HOME `id` ; #",
    ]
    words += ["a\nb", "'\"\\", "*", "x" * 90_000]
    told = "json.dump(sys.argv[1:], open('words.json', 'w')); log(1, loss=1)"
    names = [
        submit(rig, tmp_path / folder, theirs(told, *words), "same", "command.values.lr=0.5")
        for folder in ("one place", "zwei Straßen")
    ]
    assert len(set(names)) == 2
    for name, folder in zip(names, ("one place", "zwei Straßen"), strict=True):
        assert ended(rig, name) == ("finished", 0, [1])
        got = json.loads((tmp_path / folder / "words.json").read_text())
        assert got == [text.replace("{lr}", "0.5") for text in words]


def test_a_gigabyte_of_output_is_bounded_on_disk_and_takes_no_core(rig, tmp_path):
    flood = """
        line = "step 5 loss 0.5 and more\\n" * 4096
        for _ in range(10_500): sys.stdout.write(line)
        sys.stdout.flush()
        log(7, loss=1)
        while not os.path.exists("end"): time.sleep(0.1)
    """
    name = submit(rig, tmp_path / "work", theirs(flood), "flood")
    log = rig.job_folder(name) / "log.txt"
    wait_until(lambda: log.exists() and log.stat().st_size > 1 << 30, limit_s=600)
    limit = json.loads((log.parent / "job.json").read_bytes())["log_mib"] << 20
    wait_until(lambda: log.stat().st_blocks * 512 <= limit, "the log is bounded")
    rig.wait_step(name, 7)
    print(f"run_job took {cpu_share(rig, name):.0%} of a core")
    assert cpu_share(rig, name) < 0.5
    (tmp_path / "work" / "end").touch()
    assert ended(rig, name)[:2] == ("finished", 0)
