"""What the keeper looks at around itself: the cgroups that limit memory, as version 1 and 2 lay them out."""

import os
import signal
import subprocess
import sys

import pytest

from finetop.core.runtime import processes


@pytest.mark.parametrize(
    ("ours", "folders", "found"),
    [
        ("0::/user.slice/job\n", ["user.slice/job", "user.slice"], ["user.slice/job", "user.slice"]),  # version 2
        ("0::/\n", [""], [""]),  # a container of version 2
        ("9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n", ["memory/a/b", "memory/a", "memory"],
         ["memory/a/b", "memory/a", "memory"]),  # version 1, or both
        ("4:memory:/docker/0123\n", ["memory"], ["memory"]),  # a container of version 1: its path lies outside
        ("0::/init.scope\n", [], []),  # version 2 without the controller
    ],
)  # fmt: skip
def test_memory_groups_are_found_ours_first(tmp_path, ours, folders, found):
    (tmp_path / "cgroup").write_text(ours)
    for folder in folders:
        group = tmp_path / "fs" / folder
        group.mkdir(parents=True, exist_ok=True)
        name = "memory.oom_control" if folder.startswith("memory") else "memory.events"
        (group / name).write_text("low 0\noom 3\noom_kill 2\n")
    groups = processes.memory_groups(tmp_path / "cgroup", tmp_path / "fs")
    assert [str(group.relative_to(tmp_path / "fs")).strip(".") for group, _, _ in groups] == found


def test_the_kernel_counts_and_there_is_a_limit():
    assert processes.oom_kills() is not None
    assert 0 < processes.memory_limit_kib() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 10


def test_who_has_a_handler_for_a_signal_is_told_from_who_has_not():
    program = "import signal, sys; signal.signal(12, print); print('ready', flush=True); sys.stdin.read()"
    for code, catches in ((program, True), (program.replace("12", "10"), False)):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert processes.catches(process.pid, signal.SIGUSR2) is catches
