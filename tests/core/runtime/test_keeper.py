"""What the keeper reads from its surroundings; how it asks several nodes to stop."""

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from waiting import wait_until

from finetop.core.runtime import keeper, processes

PRETENDED = str(Path(__file__).parents[2] / "rig" / "pretended_srun.py")


@contextlib.contextmanager
def catching(number):
    """Run a process with a handler for a signal."""
    code = f"import signal, sys; signal.signal({number}, print); print('ready', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def test_who_has_a_handler_for_a_signal_is_told_from_who_has_not():
    for number, catches in ((12, True), (10, False)):
        with catching(number) as process:
            assert processes.catches(process.pid, signal.SIGUSR2) is catches


@dataclass
class TwoNodes:
    """A keeper with srun below it, and a rank that is not their descendant: Slurm's own daemons start those."""

    folder: Path
    keeper: subprocess.Popen[bytes] | None = None
    ranks: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, nodes: int = 2) -> None:
        (self.folder / "job.json").write_text(json.dumps({"ranks": 2, "nodes": nodes}))
        (self.folder / "attempt").write_text("1")
        own = [sys.executable, "-m", "finetop.core.runtime.keeper", str(self.folder), "1"]
        self.keeper = subprocess.Popen([*own, sys.executable, PRETENDED, "srun", str(self.folder)])
        self.wait("srun")
        self.wait("keeper.json")

    def start_rank(self) -> None:
        words = [sys.executable, PRETENDED, "rank", str(self.folder), "0"]
        self.ranks.append(subprocess.Popen(words, start_new_session=True))
        aside = self.folder / "tasks-aside"
        aside.write_text(str(self.ranks[-1].pid))
        aside.rename(self.folder / "tasks")

    def wait(self, name: str) -> None:
        wait_until((self.folder / name).exists, lambda: f"{name}: {list(self.folder.iterdir())}")

    def send(self, number: int) -> None:
        assert self.keeper is not None
        self.keeper.send_signal(number)

    def ended(self) -> tuple[int | None, bool]:
        """Wait for the end. Return the exit code in the keeper's record, and whether the rank has saved."""
        for process in (*self.ranks, self.keeper):
            assert process is not None
            process.wait(60)
        return json.loads((self.folder / "exit.json").read_text())["code"], (self.folder / "saved").exists()


@pytest.fixture
def two(tmp_path):
    nodes = TwoNodes(tmp_path)
    yield nodes
    for process in (*nodes.ranks, nodes.keeper):
        if process is not None:
            process.kill()
            process.wait()


def test_of_several_nodes_the_ranks_are_asked_to_stop_and_not_srun_which_kills_them(two):
    two.start()
    two.start_rank()
    two.wait("listens")
    two.send(signal.SIGTERM)
    assert two.ended() == (0, True)


@pytest.mark.parametrize("nodes", [1, 2])  # torchrun alone would fail on it, too
def test_who_asks_before_a_rank_is_there_or_listens_is_heard_later(two, nodes):
    two.start(nodes)
    (two.folder / "stay-deaf").touch()
    two.send(signal.SIGTERM)
    two.start_rank()
    two.wait("deaf")  # SIGTERM would end it now
    two.send(signal.SIGTERM)
    (two.folder / "stay-deaf").unlink()
    assert two.ended() == (0, True)


def test_a_kill_of_several_nodes_is_srun_s_which_reaches_them(two):
    two.start()
    two.start_rank()
    two.wait("listens")
    two.send(signal.SIGUSR1)
    assert two.ended() == (143, False)
    assert two.ranks[0].returncode == -signal.SIGKILL


def test_only_ranks_of_this_machine_that_are_who_they_were_and_listen_are_asked(tmp_path):
    (tmp_path / "ranks").mkdir()
    with catching(signal.SIGTERM.value) as process:
        own = {"pid": process.pid, "start": processes.start_time(process.pid), "boot": processes.boot_id()}
        left = [own, {**own, "start": "1"}, {**own, "boot": "of another machine"}, {"pid": 1}, []]
        for number, words in enumerate(left):
            (tmp_path / "ranks" / f"{number}.json").write_text(json.dumps(words))
        assert keeper.ranks_here(tmp_path) == [(process.pid, own["start"])]
    assert keeper.ranks_here(tmp_path) == [], "it has ended"
