"""The ranks of a job: how they start, their records, and what one concludes when another is gone."""

import functools
import itertools
import os
import signal
import subprocess
import sys
import threading

import msgspec
import pytest
from waiting import wait_until

from finetop.core.protocol.events import Ended, Phase, metrics
from finetop.core.runtime import processes, ranks
from finetop.core.runtime.files import write_whole
from finetop.core.runtime.ranks import Rank

FAR = {"boot": "of another machine"}


@functools.cache
def ended_process():
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        return gone.pid


def left(folder, number, pid=None, ended=None, boot=None):
    """Write a rank's record; without a pid, that of a process that has ended."""
    start = "1" if pid is None else processes.start_time(pid)
    pid = pid or ended_process()
    (folder / "ranks").mkdir(exist_ok=True)
    words = ranks.RankRecord(pid, start, processes.boot_id() if boot is None else boot, ended, 1.0, "node1")
    write_whole(folder / "ranks" / f"{number}.json", msgspec.json.encode(words))


def test_one_process_is_started_as_ever_and_several_by_torchrun(tmp_path):
    own = ["-P", "-m", "finetop.core.run_job", str(tmp_path)]
    assert ranks.launch_command(tmp_path, 1)[1:] == own
    command = ranks.launch_command(tmp_path, 4)
    assert command[1:5] == ["-P", "-m", "torch.distributed.run", "--standalone"]
    # otherwise the ranks meet at the host's own name, which may not resolve
    assert command[command.index("--local-addr") + 1] == "127.0.0.1"
    assert command[command.index("--nproc-per-node") + 1] == "4"
    assert command[-6:] == ["--no-python", sys.executable, *own]
    # each node of several is told where they meet
    command = ranks.launch_command(tmp_path, 1, nodes=2, rendezvous_id="4711", endpoint="node1:29500")
    assert "--standalone" not in command
    said = dict(itertools.pairwise(command))
    assert (said["--nnodes"], said["--rdzv-id"], said["--rdzv-endpoint"]) == ("2", "4711", "node1:29500")


