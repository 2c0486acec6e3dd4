"""How a job ended, in words and as a kind: from the keeper's record, the job's own event, and its log."""

import subprocess
import sys
from collections.abc import Sequence

import msgspec
import pytest

from finetop.core.protocol import runs as data
from finetop.core.protocol.events import Ended
from finetop.core.runtime import ranks
from finetop.core.store.jobs import Job
from finetop.core.supervisor.endings import exit_reason
from finetop.core.supervisor.launchers.launcher import Exit

GIB = 1 << 20  # in KiB
FAULT = [
    "Fatal Python error: Segmentation fault",
    "Current thread 0x00007fb42d60c340 (most recent call first):",
    '  File "/home/ana/train.py", line 17 in load_rows',
]


def ended(
    facts: Exit | None,
    said: Ended | None = None,
    log: list[str] | None = None,
    asked: str = "",
    ends: Sequence[exit_reason.RankEnd] = (),
) -> data.State:
    job = Job.__new__(Job)
    object.__setattr__(job, "state", data.Running(since=1.0))
    object.__setattr__(job, "asked", asked)
    return exit_reason.ending(job, facts, said, log or [], ends, rebooted=False)


def killed(number: int, **more: int) -> Exit:
    return Exit(None, number, 2.0, more.pop("peak", GIB), **more)


@pytest.mark.parametrize(
    ("facts", "said", "log", "kind", "cause"),
    [
        (killed(9, oom_kills=1, memory_limit_kib=8 * GIB, peak=8 * GIB), None, [], "out_of_memory",
         "out of memory on this machine: it held 8.0 of 8.0 GiB"),
        (killed(9, oom_kills=0, memory_limit_kib=8 * GIB), None, [], "killed", "killed by signal 9"),
        (killed(9, oom_kills=0, memory_limit_kib=8 * GIB, peak=8 * GIB), None, [], "killed", "killed by signal 9"),
        (killed(9, memory_limit_kib=8 * GIB, peak=8 * GIB), None, [], "out_of_memory",
         "out of memory on this machine: it held 8.0 of 8.0 GiB"),
        (killed(9), None, [], "killed", "killed by signal 9"),  # no count
        (killed(15, oom_kills=0), None, [], "killed", "killed by signal 15"),
        (killed(11, oom_kills=0), None, FAULT, "crashed", "segmentation fault (signal 11)"),
        (killed(6, oom_kills=0), None, ["what():  std::bad_alloc"], "out_of_memory", "out of memory on this machine"),
        (killed(6, oom_kills=0), None, ["[rank1] Watchdog caught collective operation timeout"], "communication",
         "the ranks lost each other"),
        (killed(7, oom_kills=0), None, [], "crashed", "bus error (signal 7)"),
        (killed(64, oom_kills=0), None, [], "killed", "killed by signal 64"),
        (Exit(1, None, 2.0, GIB, 1), Ended("failed", "DataLoader worker is killed", kind="code"), [], "out_of_memory",
         "out of memory on this machine"),
        (Exit(1, None, 2.0, GIB, 1), Ended("failed", "row 3", kind="bad_data"), [], "bad_data", "row 3"),
        (Exit(1, None, 2.0, GIB, 0), None, ["ImportError: cannot allocate memory in static TLS block"],
         "out_of_memory", "out of memory on this machine"),
        (Exit(7, None, 2.0, GIB, 0), None, ["ValueError: a cabbage"], "code", "exited with code 7"),
        (Exit(0, None, 2.0, GIB, 0), Ended("stopped", "asked to stop, after step 3 of 9", kind="asked"), [], "killed",
         "ended by signal 15 from outside, and saved"),
        (Exit(1, None, 2.0, GIB, 0), Ended("failed", "x", kind="of-a-newer-finetop"), [], "code", "x"),
    ],
)  # fmt: skip
def test_why_a_job_failed(facts, said, log, kind, cause):
    state = ended(facts, said, log)
    assert isinstance(state, data.Failed)
    assert (state.kind, state.cause, state.log) == (kind, cause, log)
    assert log is not FAULT or "in load_rows (ana/train.py:17)" in state.hint


