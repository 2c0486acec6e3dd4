"""Fault 36: commands that misbehave. Each ends in the right state, its numbers are there, and nothing of it is left."""

from collections.abc import Callable, Iterator
from textwrap import dedent

import command_runs
import pytest
from command_runs import python, stored, submit
from rig import Rig

from finetop.core.protocol.runs import word
from finetop.core.runtime.home import Home

ENDS = ("finished", "stopped", "failed", "lost")
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


@pytest.fixture
def left(rig: Rig) -> Callable[[], int]:
    """Return how many processes of the commands are left."""
    return lambda: len(rig.orphans())


# What a command does -> how it ends, and the steps of its loss that must be stored
SCRIPTS: dict[str, tuple[str, str, list[int]]] = {
    "exits at once": ("raise SystemExit", "finished", []),
    "leaves a daemon": (
        """
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
        """,
        "finished",
        [1],
    ),
    "closes its output": ("os.close(1); os.close(2); time.sleep(2); log(2, loss=1)", "finished", [2]),
    "prints half lines": (
        """
        for step in range(1, 4):
            for piece in (f"st", f"ep {step} lo", "ss 0.", "5", "\\n"):
                sys.stdout.write(piece); sys.stdout.flush(); time.sleep(0.3)
        """,
        "finished",
        [1, 2, 3],
    ),
    "prints what is no number": (
        """
        for step, value in enumerate(("nan", "NaN", "inf", "-inf", "1e999", "1" * 500), 1):
            print(f"step={step} loss={value}")
        print('{"step": 7, "loss": NaN, "lr": Infinity}')
        print({"loss": float("nan"), "step": 8, "max_steps": -1})
        log(9, eval_loss=float("nan"), total_steps=-5)
        print('{"loss": 1, "step": 1e300}')
        """,
        "finished",
        [1, 2, 3, 4, 5, 7, 8],
    ),
    "prints numbers of thousands of digits": (
        """
        for _ in range(20):
            print("loss=" + "1" * 19_000 + "x")
        print("step " + "1" * 5_000 + "/" + "2" * 5_000 + " loss 1.0")
        print(" 50%|###| " + "1" * 5_000 + "/" + "2" * 5_000 + " [00:01<00:01")
        print('{"step": ' + "1" * 5_000 + ', "loss": 1}')
        print("step 7 loss 1.0")
        """,
        "finished",
        [7],
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
    "leaves its folder": ("os.chdir('/'); log(1, loss=1)", "finished", [1]),
    "deletes its folder": ("shutil.rmtree(os.getcwd()); time.sleep(2); log(1, loss=1)", "finished", [1]),
    "deletes its log": ("os.remove(os.path.dirname(metrics) + '/log.txt'); log(1, loss=1)", "finished", [1]),
    "deletes its log and fails": (
        "os.remove(os.path.dirname(metrics) + '/log.txt'); raise SystemExit(7)", "failed", []),
    "has its own idea of its GPUs": (
        "os.environ['CUDA_VISIBLE_DEVICES'] = '7,8,9'; log(1, loss=1)", "finished", [1]),
    "becomes another program": (
        """
        line = json.dumps({"step": 3, "loss": 1})
        os.execv("/bin/sh", ["sh", "-c", f"echo '{line}' >> $FINETOP_METRICS"])
        """,
        "finished",
        [3],
    ),
    "replaces its metrics by a pipe": (
        """
        log(1, loss=1)
        time.sleep(2.5)
        os.remove(metrics)
        os.mkfifo(metrics)
        time.sleep(2.5)
        """,
        "finished",
        [1],
    ),
    "replaces its metrics by a link": (
        """
        log(1, loss=1)
        time.sleep(2.5)
        with open("/tmp/a" + str(os.getpid()), "w") as file:
            file.write('{"step": 666, "loss": 1}\\n' * 3)
        os.remove(metrics)
        os.symlink(file.name, metrics)
        time.sleep(2.5)
        os.remove(file.name)
        """,
        "finished",
        [1],
    ),
    "is killed by a signal of its own": ("log(1, loss=1); os.kill(os.getpid(), signal.SIGSEGV)", "failed", [1]),
}  # fmt: skip


def theirs(script: str, *words: object) -> list[str]:
    """Return the words that run a script, which has HEAD above it."""
    return python(dedent(HEAD) + dedent(script), *words)


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_command_that(rig, tmp_path, left, what):
    script, state, steps = SCRIPTS[what]
    name = submit(rig, tmp_path / "work", theirs(script))
    row = rig.wait_state(name, *ENDS)
    assert (word(row.state), left()) == (state, 0), rig.about(name)
    assert stored(rig, name) == steps
