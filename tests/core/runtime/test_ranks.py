"""The ranks of a job: how they are started, what they leave, and what one concludes when another is gone."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading

import msgspec
import pytest

from finetop.core.protocol.events import Ended
from finetop.core.runtime import processes, ranks
from finetop.core.runtime.files import write_whole
from finetop.core.runtime.ranks import Rank


def left(folder, number, pid=None, ended=None, boot=None):
    """Write what a rank leaves; without a pid, of a process that has ended."""
    if pid is None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        pid, start = gone.pid, "1"
    else:
        start = processes.start_time(pid)
    (folder / "ranks").mkdir(exist_ok=True)
    words = ranks.LastWords(pid, start, processes.boot_id() if boot is None else boot, ended, 1.0)
    write_whole(folder / "ranks" / f"{number}.json", msgspec.json.encode(words))


def test_one_process_is_started_as_ever_and_several_by_torchrun(tmp_path):
    assert ranks.launch_command(tmp_path, 1)[1:] == ["-m", "finetop.core.run_job", str(tmp_path)]
    command = ranks.launch_command(tmp_path, 4)
    assert command[1:4] == ["-m", "torch.distributed.run", "--standalone"]
    # else the ranks meet at the name that the host gives itself, which may not resolve
    assert command[command.index("--local-addr") + 1] == "127.0.0.1"
    assert command[command.index("--nproc-per-node") + 1] == "4"
    assert command[-3:] == ["-m", "finetop.core.run_job", str(tmp_path)]


def test_each_node_of_several_is_told_where_they_meet(tmp_path):
    command = ranks.launch_command(tmp_path, 1, nodes=2, rendezvous_id="4711", endpoint="node1:29500")
    assert "--standalone" not in command
    said = dict(itertools.pairwise(command))
    assert (said["--nnodes"], said["--rdzv-id"], said["--rdzv-endpoint"]) == ("2", "4711", "node1:29500")


@pytest.mark.parametrize(
    ("count", "environment", "threads"),
    [
        (4, {"SLURM_CPUS_ON_NODE": "32"}, "8"),
        (4, {"SLURM_CPUS_ON_NODE": "2"}, "1"),
        (4, {"SLURM_CPUS_ON_NODE": "32", "OMP_NUM_THREADS": "3"}, "3"),  # a person says so
        (1, {"SLURM_CPUS_ON_NODE": "32"}, None),
        (2, {}, str(max(1, (os.cpu_count() or 1) // 2))),
    ],
)
def test_ranks_share_the_cores_of_the_node_that_they_are_started_on(count, environment, threads):
    program = "import os; print(os.environ.get('OMP_NUM_THREADS'))"
    words = [sys.executable, "-m", ranks.__name__, str(count), sys.executable, "-c", program]
    own = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "SLURM_CPUS_ON_NODE")}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**own, **environment})
    assert done.stdout.strip() == str(threads)


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, Rank()),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, Rank(1, 2, 1)),
        ({"RANK": "one", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, Rank()),
    ],
)
def test_the_launcher_says_which_rank_a_process_is(environment, rank):
    assert ranks.own(environment) == rank


@pytest.mark.parametrize(
    ("verb", "gpus", "asked", "said", "count"),
    [
        ("train", 4, 4, "", 4),
        ("train", 0, None, "", 1),
        ("train", 0, None, "2", 2),
        ("train", 0, 0, "2", 2),
        ("train", 0, 3, "2", 3),  # no NVML to say what there is
        ("train", 1, None, "2", 1),
        ("check", 1, 4, "2", 1),
    ],
)
def test_only_training_runs_in_several(verb, gpus, asked, said, count):
    assert ranks.count_of(verb, gpus, asked, environment={ranks.CPU_RANKS: said}) == count


def test_a_rank_that_is_gone_without_a_word_is_dead(tmp_path):
    left(tmp_path, 1, os.getpid())
    assert ranks.lost(tmp_path, Rank(0, 2)) is None
    left(tmp_path, 1)
    assert ranks.lost(tmp_path, Rank(0, 2)) == Ended("failed", "rank 1 died", "", 1, "communication")
    assert ranks.lost(tmp_path, Rank(1, 2)) is None, "it is not its own neighbour"
    assert ranks.lost(tmp_path, Rank(0, 1)) is None


def test_a_rank_that_says_why_it_fails_is_quoted_and_one_that_stops_is_followed(tmp_path):
    left(tmp_path, 1, ended=Ended("failed", "out of memory on the GPU", kind="gpu_out_of_memory"))
    word = ranks.lost(tmp_path, Rank(0, 2))
    assert word is not None
    assert (word.cause, word.kind) == ("rank 1 failed: out of memory on the GPU", "communication")
    left(tmp_path, 1, ended=Ended("stopped", "asked to stop", kind="asked"))
    assert ranks.lost(tmp_path, Rank(0, 2)) == Ended("stopped", "asked to stop", kind="asked")
    left(tmp_path, 1, ended=Ended("finished"))
    assert ranks.lost(tmp_path, Rank(0, 2)) is None


def test_of_a_rank_on_another_machine_nobody_here_knows(tmp_path):
    left(tmp_path, 1, boot="of another machine")
    assert ranks.lost(tmp_path, Rank(0, 2)) is None
    left(tmp_path, 1, boot="of another machine", ended=Ended("stopped", "asked to stop", kind="asked"))
    assert ranks.lost(tmp_path, Rank(0, 2)) == Ended("stopped", "asked to stop", kind="asked")
    left(tmp_path, 1, boot="of another machine", ended=Ended("failed", "out of memory on the GPU"))
    word = ranks.lost(tmp_path, Rank(0, 2))
    assert word is not None and word.cause == "rank 1 failed: out of memory on the GPU"


def test_what_an_earlier_attempt_left_goes_and_what_is_damaged_says_nothing(tmp_path):
    left(tmp_path, 0)
    (tmp_path / "ranks" / "1.json").write_text("{")
    assert list(ranks.read(tmp_path)) == [0]
    ranks.clear(tmp_path)
    assert ranks.read(tmp_path) == {}


def test_a_rank_that_hangs_after_another_has_died_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "LOOK_S", 0.001)
    monkeypatch.setattr(ranks, "GRACE_S", 0.0)
    left(tmp_path, 1)
    said = []

    def leave(word):
        said.append(word)
        ends.set()

    watching = ranks.Watch(ranks.Peers(tmp_path, Rank(0, 2)), leave, ends := threading.Event())
    watching.run()
    assert [word.cause for word in said] == ["rank 1 died"]


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """What rank 0 of 16 has read, and how many files for that; nine are on its machine."""
    for number in range(16):
        left(tmp_path, number, os.getpid(), boot=None if number < 9 else "of another machine")
    reads, real = [], ranks.read
    monkeypatch.setattr(ranks, "read", lambda folder: reads.extend(found := real(folder)) or found)
    return ranks.Peers(tmp_path, Rank(0, 16)), reads


def looks(peers, first_s, last_s):
    """Look at the others as the thread does, from one second to another. Returns what was found, by its time."""
    found = {}
    for number in range(int(first_s / ranks.LOOK_S), int(last_s / ranks.LOOK_S)):
        found[number * ranks.LOOK_S] = peers.look(1000.0 + number * ranks.LOOK_S)
    return {at: word for at, word in found.items() if word is not None}


def test_files_of_ranks_are_read_ever_more_rarely_while_nothing_changes(peers):
    watch, reads = peers
    assert looks(watch, 0, 60) == {}
    assert len(reads) <= 16 * 11, "at 1, 2, 4, 8 s and so on"
    reads.clear()
    assert looks(watch, 60, 180) == {}
    assert len(reads) <= 16 * 12, "of 240 looks"


def test_a_process_of_this_machine_that_dies_is_noticed_at_the_next_look(peers):
    watch, _ = peers
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as peer:
        left(watch.job_folder, 3, peer.pid)
        assert looks(watch, 0, 300) == {}
    (at, word), *_ = looks(watch, 300, 301).items()
    assert (at, word.cause) == (300.0, "rank 3 died")


def test_what_a_rank_of_another_machine_says_is_heard_in_ten_seconds_whatever_its_folder_shows(peers):
    watch, _ = peers
    assert looks(watch, 0, 300) == {}
    folder = watch.job_folder / "ranks"
    shown = folder.stat()
    left(watch.job_folder, 12, os.getpid(), boot="of another machine", ended=Ended("failed", "row 3"))
    os.utime(folder, ns=(shown.st_atime_ns, shown.st_mtime_ns))  # as NFS may show it for a while
    (at, word), *_ = looks(watch, 300, 311).items()
    assert at <= 310 and word.cause == "rank 12 failed: row 3"


def test_a_change_of_the_folder_is_read_at_once_and_often_after_it(peers):
    watch, reads = peers
    assert looks(watch, 0, 300) == {}
    reads.clear()
    left(watch.job_folder, 12, os.getpid(), boot="of a third machine")
    looks(watch, 300, 302)
    assert len(reads) >= 2 * 16
