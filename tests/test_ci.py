"""What `.ci/run` runs goes on through failures, crashes and hangs of tests, and its exit code tells at the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
CONFTEST = """
import os, pathlib, sys
sys.path.insert(0, {rig!r})
import pytest
def pytest_configure(config):
    record = os.environ.pop("FINETOP_TEST_RECORD", "")
    if record and not hasattr(config, "workerinput"):
        from outcome_record import OutcomeRecord
        config.pluginmanager.register(OutcomeRecord(pathlib.Path(record)))
"""
TESTS = """
import os, pathlib, signal
import pytest
once = pathlib.Path(__file__).with_suffix("")
once.mkdir(exist_ok=True)
def is_first(name):
    there = (once / name).exists()
    (once / name).touch()
    return not there
@pytest.mark.parametrize("number", range(12))
def test_passes(number): pass
@pytest.mark.parametrize("of", ["a b", "c"])
def test_passes_when_alone(of):
    assert not is_first(of), "it was the load"
def test_needs_what_is_not_there():
    pytest.skip("needs a GPU")
"""
CRASHES = """
def test_ends_its_worker():
    if is_first("worker"):
        os._exit(3)
def test_ends_all():
    if is_first("all"):
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
"""
FAILS = """
def test_fails():
    assert 0, "for good"
"""


def run_portions(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/portions.py in a folder whose Makefile runs one file of tests for each target."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    (folder / "conftest.py").write_text(CONFTEST.format(rig=str(ROOT / "tests" / "rig")))
    makefile = ""
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
        makefile += f"{name}:\n\t.venv/bin/python -m pytest -n 2 --dist worksteal test_{name}.py\n"
    (folder / "Makefile").write_text(makefile)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "FINETOP_CI_"))}
    environment |= {"FINETOP_CI_PORTIONS": " ".join(files), "FINETOP_CI_STILL_S": "60", "WORKERS": "2"}
    command = [sys.executable, str(ROOT / ".ci" / "portions.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_what_passes_alone_is_no_failure_and_skips_are_counted_by_reason(tmp_path: Path) -> None:
    done = run_portions(tmp_path, slow=TESTS)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("it was the load") >= 2
    assert "skipped: 1 needs a GPU\n" in done.stdout
    assert "failed once, passed alone: test_slow.py::test_passes_when_alone[a b]\n" in done.stdout
    assert "slow     ok      14 passed, 2 of them at the second try, 0 failed, 1 skipped" in done.stdout
    *_, failed, _, dearest, counts, total = done.stdout.splitlines()
    assert (
        failed.startswith("first failure: test_slow.py::test_passes_when_alone[")
        and "it was the load" in failed
    )
    assert re.match(r"dearest: \d+ s test_slow.py::\w+", dearest) and dearest.count("test_slow.py::") == 5
    assert counts == "14 passed, 0 failed, 1 skipped" and total.endswith("min in all")


def test_what_dies_costs_no_other_test_and_each_portion_runs(tmp_path: Path) -> None:
    done = run_portions(tmp_path, gone="import no_such_package\n", test=TESTS + CRASHES, slow=TESTS + FAILS)
    assert done.returncode == 1
    *_, gone, test, slow, _, _, _, _, total = done.stdout.splitlines()
    assert gone.startswith("make gone     FAILED  0 passed")
    assert re.match(
        r"make test     ok      16 passed, [34] of them at the second try, 0 failed, 1 skipped", test
    )
    assert slow.startswith(
        "make slow     FAILED  14 passed, 2 of them at the second try, 1 failed, 1 skipped"
    )
    assert "FAILED TWICE: test_slow.py::test_fails\n" in done.stdout
    assert total.endswith("min in all")


def test_where_most_fail_none_is_tried_again_and_no_other_portion_is_run(tmp_path: Path) -> None:
    many = "import pytest\n@pytest.mark.parametrize('n', range(41))\ndef test_fails(n): assert 0, 'all of them'\n"
    done = run_portions(tmp_path, test=many, slow=TESTS)
    assert done.returncode == 1
    assert "make slow     not run: more than 40 tests had failed" in done.stdout
    assert "again, alone" not in done.stdout and "0 passed, 41 failed, 0 skipped\n" in done.stdout
