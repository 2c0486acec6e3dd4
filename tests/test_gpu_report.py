"""The report of `make gpu` on sections that crash, hang and leave things behind: the page holds all that was found."""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "tests" / "bench" / "gpu_report.py"
# Rows of a section in short: each word is what happens at it.
STAND_IN = """
import json, os, subprocess, sys, time
file, skip, words = open(sys.argv[1], "a"), int(sys.argv[2]), sys.argv[3:]
def write(**line):
    file.write(json.dumps(line) + "\\n"); file.flush()
if not skip:
    write(names=words)
    write(row=["run", "speed", "said"])
for word in words[skip:]:
    write(begin=word)
    if word == "hangs":
        time.sleep(600)
    if word == "leaves":
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        write(row=[word, str(left.pid), ""])
    elif word == "dies":
        os.abort()
    elif word == "exits":
        os._exit(7)
    elif word == "sticks":  # the row is there, and the GPU is of no use any more
        write(row=[word, "-", "CUDA error"]); sys.exit(1)
    else:
        write(row=[word, "1", f"in {len(words)}"])
write(done=True)
"""

# Reports on sections by name and command, to which the number of rows that were begun is added behind the first file.
DRIVER = """
import json, os, pathlib, sys
sys.path.insert(0, sys.argv[1])
import gpu_report
folder, commands = pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
gpu_report.POLL_S = 0.01
gpu_report.adopt_orphans()
def section(name, words):
    command = lambda skip: [*words[:4], str(skip), *words[4:]]
    return gpu_report.Section(name, name, float(sys.argv[4]), command, folder / f"{name}.jsonl")
log = folder / "log"
log.touch()
page = gpu_report.Page(folder / "page.md", head=["The head.\\n"])
gpu_report.report([section(*one) for one in commands.items()], page, log, dict(os.environ), float(sys.argv[5]))
"""


@pytest.fixture(scope="module")
def gpu_report() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_report", REPORT)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def reported(tmp_path: Path) -> Any:
    """Report on stand-in sections, given by their rows, in a process of its own. Returns the page's text by title."""

    def run(limit_s: float = 60.0, total_s: float = 300.0, **sections: list[str]) -> dict[str, str]:
        commands = {
            name: [sys.executable, "-c", STAND_IN, str(tmp_path / f"{name}.jsonl"), *words]
            for name, words in sections.items()
        }
        return run_report(tmp_path, commands, limit_s, total_s)

    return run


def run_report(
    folder: Path, commands: dict[str, list[str]], limit_s: float, total_s: float
) -> dict[str, str]:
    words = [str(REPORT.parent), str(folder), json.dumps(commands), str(limit_s), str(total_s)]
    subprocess.run([sys.executable, "-c", DRIVER, *words], check=True, stdout=subprocess.DEVNULL)
    text = (folder / "page.md").read_text()
    assert text.startswith("# What one GPU measured\n\nThe head.\n")
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in text.split("## ")[1:]}


