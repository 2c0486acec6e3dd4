"""What the kernel says of memory: how many processes it killed for want of it, and how much there is for us (Linux)."""

from __future__ import annotations

import os
from pathlib import Path


def memory_groups(
    ours: Path = Path("/proc/self/cgroup"), system: Path = Path("/sys/fs/cgroup")
) -> list[tuple[Path, str, str]]:
    """List the memory cgroups that hold us, ours first: folder, file with the count of kills, file with the limit."""
    try:
        lines = ours.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            root, files = system / "memory", ("memory.oom_control", "memory.limit_in_bytes")
        elif not controllers:
            root, files = system, ("memory.events", "memory.max")
        else:
            continue
        own = root / path.lstrip("/")
        found += [(group, *files) for group in (own, *own.parents) if group.is_relative_to(root)]
    return [group for group in found if (group[0] / group[1]).exists()]


def oom_kills() -> int | None:
    """Read how many processes the kernel killed for want of memory: in our cgroup, else on this machine."""
    for file in [group / events for group, events, _ in memory_groups()[:1]] + [Path("/proc/vmstat")]:
        try:
            for line in file.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        except (OSError, ValueError):
            continue
    return None


def memory_limit_kib() -> int:
    """Say how much memory there is for us: the least of the machine's and of all cgroups' around us. 0: unknown."""
    limits = []
    try:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        limits += [
            int(text)
            for group, _, limit in memory_groups()
            if (text := (group / limit).read_text().strip()).isdigit()
        ]
    except (OSError, ValueError):
        pass
    return min(limits, default=0) // 1024
