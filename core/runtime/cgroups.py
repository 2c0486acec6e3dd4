"""What the control groups (v1 and v2) of this process allow: memory and CPU time, as of a container or a service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OURS = Path("/proc/self/cgroup")
SYSTEM = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """The folder of a control group, and its version."""

    folder: Path
    version: int

    def read(self, of_1: str, of_2: str) -> str:
        """Return the text of a file, which the versions name differently; '' if it can't be read."""
        try:
            return (self.folder / (of_1 if self.version == 1 else of_2)).read_text().strip()
        except OSError:
            return ""


def groups(controller: str, ours: Path = OURS, system: Path = SYSTEM) -> Iterator[Group]:
    """Yield our groups of a controller (memory, cpu), innermost first; in a container the outermost is its own."""
    try:
        lines = ours.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            root, version = system / controller, 1
        elif not controllers:
            root, version = system, 2
        else:
            continue
        own = root / path.lstrip("/")
        places = (place for place in (own, *own.parents) if place.is_relative_to(root))
        yield from (Group(place, version) for place in places if place.is_dir())


def affinity() -> int:
    """Return on how many CPU cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores(ours: Path = OURS, system: Path = SYSTEM) -> int:
    """Return how many CPU cores this process may use at a time: by its affinity and by its quota of CPU time.

    More threads than that wait for one another at every barrier, once the quota of a moment (0.1 s) is used up.
    """
    quotas = (_quota(group) for group in groups("cpu", ours, system))
    return max(1, min([affinity(), *(int(quota) for quota in quotas if quota is not None)]))


def _quota(group: Group) -> float | None:
    """Return the cores' worth of CPU time that a group may use; None for no limit."""
    words = group.read("cpu.cfs_quota_us", "cpu.max").split()
    if group.version == 1:
        words += [group.read("cpu.cfs_period_us", "")]
    if len(words) != 2 or not words[0].isdecimal() or not words[1].isdecimal():
        return None  # "max 100000", or -1 in version 1
    return int(words[0]) / max(1, int(words[1]))


def memory_limit(ours: Path = OURS, system: Path = SYSTEM) -> int | None:
    """Return our memory limit in bytes: the smallest of all enclosing groups'; None for no limit."""
    return min((limit for group in groups("memory", ours, system) if (limit := _limit(group))), default=None)


def memory_room(ours: Path = OURS, system: Path = SYSTEM) -> int | None:
    """Return the bytes left within our memory limits, counting files that the kernel can drop; None for no limit."""
    rooms = []
    for group in groups("memory", ours, system):
        used = group.read("memory.usage_in_bytes", "memory.current")
        if (limit := _limit(group)) and used.isdecimal():
            stat = dict(line.split() for line in group.read("memory.stat", "memory.stat").splitlines())
            cached = stat.get("total_inactive_file" if group.version == 1 else "inactive_file", "0")
            rooms.append(max(0, limit - int(used) + int(cached)))
    return min(rooms, default=None)


def _limit(group: Group) -> int | None:
    text = group.read("memory.limit_in_bytes", "memory.max")
    # version 1 has no word for "no limit": it gives the largest number of pages
    return int(text) if text.isdecimal() and int(text) < 2**60 else None


def oom_kills() -> int | None:
    """Return how many processes the kernel killed for lack of memory: in our group, else on this machine."""
    texts = [group.read("memory.oom_control", "memory.events") for group in groups("memory")]
    try:
        texts.append(Path("/proc/vmstat").read_text())
    except OSError:
        pass
    counts = (line.split()[1] for text in texts for line in text.splitlines() if line.startswith("oom_kill "))
    return next((int(count) for count in counts), None)


def total_memory() -> int:
    """Return the bytes of memory of this machine, or of the container or service that we are in. 0: unknown."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        machine = 0
    return min(machine, memory_limit() or machine)


def free_memory() -> int:
    """Return the bytes of memory that are free on this machine, or within our limits."""
    import psutil  # the keeper, which imports this module, does without it

    free, room = int(psutil.virtual_memory().available), memory_room()
    return free if room is None else min(free, room)
