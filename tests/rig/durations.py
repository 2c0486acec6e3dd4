"""Measures where the time of tests goes: wall and CPU seconds of each, by kind of cost.

FINETOP_TEST_DURATIONS names the file to which a test run adds a line of JSON a test; `make durations` prints them:

    python tests/rig/durations.py FILE...

A kind counts while nothing else that is listed here goes on inside it: a Python that a test starts and waits for
counts as a child process, whatever that process does. CPU seconds of a test are its worker's and those of the children
that the worker has waited for; those of a whole portion are the machine's, so measure on a quiet one.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from pathlib import Path
from selectors import DefaultSelector
from typing import Any

import pytest

OWN, SIMULATING = "computing", "simulating"
COMPILERS = ("cc", "gcc", "g++", "c++", "clang")
DEAREST = 60


class Kinds:
    """The wall seconds of this thread by kind; the innermost one counts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open = [OWN]
        self._since = time.perf_counter()
        self._thread = threading.get_ident()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def inside(self, kind: str) -> Iterator[None]:
        if threading.get_ident() != self._thread:
            yield
            return
        self._turn()
        self._open.append(kind)
        try:
            yield
        finally:
            self._turn()
            self._open.remove(kind)  # an app that is left open by a fixture ends out of turn

    def taken(self) -> dict[str, float]:
        """Return the seconds since the last call, and begin anew."""
        self._turn()
        taken, self.seconds = self.seconds, defaultdict(float)
        return taken

    def count(self, owner: Any, name: str, kind: str | Callable[..., str]) -> None:
        """Count the calls of a function as a kind."""
        real = getattr(owner, name)

        @functools.wraps(real)
        def counted(*args: Any, **more: Any) -> Any:
            with self.inside(kind if isinstance(kind, str) else kind(*args, **more)):
                return real(*args, **more)

        setattr(owner, name, counted)


def kind_of_process(process: Any, *args: Any, **_: Any) -> str:
    words = getattr(process, "args", args[0] if args else "")
    first = words if isinstance(words, (str, os.PathLike)) else next(iter(words), "")
    return "compiling" if Path(os.fspath(first)).name in COMPILERS else "a child process"


class Durations:
    """A plug-in of each process that runs tests."""

    def __init__(self, file: Path) -> None:
        self._file, self._kinds, self._patched = file, Kinds(), set[str]()
        self._began, self._machine = time.time(), machine_cpu_s()
        kinds = self._kinds
        for loader in (SourceFileLoader, ExtensionFileLoader):
            kinds.count(loader, "exec_module", "importing")
        for name in ("__init__", "wait", "communicate"):
            kinds.count(subprocess.Popen, name, kind_of_process)
        kinds.count(time, "sleep", "waiting for a condition or the clock")
        kinds.count(DefaultSelector, "select", "waiting for a condition or the clock")

    def _count_what_was_imported(self) -> None:
        """Count what tests import by and by, once it is there."""
        for module, owner, name, kind in (
            ("rig", "Rig", "up", "starting a supervisor"),
            ("rig", "Rig", "stop_all", "ending a supervisor"),
            ("finetop.core.client.connection", "Client", "ask", "a supervisor's answer"),
            ("terminal", "Terminal", "pump", "a program in a terminal"),
            ("transformers.trainer", "Trainer", "train", "training steps"),
            ("textual.screen", "Screen", "render_line", "drawing"),
        ):
            if module in sys.modules and module not in self._patched:
                self._patched.add(module)
                self._kinds.count(getattr(sys.modules[module], owner), name, kind)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._count_what_was_imported()
        self._kinds.taken()
        began, cpu = time.perf_counter(), cpu_s()
        try:
            return (yield)
        finally:
            kinds = self._kinds.taken()
            if "statistics" in item.nodeid or "simulation" in item.nodeid:
                kinds[SIMULATING] += kinds.pop(OWN, 0.0)
            self._write(
                test=item.nodeid, wall_s=time.perf_counter() - began, cpu_s=cpu_s() - cpu, kinds=kinds
            )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):
            wall_s, busy_s = time.time() - self._began, machine_cpu_s() - self._machine
            self._write(portion=self._file.stem, wall_s=wall_s, cpu_s=busy_s)

    def _write(self, **line: Any) -> None:
        with self._file.open("a") as file:  # in one write: workers share it
            file.write(json.dumps(line) + "\n")


def cpu_s() -> float:
    """Return the CPU seconds of this process and of the children that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def machine_cpu_s() -> float:
    """Return the seconds for which this machine's processors were busy since it was started."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    for name in sys.argv[1:]:
        lines = [json.loads(line) for line in Path(name).read_text().splitlines()]
        tests = [line for line in lines if "test" in line]
        for whole in (line for line in lines if "portion" in line):
            words = f"{whole['wall_s'] / 60:.1f} min, {whole['cpu_s']:,.0f} CPU s of this machine"
            print(f"\n{whole['portion']}: {len(tests):,} tests, {words}\n")
        print_table("kind of cost", by_kind(tests))
        print_table("folder", by_folder(tests)[:20])
        tests.sort(key=lambda test: test["wall_s"], reverse=True)
        rows = [
            (test["test"], test["wall_s"], test["cpu_s"], largest(test["kinds"])) for test in tests[:DEAREST]
        ]
        print_table(f"the {DEAREST} dearest tests", rows)
    return 0


def print_table(title: str, rows: list[tuple[Any, ...]]) -> None:
    print(f"{'wall s':>8} {'CPU s':>7}  {title}")
    for name, wall_s, used_s, *more in rows:
        used = "" if used_s is None else f"{used_s:.1f}"
        print(f"{wall_s:8.1f} {used:>7}  {name}  {' '.join(map(str, more))}".rstrip())
    print()


def by_kind(tests: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the worker seconds of each kind, the dearest first."""
    total: dict[str, float] = defaultdict(float)
    for test in tests:
        for kind, seconds in test["kinds"].items():
            total[kind] += seconds
    return [(kind, total[kind], None) for kind in sorted(total, key=lambda kind: -total[kind])]


def by_folder(tests: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the worker seconds of each folder of tests, or file beside others, the dearest first."""
    total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for test in tests:
        file = Path(test["test"].partition("::")[0])
        folder = str(file if file.parent.name == "faults" else Path(*file.parent.parts[:4]))
        for at, value in enumerate((test["wall_s"], test["cpu_s"], 1)):
            total[folder][at] += value
    rows = sorted(total.items(), key=lambda row: -row[1][0])
    return [(folder, wall, used, f"({count:.0f} tests)") for folder, (wall, used, count) in rows]


def largest(kinds: dict[str, float]) -> str:
    """Return the two kinds that a test spent most on."""
    first = sorted(kinds.items(), key=lambda row: -row[1])[:2]
    return ", ".join(f"{kind} {seconds:.1f}" for kind, seconds in first if seconds >= 0.05)


if __name__ == "__main__":
    sys.exit(main())
