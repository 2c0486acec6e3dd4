"""The `finetop` command in a terminal; and the table of faults, to which each test adds its row by `survived`."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from rig import Rig
from terminal import Terminal

COLUMNS = ("fault", "what", "repeats", "written", "lost", "doubled", "wrongly marked", "orphans")
NONE = "-"
BEGAN = time.monotonic()


@pytest.fixture
def survived(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Report a fault's counts, and check that nothing was lost, doubled, wrongly marked or left behind."""

    def tell(
        fault: str, what: str, *, repeats: int = 1, written: int = 0, lost: int = 0, doubled: int = 0,
        wrong: int = 0, orphans: int = 0,
    ) -> None:  # fmt: skip
        row = (fault, what, repeats, written, lost, doubled, int(wrong), orphans)
        request.node.user_properties.append(("fault", [str(cell) for cell in row]))
        assert (lost, doubled, wrong, orphans) == (0, 0, 0, 0), dict(zip(COLUMNS, row, strict=True))

    return tell


LONGEST = ("test_a_day_leaves_memory_handles_and_answers_as_they_were", "test_twenty_of_a_kind",
           "test_kills_at_random_moments_lose_and_double_nothing",
           "test_a_rank_that_is_killed_ends_the_run_and_is_named", "test_no_screen_lets_any_string_through",
           "test_bursts_of_random_keys_over_a_slow_link_leave_no_traceback",
           "test_whatever_happens_in_whichever_order_nothing_is_wrong_and_a_way_leads_on")  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the tests that take minutes first, in each worker: otherwise the last one has a whole one left at the end.

    Tests that share one cluster can't run at the same time: they all go to one worker, from the beginning.
    """
    cluster = [item for item in items if "cluster" in getattr(item, "fixturenames", ())]
    long = [item for item in items if getattr(item, "originalname", "") in LONGEST and item not in cluster]
    rest = [item for item in items if item not in long and item not in cluster]
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    others, size = max(1, workers - 1), len(items)
    firsts = [cluster, *(long[at::others] for at in range(others))]
    items[:] = []
    for worker, first in enumerate(firsts, 1):  # each worker gets this many in a row
        share = max(0, size * worker // len(firsts) - len(items) - len(first))
        items += [*first, *rest[:share]]
        del rest[:share]
    items += rest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table if the slow tests ran too (`make faults`)."""
    if "not slow" in (config.option.markexpr or "") and "or" not in config.option.markexpr:
        return
    stats = terminalreporter.stats
    reports = [r for kind in ("passed", "failed", "xfailed", "xpassed") for r in stats.get(kind, [])]
    rows = [row for r in reports if r.when == "call" for name, row in r.user_properties if name == "fault"]
    rows += list(untold(stats))
    if not rows:
        return
    rows.sort(key=lambda row: (int(row[0]) if row[0].isdigit() else 99, row[1]))
    widths = [max(len(row[i]) for row in (COLUMNS, *rows)) for i in range(len(COLUMNS))]
    terminalreporter.section("faults survived")
    for row in (COLUMNS, *rows):
        cells = [
            cell.ljust(w) if i == 1 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        terminalreporter.write_line("  ".join(cells).rstrip())
    if page := os.environ.get("FINETOP_FAULTS_PAGE"):
        Path(page).write_text(reliability(rows, len(stats.get("passed", [])), len(stats.get("failed", []))))
    total = [sum(int(row[i]) for row in rows if row[i] != NONE) for i in range(2, 8)]
    words = ", ".join(f"{name} {count}" for name, count in zip(COLUMNS[2:], total, strict=True))
    terminalreporter.write_line(f"{len({row[0] for row in rows})} faults; {words}")


def reliability(rows: list[list[str]], passed: int, failed: int) -> str:
    """Return the page of survived faults: a row per fault, with the totals of all its cases."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    minutes = (time.monotonic() - BEGAN) / 60
    lines = [
        "# What was survived, and when",
        "",
        f"Written by `make faults` on {time.strftime('%F')}, commit {commit.stdout.strip() or 'not known'},"
        f" {os.cpu_count()} cores, in {minutes:.0f} minutes: {passed:,} tests passed, {failed:,} failed.",
        "What each fault is stands in [what finetop survives](faults.md). `make nightly` adds an hour of random kills.",
        "",
        f"| {' | '.join(('fault', 'cases', *COLUMNS[2:]))} |",
        f"|{'---|' * (len(COLUMNS))}",
    ]
    for fault in dict.fromkeys(row[0] for row in rows):
        own = [row for row in rows if row[0] == fault]
        sums = [sum(int(row[at]) for row in own if row[at] != NONE) for at in range(2, 8)]
        lines.append(f"| {fault} | {len(own)} | {' | '.join(f'{value:,}' for value in sums)} |")
    bad = Counter(row[1] for row in rows if row[1].startswith(("FAILED", "NOT SURVIVED", "not run")))
    lines += ["", *(f"- {words}" + f" ({n} tests)" * (n > 1) for words, n in bad.items())] if bad else []
    return "\n".join(lines) + "\n"


def untold(stats: dict[str, list[object]]) -> Iterator[list[str]]:
    """Yield a row for each test of a fault without counts: it did not run, or did not get that far."""
    for kind in ("skipped", "xfailed", "failed", "error"):
        for report in stats.get(kind, []):
            if not isinstance(report, pytest.TestReport) or Path(report.fspath).parent.name != "faults":
                continue
            if any(name == "fault" for name, _ in report.user_properties):
                continue
            why = report.longrepr[2].removeprefix("Skipped: ") if kind == "skipped" else report.location[2]
            words = {"skipped": "not run", "xfailed": "NOT SURVIVED YET"}.get(kind, "FAILED")
            yield [fault_of(Path(report.fspath)), f"{words}: {why}", *[NONE] * 6]


def fault_of(file: Path) -> str:
    """Return which fault a test file is about, from its first line."""
    found = re.match(r'"""Faults? (\d+)', (Path(__file__).parent / file.name).read_text())
    return found[1] if found else NONE


@pytest.fixture
def terminal_of() -> Iterator[Callable[..., Terminal]]:
    """Start `finetop` in a terminal, on a home."""
    opened: list[Terminal] = []

    def start(home: Path, *words: str, columns: int = 80, rows: int = 24) -> Terminal:
        command = [sys.executable, "-m", "finetop.tui.main", *words]
        opened.append(Terminal(command, home, columns, rows))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def terminal(rig: Rig, terminal_of: Callable[..., Terminal]) -> Callable[..., Terminal]:
    """Start `finetop` in a terminal, on the rig's home."""
    return partial(terminal_of, rig.home.root)