def test_what_a_person_asked_for_is_no_failure():
    asked = Ended("stopped", "asked to stop, after step 3 of 9", kind="asked")
    assert ended(Exit(0, None, 2.0, GIB, 0), asked, asked="stop").how == "stop"
    assert ended(killed(15, oom_kills=0), asked="stop").how == "stop"
    assert ended(killed(9, oom_kills=0), asked="kill").how == "kill"
    used_up = ended(Exit(0, None, 2.0, GIB, 0), Ended("stopped", "budget.hours (2) is used up"))
    assert (used_up.how, used_up.cause) == ("stop", "budget.hours (2) is used up")
    # who was asked to stop when all was done has finished
    assert isinstance(ended(killed(15), Ended("finished"), asked="stop"), data.Finished)
    assert isinstance(ended(killed(15), None, asked="stop"), data.Stopped)
    assert isinstance(ended(killed(9), Ended("finished")), data.Failed)
    words = "stopped early at step 120: eval_loss did not improve on 1.23 (step 90) in 3 evaluations"
    assert ended(Exit(0, None, 2.0, GIB), Ended("finished", words)) == data.Finished(1.0, 2.0, words)


def test_the_logs_last_lines_are_few_and_short_and_of_a_progress_bar_the_last(tmp_path):
    lines = [f"line {n}" for n in range(50)]
    bar = "\r".join(f"{n} %" for n in range(100))
    text = "\n".join([*lines, bar, "", "x" * 5000, "\udcff"])
    (tmp_path / "log.txt").write_text(text, errors="surrogateescape")
    found = exit_reason.last_lines(tmp_path / "log.txt", None)
    assert found[:2] == ["line 45", "line 46"]
    assert found[5] == "99 %"
    assert [len(line) for line in found[6:]] == [exit_reason.LINE_LIMIT, 1]
    assert exit_reason.last_lines(tmp_path / "none", None) == []


def test_of_a_crash_the_frames_of_the_thread_that_crashed_are_kept(tmp_path):
    program = (
        "import ctypes, faulthandler, threading, time\n"
        "faulthandler.enable()\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "def load_rows(depth):\n"
        "    ctypes.string_at(0) if not depth else load_rows(depth - 1)\n"
        "load_rows(20)\n"
    )
    with (tmp_path / "log.txt").open("w") as log:
        subprocess.run([sys.executable, "-c", program], stderr=log, check=False)
    found = exit_reason.last_lines(tmp_path / "log.txt", killed(11))
    assert found[0] == "Fatal Python error: Segmentation fault"
    assert found[1].startswith("Current thread")
    assert "in string_at" in found[2]
    assert "in load_rows" in found[3]
    assert len(found) == exit_reason.LINES
    assert "in string_at (ctypes/__init__.py:" in ended(killed(11, oom_kills=0), None, found).hint


TORCHRUN = "E1127 20:11:40.000 4 torch/distributed/elastic/multiprocessing/api.py:1003] "


def left(folder, number, ended=None, at=1.0):
    """Write the record of a rank that ended like this; None: it was killed."""
    (folder / "ranks").mkdir(exist_ok=True)
    words = ranks.RankRecord(1, "1", "boot", ended, at)
    (folder / "ranks" / f"{number}.json").write_bytes(msgspec.json.encode(words))


def of_ranks(folder, said=None, log="", asked="", **facts):
    (folder / "log.txt").write_text(log)
    ends = exit_reason.rank_ends(folder, folder / "log.txt")
    return ended(Exit(1, None, 2.0, GIB, **facts), said, log.splitlines(), asked, ends)