def rows(text: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    return {row[0]: row[1:] for row in cells[2:]}


def test_a_crash_costs_the_row_that_it_was_at_and_no_other(reported: Any) -> None:
    page = reported(first=["a", "dies", "b", "exits", "sticks", "c"], second=["d"])
    assert rows(page["first"]) == {
        "a": ["1", "in 6"],
        "dies": ["-", "its process ended with SIGABRT"],
        "b": ["1", "in 6"],
        "exits": ["-", "its process ended with exit code 7"],
        "sticks": ["-", "CUDA error"],
        "c": ["1", "in 6"],
    }
    assert rows(page["second"]) == {"d": ["1", "in 1"]}


@pytest.mark.slow
def test_a_section_that_hangs_is_killed_and_says_what_it_did_not_begin(reported: Any) -> None:
    page = reported(limit_s=3.0, first=["a", "hangs", "b", "c"], second=["d"])
    assert rows(page["first"]) == {
        "a": ["1", "in 4"],
        "hangs": ["-", "killed after 3 s, the time of this section"],
    }
    assert page["first"].endswith("Killed after 3 s. Not begun: b; c.")
    assert rows(page["second"]) == {"d": ["1", "in 1"]}


def test_a_section_whose_process_does_not_start_says_its_last_words(tmp_path: Path) -> None:
    page = run_report(tmp_path, {"One": [sys.executable, "-c", "raise ImportError('no torch')"]}, 60.0, 300.0)
    assert page == {"One": "Not measured: its process ended with exit code 1: ImportError: no torch"}


@pytest.mark.slow
def test_what_no_longer_fits_is_listed_as_left_out(reported: Any, gpu_report: Any) -> None:
    page = reported(total_s=gpu_report.LEAST_S + 2.0, limit_s=3.0, first=["hangs"], second=["a"], third=["b"])
    assert set(page) == {"first", "Left out"}
    assert "for: second, third." in page["Left out"]


def test_what_a_section_leaves_running_is_killed(reported: Any) -> None:
    page = reported(first=["leaves"], second=["a"])
    (left, _) = rows(page["first"])["leaves"]
    assert not psutil.pid_exists(int(left))


def test_what_pytest_printed_is_summed_up_also_where_it_was_cut_off(gpu_report: Any, tmp_path: Path) -> None:
    file = tmp_path / "tests.txt"
    head = "tests/a/test_x.py::test_one PASSED   [ 10%]\ntests/a/test_x.py::test_two[a b] FAILED [ 20%]\n"
    file.write_text(head + "tests/a/test_x.py::test_three ")
    assert gpu_report.outcomes_of(file) == "1 passed, 1 failed.\n\n- FAILED test_x.py::test_two[a b]\n"
    file.write_text(
        head + "SKIPPED [2] tests/conftest.py:79: no memory\nFAILED tests/a/test_x.py::test_two - Wrong\n"
    )
    said = gpu_report.outcomes_of(file)
    assert (
        "- FAILED tests/a/test_x.py::test_two - Wrong\n- SKIPPED [2] tests/conftest.py:79: no memory" in said
    )
    file.unlink()
    assert gpu_report.outcomes_of(file).startswith("No test ended.")


def test_only_takes_names_of_sections(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPORT), "--only", "peer"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--only peer: there is no such section; there is large, quick, scoring, packing" in done.stderr


def test_what_is_missing_heads_the_page(
    gpu_report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a package that all need, nothing begins and its wheel is named; else each is named with its cost."""
    given = argparse.Namespace(pretended=False, model=None, seconds=60.0)
    log = tmp_path / "log"
    log.touch()

    def page_of() -> tuple[int, str]:
        page = gpu_report.Page(tmp_path / "page.md")
        code = gpu_report.measure(given, page, [], tmp_path, log, time.monotonic())
        return code, page.to.read_text()

    told = {
        "why_none": "torch 2.11.0 sees no GPU",
        "device": "",
        "facts": ["Python 3.12.1."],
        "missing": [["trl", "sft"]],
    }

    def helper(name: str, folder: Path, file: Path, *_: object) -> str:
        file.write_text(json.dumps(told))
        return ""

    monkeypatch.setattr(gpu_report, "helper", helper)
    monkeypatch.setattr(gpu_report, "end_leftovers", lambda: None)  # this process has children of other tests
    code, text = page_of()
    assert code == 0
    assert "**Nothing was measured**: torch 2.11.0 sees no GPU.\n" in text
    assert "Python 3.12.1.\n" in text and "- trl: sft\n" in text
    monkeypatch.setitem(gpu_report.NEEDED, "no_such_package", "no-such-package")
    code, text = page_of()
    assert code == 4
    assert text.splitlines()[2].startswith(
        "**Nothing was measured**: no-such-package not installed. On a machine"
    )


def test_one_gpu_is_used_and_no_hub_is_waited_for(
    gpu_report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"why_none": "", "device": "GPU-7", "facts": [], "missing": [["the hub (network)", "all of it"]]}
    monkeypatch.setattr(
        gpu_report, "helper", lambda name, folder, file, *_: file.write_text(json.dumps(told))
    )
    for given, taken in (({}, "GPU-7"), ({"CUDA_VISIBLE_DEVICES": "GPU-2,GPU-3"}, "GPU-2")):
        environment = dict(given)
        assert gpu_report.look(gpu_report.Page(tmp_path / "page.md"), environment, tmp_path, tmp_path / "log")
        assert environment == {"CUDA_VISIBLE_DEVICES": taken, "HF_HUB_OFFLINE": "1"}


def test_tests_run_in_the_environment_of_a_job() -> None:
    """Of a GPU's memory they see what a job would: the allocator is the same."""
    from finetop.core.runtime.job_process import SETTINGS

    assert set(SETTINGS) <= set(os.environ)


def test_rows_that_lack_a_package_are_left_out_by_name() -> None:
    import gpu_sections

    written: list[dict[str, Any]] = []
    rows = [
        gpu_sections.Row("one", tuple, ()),
        gpu_sections.Row("two", tuple, ("msgspec", "no_such")),
        gpu_sections.Row("three", tuple, ("no_such",)),
    ]
    assert [row.name for row in gpu_sections.without(rows, written.append)] == ["one"]
    assert written == [{"note": "Left out, no_such not installed: two; three."}]


def test_the_page_names_the_cards_and_why_torch_can_not_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_sections

    from finetop.core.runtime import gpus, torch_fits
    from finetop.core.runtime.gpu import Gpu, GpuReading

    seen = GpuReading((Gpu(0, "GPU-0", "Tesla V100", 32.0, capability=(7, 0)),), driver="580.65", cuda="13.0")
    monkeypatch.setattr(gpus, "read_once", lambda: seen)
    monkeypatch.setattr(torch_fits, "built_for", lambda: torch_fits.Build("2.13.0", "13.0"))
    monkeypatch.setattr(gpu_sections, "missing", lambda has_driver: [("trl", f"driver: {has_driver}")])
    told = gpu_sections.machine()
    assert told["device"] == "GPU-0" and told["missing"] == [("trl", "driver: True")]
    assert told["facts"][0] == "GPUs: Tesla V100 (32 GiB, float16 alone), driver 580.65 for CUDA up to 13.0."
    assert told["facts"][1].startswith(
        "torch: torch 2.13.0 is built for CUDA 13, which has no code for Tesla V100"
    )
    assert not any("was not tested with" in fact for fact in told["facts"]), (
        "what is installed is in the ranges"
    )


def test_it_writes_its_page_when_it_is_stopped(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    process = subprocess.Popen([sys.executable, str(REPORT), "--to", str(page)], stdout=subprocess.DEVNULL)
    wait_until(lambda: psutil.Process(process.pid).children(), "it began to look at the machine")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 1
    assert "SIGTERM ended it here" in page.read_text()
