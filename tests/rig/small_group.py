"""A memory cgroup with a small limit, in which the kernel really kills a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from finetop.core.runtime import cgroups, kernel_log

LIMIT = 48 << 20  # bytes
# Goes into the group that it is given, and takes more than that.
GREEDY = "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid())); held = b'x' * (512 << 20)"


@contextmanager
def small_group() -> Iterator[Path]:
    """Make such a group below this process's own; skip the test if that can't be, or the kernel's log not be read."""
    own = next(iter(cgroups.groups("memory")), None)
    if own is None or not os.access(kernel_log.LOG, os.R_OK):
        pytest.skip("no memory cgroup, or a kernel log that can't be read")
    group = own.folder / f"finetop-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if own.version == 1 else "memory.max")).write_text(str(LIMIT))
    except OSError as error:
        pytest.skip(f"no memory cgroup of its own: {error.strerror}")
    try:
        yield group
    finally:
        group.rmdir()
