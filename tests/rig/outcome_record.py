"""Writes what becomes of each test as it happens, a line of JSON each: a run that is killed has told all until then.

FINETOP_TEST_RECORD names the file; .ci/portions.py reads it. Lines: {"planned": [ids]}, {"began": id},
{"failed": id, "text": why}, {"skipped": id, "why": reason}, {"done": id, "seconds": wall} after its teardown,
{"exit": code} at the end.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class OutcomeRecord:
    """A plug-in of the process that starts the workers, or of the only one."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a")
        self._is_planned = False
        self._seconds: Counter[str] = Counter()

    def _write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _plan(self, ids: list[str]) -> None:
        if not self._is_planned:
            self._is_planned = True
            self._write(planned=ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:  # workers collect them, where there are any
            self._plan([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        self._plan(ids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(failed=report.nodeid, text=report.longreprtext)
        elif report.skipped:
            self._write(skipped=report.nodeid, why=reason_of(report))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(began=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._write(failed=report.nodeid, text=f"{report.longreprtext}\n{report.capstdout[-2000:]}")
        elif report.skipped:
            self._write(skipped=report.nodeid, why=reason_of(report))
        self._seconds[report.nodeid] += report.duration
        if report.when not in ("setup", "call"):  # "teardown"; "???" of a worker that crashed
            self._write(done=report.nodeid, seconds=round(self._seconds.pop(report.nodeid), 2))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write(exit=int(exitstatus))
        self._file.close()


def reason_of(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return why a test was skipped or was expected to fail."""
    if xfail := getattr(report, "wasxfail", ""):
        return f"expected to fail: {xfail}"
    text = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ").splitlines()[0]