def test_the_rank_that_was_killed_is_named_with_its_signal(tmp_path):
    alone = Ended("failed", "rank 1 died", "", 1, "communication")
    left(tmp_path, 0, alone)
    left(tmp_path, 1)
    log = f"{TORCHRUN}failed (exitcode: -9) local_rank: 1 (pid: 4711) of binary: python\n"
    state = of_ranks(tmp_path, alone, log)
    assert (state.kind, state.cause) == ("killed", "rank 1: killed by signal 9")
    assert of_ranks(tmp_path, alone, "").cause == "rank 1: died without a message"
    state = of_ranks(tmp_path, alone, log, oom_kills=1)
    assert (state.kind, state.cause) == ("out_of_memory", "rank 1: out of memory on this machine")
    assert of_ranks(tmp_path, alone, log.replace("-9", "-15"), asked="stop").__class__ is data.Stopped


def test_a_launcher_that_was_killed_is_named_and_no_rank_is_blamed(tmp_path):
    left(tmp_path, 0)
    left(tmp_path, 1)
    (tmp_path / "log.txt").write_text("")
    ends = exit_reason.rank_ends(tmp_path, tmp_path / "log.txt")
    for kills, kind, cause in (
        (0, "killed", "the launcher of the ranks (torchrun or srun) was killed by signal 9"),
        (1, "out_of_memory", "out of memory on this machine"),
    ):
        state = ended(killed(9, oom_kills=kills), ends=ends)
        assert (state.kind, state.cause) == (kind, cause)


def test_what_torchrun_reports_does_not_hide_the_ranks_own_words(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text(f"step 3\nValueError: a cabbage\n{TORCHRUN}failed (exitcode: 1)\nTraceback\n=====\n")
    assert exit_reason.last_lines(log, None) == ["step 3", "ValueError: a cabbage"]
    log.write_text(f"{TORCHRUN}failed (exitcode: 1)\n=====\n")
    assert exit_reason.last_lines(log, None)[-1] == "====="


def test_the_rank_that_failed_by_itself_is_named_not_those_it_left_alone(tmp_path):
    alone = Ended("failed", "the ranks lost each other", "", 1, "communication")
    left(tmp_path, 0, alone)
    full = Ended("failed", "out of memory on the GPU: 2 GiB", "Lower it.", 1, "gpu_out_of_memory")
    left(tmp_path, 1, full, 3.0)
    left(tmp_path, 2, Ended("failed", "ValueError: a cabbage", "", 1, "code"), 4.0)
    state = of_ranks(tmp_path, alone)
    assert (state.kind, state.cause) == ("gpu_out_of_memory", "rank 1: out of memory on the GPU: 2 GiB")


def test_a_rank_that_srun_killed_with_the_others_does_not_hide_the_one_that_failed(tmp_path):
    left(tmp_path, 0)  # on the other node: it had no time to write an event
    left(tmp_path, 1, Ended("failed", "out of memory on the GPU", "Lower it.", 1, "gpu_out_of_memory"))
    assert of_ranks(tmp_path).cause == "rank 1: out of memory on the GPU"
    left(tmp_path, 1)
    log = f"{TORCHRUN}failed (exitcode: -9) local_rank: 0 (pid: 4711) of binary: python\n"
    log += "[0]:\n  rank      : 1 (local_rank: 0)\n  exitcode  : -9 (pid: 4711)\n"
    assert of_ranks(tmp_path, None, log).cause == "rank 1: killed by signal 9"


def test_what_was_wrong_before_is_no_ranks(tmp_path):
    wrong = Ended("failed", "data.train: there is nothing", "Name a file.", 2, "bad_data")
    left(tmp_path, 0, wrong)
    left(tmp_path, 1, Ended("failed", "rank 0 failed", "", 1, "communication"))
    state = of_ranks(tmp_path, wrong)
    assert (state.cause, state.exit_code) == ("data.train: there is nothing", 2)
    both = Ended("failed", "ValueError: both", "", 1, "code")
    left(tmp_path, 0, both)
    left(tmp_path, 1, both)
    assert of_ranks(tmp_path, both).cause == "ValueError: both"
