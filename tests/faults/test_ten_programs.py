"""Fault 37: many programs of one user at once; each run has its own program's numbers, and nobody else's."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from command_runs import submit, up
from rig import ALONE, Rig
from waiting import TORCH_LIMIT_S, times, wait_until

from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.protocol.messages.runs import GetRun, Sql
from finetop.core.protocol.messages.submit import Watch
from finetop.core.protocol.runs import WATCHED, word
from finetop.core.runtime import processes
from finetop.core.runtime.job_process import users_environment

PROGRAM = Path(__file__).parents[1] / "rig" / "tracked_program.py"
TRACKERS = ("trackio", "tensorboard", "wandb", "csv", "stdout")
STRANGERS, ENDLESS = ("trackio", "tensorboard", "csv"), 10**6
ENDED = ("finished", "stopped", "failed", "lost")
REAL = (
    ["real"] if os.environ.get("FINETOP_TEST_REAL_TRACKERS") else []
)  # the packages themselves, if installed
SLOTS = ALONE + "slots: {cpu_jobs: 12}\n"
FLOAT32 = 1e-5  # of an event file
ROUNDS = times(20, 1)
ROUND_S = 600.0  # at most: 20 s on an idle machine, and each wait has a limit of its own, which tells what never came


class Field:
    """The programs of one round, in their folders below one."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder, self.number = rig, folder, 0
        self.outsiders: list[subprocess.Popen[bytes]] = []
        self.folders: dict[str, Path] = {}
        folder.mkdir()

    def words(self, tracker: str, name: str, steps: int) -> list[str]:
        """Return a program's command; its losses are like no other's."""
        self.number += 1
        side, base = self.folder / f"{name}.side", 10 * self.number
        return [sys.executable, str(PROGRAM), tracker, name, str(side), str(steps), "0.1", str(base), *REAL]

    def queue(self, tracker: str, name: str, place: str, steps: int) -> str:
        self.folders[name] = self.folder / place
        return submit(self.rig, self.folder / place, self.words(tracker, name, steps), name)

    def start(self, tracker: str, name: str, place: str, steps: int) -> subprocess.Popen[bytes]:
        """Start a program that finetop knows nothing of, with its output in a file."""
        (self.folder / place).mkdir(exist_ok=True)
        environment = {**users_environment(), "TRACKIO_DIR": str(self.folder.parent / "trackio")}
        with (self.folder / f"{name}.log").open("wb") as log:
            words, pair = self.words(tracker, name, steps), {"stdout": log, "stderr": log}
            program = subprocess.Popen(
                words, cwd=self.folder / place, env=environment, start_new_session=True, **pair
            )
        self.outsiders.append(program)
        return program

    def watch(self, tracker: str, name: str, place: str, steps: int) -> str:
        program = self.start(tracker, name, place, steps)
        request = CommandRequest(tuple(program.args), self.folder / place, name=name, objective=WATCHED)
        loaded, start = command_recipe(request), processes.start_time(program.pid)
        log = str(self.folder / f"{name}.log")
        return str(self.rig.ask(Watch(loaded.resolved, loaded.text, name, program.pid, str(start), log)).name)

    def side(self, name: str) -> list[tuple[int, float]]:
        file = self.folder / f"{name}.side"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(step), float(loss)) for step, loss in map(str.split, lines)]

    def stored(self, name: str) -> list[tuple[int, float]]:
        query = "SELECT m.step, m.value FROM metrics m JOIN runs r ON r.id = m.run_id WHERE m.key = 'loss'"
        rows = self.rig.ask(Sql(f"{query} AND r.name = '{name}' ORDER BY m.step", 100_000)).rows
        return [(int(step), float(loss)) for step, loss in rows]

    def left_out(self, name: str) -> dict[str, str]:
        numbers = self.rig.ask(GetRun(name)).numbers_from
        return {} if numbers is None else {f"{one.source} {one.file}": one.why for one in numbers.left_out}


