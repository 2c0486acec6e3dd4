"""Which processes the kernel's log says were killed for lack of memory."""

import os
import signal
import subprocess
import sys
import time

import pytest
from small_group import GREEDY, LIMIT, small_group

from finetop.core.runtime import kernel_log
from finetop.core.runtime.kernel_log import memory_kill_of


def test_a_process_that_the_kernel_killed_for_lack_of_memory_is_named():
    began = time.time()
    with small_group() as group, subprocess.Popen([sys.executable, "-c", GREEDY, str(group)]) as killed:
        assert killed.wait() == -signal.SIGKILL
    found = memory_kill_of({killed.pid, 1}, began)
    assert found is not None and found.pid == killed.pid and found.of_group
    assert found.name.startswith("python") and 0 < found.held_kib < 2 * LIMIT // 1024
    assert memory_kill_of({os.getpid()}, began) is None
    assert memory_kill_of({killed.pid}, time.time() + 60) is None  # an earlier process of that number


@pytest.mark.parametrize("log", ["missing", "folder"])
def test_a_log_that_cant_be_read_names_nobody(tmp_path, monkeypatch, log):
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(kernel_log, "LOG", tmp_path / log)
    assert memory_kill_of({os.getpid()}, 0.0) is None
