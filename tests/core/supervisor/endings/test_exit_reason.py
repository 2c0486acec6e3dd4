"""How a job ended, in words and as a kind: from the keeper's record, the job's own event, and its log."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from finetop.core.protocol import runs as data
from finetop.core.protocol.events import Ended
from finetop.core.runtime import ranks
from finetop.core.runtime.kernel_log import MemoryKill
from finetop.core.store.jobs import Job
from finetop.core.supervisor.endings import exit_reason
from finetop.core.supervisor.launchers.launcher import Exit

GIB = 1 << 20  # in KiB
OF_KERNEL = MemoryKill(7, "python", 6 * GIB, of_group=False)
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
    verb: data.Verb = "train",
) -> data.State:
    job = Job.__new__(Job)
    object.__setattr__(job, "state", data.Running(since=1.0))
    object.__setattr__(job, "asked", asked)
    object.__setattr__(job, "verb", verb)
    return exit_reason.ending(job, facts, said, log or [], ends, rebooted=False)


def killed(number: int, **more: Any) -> Exit:
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
        (killed(9, oom_kills=0, memory_limit_kib=8 * GIB, memory_kill=OF_KERNEL), None, [], "out_of_memory",
         "out of memory on this machine: the kernel killed process 7 (python), which held 6.0 of 8.0 GiB"),
        (killed(15, oom_kills=0), None, [], "killed", "killed by signal 15"),
        (killed(11, oom_kills=0), None, FAULT, "crashed", "segmentation fault (signal 11)"),
        (killed(6, oom_kills=0), None, ["what():  std::bad_alloc"], "out_of_memory", "out of memory on this machine"),
        (killed(6, oom_kills=0), None, ["[rank1] Watchdog caught collective operation timeout"], "communication",
         "the ranks lost each other"),
        (killed(7, oom_kills=0), None, [], "crashed", "bus error (signal 7)"),
        (killed(64, oom_kills=0), None, [], "killed", "killed by signal 64"),
        (Exit(1, None, 2.0, GIB, 1), Ended("failed", "the command was killed by signal 9", kind="killed"), [],
         "out_of_memory", "out of memory on this machine"),
        (Exit(1, None, 2.0, GIB, 0), Ended("failed", "the command was killed by signal 9", kind="killed"), [],
         "killed", "the command was killed by signal 9"),
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
    saved, used_up = (
        Ended("stopped", "asked to stop, after step 3 of 9", kind="asked"),
        "budget.hours (2) is used up",
    )
    for facts, said, asked, how, cause in (
        (Exit(0, None, 2.0, GIB, 0), saved, "stop", "stop", saved.cause),
        (killed(15, oom_kills=0), None, "stop", "stop", ""),
        (killed(15), None, "stop", "stop", ""),
        (killed(9, oom_kills=0), None, "kill", "kill", ""),
        (Exit(0, None, 2.0, GIB, 0), Ended("stopped", used_up), "", "stop", used_up),
    ):
        assert ended(facts, said, asked=asked) == data.Stopped(2.0, how, 1.0, cause)
    # who was asked to stop when all was done has finished
    assert isinstance(ended(killed(15), Ended("finished"), asked="stop"), data.Finished)
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


def test_what_torchrun_reports_does_not_hide_the_ranks_own_words(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text(f"step 3\nValueError: a cabbage\n{TORCHRUN}failed (exitcode: 1)\nTraceback\n=====\n")
    assert exit_reason.last_lines(log, None) == ["step 3", "ValueError: a cabbage"]
    log.write_text(f"{TORCHRUN}failed (exitcode: 1)\n=====\n")
    assert exit_reason.last_lines(log, None)[-1] == "====="


TORCHRUN = "E1127 20:11:40.000 4 torch/distributed/elastic/multiprocessing/api.py:1003] "


KILLED = f"{TORCHRUN}failed (exitcode: -9) local_rank: 1 (pid: 4711) of binary: python\n"
OF_TWO_NODES = f"{TORCHRUN}failed (exitcode: -9) local_rank: 0 (pid: 4711) of binary: python\n[0]:\n" + (
    "  rank      : 1 (local_rank: 0)\n  exitcode  : -9 (pid: 4711)\n"
)
LOST = Ended("failed", "rank 1 died", "", 1, "communication")
FULL = Ended("failed", "out of memory on the GPU: 2 GiB", "Lower it.", 1, "gpu_out_of_memory")
CABBAGE = Ended("failed", "ValueError: a cabbage", "", 1, "code")
WRONG = Ended("failed", "data.train: there is nothing", "Name a file.", 2, "bad_data")
ENDED = Exit(1, None, 2.0, GIB)


@pytest.mark.parametrize(
    ("left", "facts", "log", "kind", "cause"),
    [
        # the rank that was killed is named with its signal
        ([LOST, None], ENDED, KILLED, "killed", "rank 1: killed by signal 9"),
        ([LOST, None], ENDED, "", "killed", "rank 1: died without a message"),
        ([LOST, None], Exit(1, None, 2.0, GIB, 1), KILLED, "out_of_memory", "rank 1: out of memory on this machine"),
        # a launcher that was killed is named, and no rank is blamed
        ([None, None], killed(9, oom_kills=0), "", "killed",
         "the launcher of the ranks (torchrun or srun) was killed by signal 9"),
        ([None, None], killed(9, oom_kills=1), "", "out_of_memory", "out of memory on this machine"),
        # the first that failed by itself, not those that it left alone, or that srun killed with it on another node
        ([LOST, FULL, CABBAGE], ENDED, "", "gpu_out_of_memory", "rank 1: out of memory on the GPU: 2 GiB"),
        ([None, FULL], ENDED, "", "gpu_out_of_memory", "rank 1: out of memory on the GPU: 2 GiB"),
        ([None, None], ENDED, OF_TWO_NODES, "killed", "rank 1: killed by signal 9"),
        # what was wrong before is no rank's, nor is what all say
        ([WRONG, LOST], ENDED, "", "bad_data", "data.train: there is nothing"),
        ([CABBAGE, CABBAGE], ENDED, "", "code", "ValueError: a cabbage"),
    ],
)  # fmt: skip
def test_which_rank_is_to_blame(tmp_path, left, facts, log, kind, cause):
    state = of_ranks(tmp_path, left, facts, log)
    assert (state.kind, state.cause, state.exit_code) == (kind, cause, 2 if WRONG in left else facts.code)


def test_ranks_that_were_asked_to_stop_have_not_failed(tmp_path):
    assert isinstance(
        of_ranks(tmp_path, [LOST, None], ENDED, KILLED.replace("-9", "-15"), "stop"), data.Stopped
    )


def of_ranks(folder, left, facts, log, asked=""):
    """Return how a job ended whose ranks left these events, one after the other; None: it was killed."""
    (folder / "ranks").mkdir()
    for number, its_end in enumerate(left):
        record = ranks.RankRecord(1, "1", "boot", its_end, 1.0 + number)
        (folder / "ranks" / f"{number}.json").write_bytes(msgspec.json.encode(record))
    (folder / "log.txt").write_text(log)
    ends = exit_reason.rank_ends(folder, folder / "log.txt")
    return ended(facts, left[0], log.splitlines(), asked, ends)


def test_a_hint_names_no_setting_that_another_program_lacks():
    facts = Exit(1, None, 2.0, GIB, oom_kills=1)
    for verb, names_settings in (("train", True), ("command", False)):
        state = ended(facts, Ended("failed", "was killed by signal 9", kind="killed"), verb=verb)
        assert isinstance(state, data.Failed)
        assert ("train.batch_size" in state.hint) == names_settings