def disturb(field: Field, names: list[str], luck: random.Random) -> None:
    """Kill a program, the job that reads one, or the supervisor."""
    what, name = luck.choice(("program", "job", "supervisor")), luck.choice(names)
    if what == "supervisor":
        field.rig.restart()
        return
    record = field.rig.job_folder(name) / "keeper.json"
    if word(field.rig.ask(GetRun(name)).row.state) != "running" or not record.exists():
        return  # it has ended meanwhile
    with suppress(ProcessLookupError, StopIteration, ValueError):
        job = int(json.loads(record.read_text())["job_pid"])
        os.kill(next(iter(processes.descendants(job))) if what == "program" else job, signal.SIGKILL)


@pytest.mark.timeout(ROUND_S * ROUNDS)
def test_each_of_many_programs_at_once_has_its_own_numbers(cold_rig, tmp_path, survived):
    rig = cold_rig
    rig.settings = SLOTS
    up(rig, TRACKIO_DIR=str(tmp_path / "trackio"))
    wrong = lost = doubled = written = untold = 0
    luck = random.Random(7)
    for number in range(ROUNDS):
        field = Field(rig, tmp_path / f"round-{number}")
        tag = f"-{number}"
        try:
            for tracker, letter, place in zip(
                STRANGERS, "abc", ("elsewhere", "tensorboard", "stdout"), strict=True
            ):
                field.start(tracker, f"stranger-{letter}{tag}", place, ENDLESS)
            wait_until(lambda: all(field.side(f"stranger-{one}{tag}") for one in "abc"), "the strangers")  # noqa: B023
            names = [
                field.queue(
                    tracker, f"{tracker}-{copy}{tag}", tracker if tracker != "csv" else f"csv-{copy}", 40
                )
                for copy in (1, 2)
                for tracker in TRACKERS
            ]
            names += [
                field.watch("stdout", f"watched-a{tag}", "watched-a", 60),
                field.watch("trackio", f"watched-b{tag}", "watched-b", 60),
            ]
            names += [
                field.queue(tracker, f"queued-{tracker}{tag}", f"queued-{tracker}", 15)
                for tracker in TRACKERS
            ]
            for _ in range(2):
                running = [name for name in names if word(rig.ask(GetRun(name)).row.state) == "running"]
                if running:
                    disturb(field, running, luck)
                time.sleep(luck.random())  # at any moment of the programs
            rows = {name: rig.wait_state(name, *ENDED, limit_s=TORCH_LIMIT_S) for name in names}
            for name in names:
                side, stored = field.side(name), field.stored(name)
                truth = dict(side)
                steps = [step for step, _ in stored]
                is_whole = word(rows[name].state) == "finished"
                written += len(side)
                doubled += len(steps) - len(set(steps))
                # killed between a value and its note: the value may be there without
                bad = [
                    (step, loss)
                    for step, loss in stored
                    if abs(loss - truth.get(step, loss if step == len(side) + 1 and not is_whole else 1e9))
                    > FLOAT32 * loss
                ]
                if "-".join(name.split("-")[:-1]) and bad:
                    print(
                        f"round {number}: {name} has {bad[:3]}, its program wrote {side[:1]} to {side[-1:]}"
                    )
                wrong += len(bad)
                missing = sorted(set(truth) - set(steps))
                is_left = (
                    name.startswith("watched") and not is_whole
                )  # its watch was killed: it goes on unread
                if missing and not is_left and (is_whole or not REAL):
                    lost += len(missing)
                    print(
                        f"round {number}: {name} {rows[name].state} lacks {missing}: {field.left_out(name)}"
                    )
            for name in names[:10]:
                told = " ".join(field.left_out(name))
                strange = {"tensorboard": f"stranger-b{tag}", "stdout": "csv metrics.csv"}
                if strange.get(name.partition("-")[0], "") not in told:
                    untold += 1
                    print(f"round {number}: {name} {rows[name].state} leaves out only {told}")
        finally:
            for program in field.outsiders:
                program.kill()
                program.wait()
    survived(
        "37", f"{ROUNDS} rounds of ten programs, five queued, two watched, three strangers", repeats=ROUNDS,
        written=written, lost=lost, doubled=doubled, wrong=wrong + untold, orphans=len(rig.orphans()),
    )  # fmt: skip