@pytest.mark.parametrize(
    ("count", "environment", "threads"),
    [
        (4, {"SLURM_CPUS_ON_NODE": "32"}, "8"),
        (4, {"SLURM_CPUS_ON_NODE": "2"}, "1"),
        (4, {"SLURM_CPUS_ON_NODE": "32", "OMP_NUM_THREADS": "3"}, "3"),  # set by the user
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


def test_the_launcher_says_which_rank_a_process_is():
    said = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    found = [ranks.own(environment) for environment in ({}, said, {**said, "RANK": "one"})]
    assert found == [Rank(), Rank(1, 2, 1), Rank()]


def test_only_training_runs_in_several():
    for verb, gpus, asked, said, count in (
        ("train", 4, 4, "", 4),
        ("train", 0, None, "", 1),
        ("train", 0, None, "2", 2),
        ("train", 0, 0, "2", 2),
        ("train", 0, 3, "2", 3),  # no NVML that could list GPUs
        ("train", 1, None, "2", 1),
        ("check", 1, 4, "2", 1),
    ):
        environment = {ranks.CPU_RANKS: said}
        assert ranks.count_of(verb, gpus, asked, environment=environment) == count, (verb, gpus, asked, said)


def test_a_rank_that_is_gone_without_a_word_is_dead(tmp_path):
    left(tmp_path, 1, os.getpid())
    assert ranks.lost(tmp_path, Rank(0, 2)) is None
    left(tmp_path, 1)
    assert ranks.lost(tmp_path, Rank(0, 2)) == Ended("failed", "rank 1 died", "", 1, "communication")
    assert ranks.lost(tmp_path, Rank(1, 2)) is None, "it is not its own neighbour"
    assert ranks.lost(tmp_path, Rank(0, 1)) is None


@pytest.mark.parametrize("boot", [None, "of another machine"])
def test_a_rank_that_says_why_it_fails_is_quoted_and_one_that_stops_is_followed(tmp_path, boot):
    if boot is not None:  # of a rank on another machine nobody here knows whether it lives
        left(tmp_path, 1, boot=boot)
        assert ranks.lost(tmp_path, Rank(0, 2)) is None
    out, stopped = "out of memory on the GPU", Ended("stopped", "asked to stop", kind="asked")
    for ended, lost in (
        (
            Ended("failed", out, kind="gpu_out_of_memory"),
            ("failed", f"rank 1 failed: {out}", "communication"),
        ),
        (stopped, (stopped.status, stopped.cause, stopped.kind)),
        (Ended("finished"), None),
    ):
        left(tmp_path, 1, boot=boot, ended=ended)
        word = ranks.lost(tmp_path, Rank(0, 2))
        assert (word and (word.status, word.cause, word.kind)) == lost


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
    messages = []

    def leave(word):
        messages.append(word)
        ends.set()

    watching = ranks.Watch(ranks.Peers(tmp_path, Rank(0, 2)), leave, ends := threading.Event())
    watching.run()
    assert [word.cause for word in messages] == ["rank 1 died"]


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """What rank 0 of 16 has read, and how many files that took; nine are on its machine."""
    for number in range(16):
        left(tmp_path, number, os.getpid(), boot=None if number < 9 else "of another machine")
    reads, real = [], ranks.read
    monkeypatch.setattr(ranks, "read", lambda folder: reads.extend(found := real(folder)) or found)
    return ranks.Peers(tmp_path, Rank(0, 16)), reads


def looks(peers, first_s, last_s):
    """Watch the others as the thread does, once a second. Return the results by time."""
    results = {}
    for number in range(int(first_s / ranks.LOOK_S), int(last_s / ranks.LOOK_S)):
        results[number * ranks.LOOK_S] = peers.required_end(1000.0 + number * ranks.LOOK_S)
    return {at: word for at, word in results.items() if word is not None}


@pytest.mark.slow
def test_files_of_ranks_are_read_ever_more_rarely_while_nothing_changes_and_a_death_is_noticed_at_once(peers):
    watch, reads = peers
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as peer:
        left(watch.job_folder, 3, peer.pid)
        assert looks(watch, 0, 60) == {}
        assert len(reads) <= 16 * 11, "at 1, 2, 4, 8 s and so on"
        reads.clear()
        assert looks(watch, 60, 180) == {}
        assert len(reads) <= 16 * 12, "of 240 looks"
        assert looks(watch, 180, 300) == {}
        # a change of the folder is read at once, and often after it
        reads.clear()
        left(watch.job_folder, 12, os.getpid(), boot="of a third machine")
        looks(watch, 300, 302)
        assert len(reads) >= 2 * 16
        assert looks(watch, 302, 500) == {}
    (at, word), *_ = looks(watch, 500, 501).items()  # a process of this machine has died
    assert (at, word.cause) == (500.0, "rank 3 died")


@pytest.mark.slow
def test_what_a_rank_of_another_machine_says_is_heard_in_ten_seconds_whatever_its_folder_shows(peers):
    watch, _ = peers
    assert looks(watch, 0, 300) == {}
    folder = watch.job_folder / "ranks"
    shown = folder.stat()
    left(watch.job_folder, 12, os.getpid(), **FAR, ended=Ended("failed", "row 3"))
    os.utime(folder, ns=(shown.st_atime_ns, shown.st_mtime_ns))  # as NFS may show it for a while
    (at, word), *_ = looks(watch, 300, 311).items()
    assert at <= 310 and word.cause == "rank 12 failed: row 3"


def signed(folder, number, *, age_s=0.0, **sign):
    """Write the sign of a rank, so many seconds old."""
    file = folder / "ranks" / f"{number}.sign"
    file.write_bytes(msgspec.json.encode(ranks.Sign(**sign)).ljust(ranks.SIGN_BYTES))
    os.utime(file, (1e9 - age_s, 1e9 - age_s))


WAITING = "all_reduce (distributed/c10d.py:3)"


@pytest.fixture
def three(tmp_path):
    """A folder of three ranks on other machines that wait in the exchange after step 41."""
    for number in range(3):
        left(tmp_path, number, os.getpid(), **FAR)
        signed(tmp_path, number, step=41, doing="training", where=WAITING, meets=True)
    return tmp_path


def test_a_rank_that_is_stopped_is_late_with_its_process_and_what_it_did_last(three):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as peer:
        os.kill(peer.pid, signal.SIGSTOP)
        wait_until(lambda: processes.stat_field(peer.pid, 0) == "T", "it is stopped")
        left(three, 1, peer.pid)
        late = ranks.late(three, 3)
        peer.kill()
    assert late.who == f"rank 1 (pid {peer.pid} on node1) has not finished step 42"
    assert late.others == "the others wait"
    assert late.did == f"rank 1 is stopped by a signal, and was last in {WAITING}, after step 41"


@pytest.mark.parametrize(
    ("sign", "who", "did"),
    [
        ({"step": 41, "age_s": 200.0, "meets": True}, "step 42", "rank 2 shows no signs of life"),
        ({"step": 40, "doing": "training", "where": "read (a/b.py:3)"}, "step 42",
         "rank 2 was last in read (a/b.py:3), after step 40"),
        ({"step": 41, "doing": "training", "where": "read (a/b.py:3)"}, "step 42",
         "rank 2 was last in read (a/b.py:3), after step 41"),
        ({"step": 30, "doing": "preparing data", "where": "read (a/b.py:3)"}, "step 42",
         "rank 2 was last in read (a/b.py:3), after step 30"),
        ({"step": 41, "doing": "writing a checkpoint", "where": "save (a/b.py:3)"}, "writing a checkpoint",
         "rank 2 was last in save (a/b.py:3), after step 41"),
    ],
)  # fmt: skip
def test_a_rank_of_any_machine_is_late_by_its_signs(three, sign, who, did):
    signed(three, 2, **sign)
    late = ranks.late(three, 3)
    assert late.who == f"rank 2 (pid {os.getpid()} on node1) has not finished {who}"
    assert late.did == did


def test_ranks_that_never_began_are_late_and_before_the_first_step_what_one_does_is_named(tmp_path, three):
    for number in range(3):
        signed(three, number, doing="loading the model", where="gather (a/b.py:1)", meets=number != 1)
    late = ranks.late(three, 3)
    assert late.who == f"rank 1 (pid {os.getpid()} on node1) has not finished loading the model"
    ranks.clear(three)
    assert ranks.late(tmp_path, 2) == ranks.Late("none of 2 ranks has begun", "their launcher waits")
    left(tmp_path, 0, os.getpid())
    assert ranks.late(tmp_path, 2) == ranks.Late("rank 1 has not begun")
    assert ranks.late(tmp_path, 3) == ranks.Late("ranks 1, 2 have not begun")


def test_where_all_wait_in_an_exchange_no_rank_is_blamed(three):
    all_wait = ("each waits for the others", f"rank 0 waits in {WAITING}")
    assert ranks.late(three, 3) == ranks.Late("none of 3 ranks has finished step 42", *all_wait)
    # where nothing tells which is late, none is
    for number in range(3):
        signed(three, number, step=41, doing="training", where="read (a/b.py:3)")
    assert ranks.late(three, 3) is None


def test_a_rank_signs_where_it_is_without_a_change_of_its_folder(tmp_path):
    left(tmp_path, 1, os.getpid())
    own = ranks.Signs(tmp_path, Rank(1, 2))
    own.write_if_due(-1.0)
    changed = (tmp_path / "ranks").stat().st_mtime_ns
    own.note(Phase("training", 5.0, 10.0, "steps"))
    own.write_if_due(0.0)
    assert (ranks.signs(tmp_path)[1][1].step, ranks.signs(tmp_path)[1][1].doing) == (0, "training")
    own.note(metrics(6, {"loss": 1.0}))
    own.note(metrics(7, {"drift": 1.0}))
    own.write_if_due(ranks.SIGN_S / 2)
    assert ranks.signs(tmp_path)[1][1].step == 0, "the last one is new enough"
    own.write_if_due(ranks.SIGN_S)
    sign = ranks.signs(tmp_path)[1][1]
    assert (sign.step, sign.doing, sign.meets) == (6, "training", False)
    assert sign.where.startswith("main_thread (")
    assert (tmp_path / "ranks").stat().st_mtime_ns == changed
    ranks.clear(tmp_path)
    assert ranks.signs(tmp_path) == {}
