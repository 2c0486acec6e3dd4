"""Everything that needs a GPU, in ten minutes, as one page: what was measured, and what was not and why.

    make gpu                      python tests/bench/gpu_report.py --to docs/gpu-report.md
    make gpu PY=python3           with a Python in which finetop is not installed: it is used from this checkout
    … --only tests --only peers   only some sections; --model FOLDER a model of your own

The most important comes first: a model of 8 billion weights, beside TRL, in 4 bits, and its check; then scoring,
packing, the methods, the tests marked `gpu`, and what is left (all in tests/rig/gpu_sections.py). Each section is a
separate process: one that crashes, hangs, or breaks the GPU for itself costs only its current row.
The page is rewritten whenever a row is complete. Beside it are pytest's output (gpu-tests.txt) and the sections'
output, with the traceback of each row that failed (gpu-report.log).

One GPU is used: the first that is fit, or the first of CUDA_VISIBLE_DEVICES. Without one, the page says so. --pretended
uses a simulated GPU (tests/rig/pretended_gpu.py) and small sizes: it only shows that all of this runs.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RIG = ROOT / "tests" / "rig"
TOTAL_S = 570.0  # so that a limit of ten minutes on the whole command does not cut it off
LEAST_S = 15.0  # a section with less time left is not started
FACTS_S, MODEL_S = 150.0, 120.0  # a disk may read torch for the first time
POLL_S = 0.2
# Nothing runs without these: the import name of each, and its package's.
NEEDED = {
    "torch": "torch", "transformers": "transformers", "peft": "peft", "accelerate": "accelerate",
    "safetensors": "safetensors", "tokenizers": "tokenizers", "msgspec": "msgspec", "yaml": "pyyaml",
    "psutil": "psutil", "numpy": "numpy",
}  # fmt: skip
CARRY = (
    "On a machine without network bring the wheels along: `python3 -m pip download --no-deps --only-binary=:all: --dest"
    " wheels {names}` where there is one (for that machine's Python: --python-version), and there `python3 -m pip"
    " install --no-index --no-deps --target site wheels/*.whl`, then PYTHONPATH=site."
)
OUTCOME = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b(.*)", re.MULTILINE)
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Section:
    """A part of the page: its process's command, its limit, and how its output becomes text.

    A section that `continues` is restarted after the rows that its process began, if that process ended early.
    """

    name: str
    title: str
    limit_s: float
    command: Callable[[int], Sequence[str]]  # given the number of rows begun already
    file: Path  # where it writes its rows, or all its output if it does not continue
    continues: bool = True


@dataclass
class Page:
    """The page as far as it is known; each change is on the disk at once."""

    to: Path
    head: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)  # by title

    def set(self, title: str, text: str) -> None:
        if self.parts.get(title) != text:
            self.parts[title] = text
            self.write()

    def write(self) -> None:
        sections = [f"## {title}\n\n{text.strip()}\n" for title, text in self.parts.items()]
        aside = self.to.with_name(f".{self.to.name}.{os.getpid()}")
        aside.write_text("\n".join(["# What one GPU measured\n", *self.head, *sections]), encoding="utf-8")
        aside.replace(self.to)


class Stopped(Exception):
    """Somebody wants this program to end."""


def real_sections(given: argparse.Namespace, folder: Path, beside: Path) -> list[Section]:
    """Return all sections in the order in which they run."""

    def measured(name: str, title: str, limit_s: float) -> Section:
        file = folder / f"{name}.jsonl"

        def command(skip: int) -> list[str]:
            words = [sys.executable, str(RIG / "gpu_sections.py"), name, "--work", str(folder)]
            words += ["--into", str(file), "--skip", str(skip)]
            return [*words, "--model", str(given.model)] if given.model else words

        return Section(name, title, limit_s, command, file)

    files = [
        str(file) for file in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in file.read_text()
    ]
    pytest = [sys.executable, "-m", "pytest", "-v", "-rfEs", "--tb=short", "-m", "gpu", "-W", "default"]
    pytest += ["--continue-on-collection-errors", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    pytest += ["--pretended-gpu"] if given.pretended else []
    tests = [*pytest, f"--basetemp={folder / 'tests'}", *files]
    return [
        measured("large", "A model of 8 billion random weights", 180),
        measured("quick", "A check of quick", 75),
        measured("scoring", "Scoring, by that model", 75),
        measured("packing", "Packing and attention", 75),
        measured("methods", "Every method", 120),
        Section("tests", "Tests marked gpu", 150, lambda _: tests, beside / "gpu-tests.txt", continues=False),
        measured("peers", "Beside others", 90),
        measured("master", "Full tuning, by train.master", 75),
        measured("paid", "Own answers, rewarded", 90),
        measured("slow-methods", "Methods that begin slowly", 90),
    ]


def table_of(file: Path) -> str:
    """Return the table of a section's output so far."""
    lines = lines_of(file)
    rows = [line["row"] for line in lines if "row" in line]
    notes = [f"{line['note']}\n" for line in lines if "note" in line]
    shown = [rows[0], ["---"] * len(rows[0]), *rows[1:]] if rows else []
    table = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in shown]
    return "\n".join(["".join(table), *notes]).strip()


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Return a section's output lines; the last one may be incomplete."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


def outcomes_of(file: Path) -> str:
    """Sum up pytest's output, even if it was cut off: how many passed, and why each other test did not."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    outcomes = [(name.rpartition("/")[2], word) for name, word, _ in OUTCOME.findall(text)]
    counts = {
        word: sum(other == word for _, other in outcomes)
        for word in dict.fromkeys(word for _, word in outcomes)
    }
    lines = [", ".join(f"{count} {word.lower()}" for word, count in counts.items()) or "No test ended"]
    failures = re.findall(r"^(?:FAILED|ERROR) .+", text, re.MULTILINE)
    failures = failures or [f"{word} {name}" for name, word in outcomes if word in ("FAILED", "ERROR")]
    skips = re.findall(r"^SKIPPED \[\d+\] .+", text, re.MULTILINE)
    lines += [f"- {' '.join(line.split())[:300]}" for line in (*failures, *skips)]
    return "\n".join([lines[0] + ".", "", *lines[1:]]) + "\n"


def report(
    sections: Sequence[Section],
    page: Page,
    log: Path,
    environment: Mapping[str, str],
    total_s: float = TOTAL_S,
    began: float | None = None,
) -> None:
    """Run sections one after another; each one's output is on the page, however its process ended."""
    began = time.monotonic() if began is None else began
    for place, section in enumerate(sections):
        left = total_s - (time.monotonic() - began)
        if left < LEAST_S:
            names = ", ".join(remaining.name for remaining in sections[place:])
            page.set(
                "Left out", f"No time was left of {total_s:.0f} s for: {names}. --only runs one alone.\n"
            )
            return
        print(f"-- {section.title}", flush=True)
        try:
            run(section, page, log, environment, min(section.limit_s, left))
        finally:
            end_leftovers()


def run(section: Section, page: Page, log: Path, environment: Mapping[str, str], limit_s: float) -> None:
    """Run one section until it is done, can't continue, or has used up its time."""
    began = time.monotonic()
    read = table_of if section.continues else outcomes_of
    shown = 0

    def show(said: str = "") -> None:
        nonlocal shown
        text = read(section.file)
        page.set(section.title, f"{text}\n\n{said}" if said else text or "It has begun.")
        lines = lines_of(section.file) if section.continues else []
        for line in lines[shown:]:
            if said_now := " | ".join(line.get("row", ())) or line.get("note"):
                print(said_now, flush=True)
        shown = len(lines)

    while True:
        begun = count(section, "begin")
        place = log if section.continues else section.file
        with place.open("a", encoding="utf-8") as output:
            output.write(f"\n== {section.name}\n" if section.continues else "")
            output.flush()
            process = subprocess.Popen(
                [*section.command(begun)], env={**environment}, cwd=ROOT, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                while process.poll() is None and time.monotonic() - began < limit_s:
                    time.sleep(POLL_S)  # between two looks
                    show()
            finally:
                ended = process.poll()
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if ended is None:
            stop_row(section, f"killed after {limit_s:.0f} s, the time of this section")
            late = "; ".join(not_begun(section)) or "none"
            show(
                f"Killed after {limit_s:.0f} s. Not begun: {late}."
                if section.continues
                else f"Killed after {limit_s:.0f} s."
            )
            return
        if not section.continues:
            show("" if ended in (0, 1) else f"pytest ended with {how(ended)}.\n")
            return
        if any("done" in line for line in lines_of(section.file)):
            show()
            return
        stop_row(section, f"its process ended with {how(ended)}")
        if count(section, "begin") == begun:
            show(f"Not measured: its process ended with {how(ended)}: {last_words(log)}\n")
            return
        show()


def stop_row(section: Section, why: str) -> None:
    """Write the row that a process was at when it ended, so that the next one starts after it."""
    if not section.continues or not section.file.exists():
        return
    lines = lines_of(section.file)
    names = [line["begin"] for line in lines if "begin" in line]
    rows = [line["row"] for line in lines if "row" in line]
    if rows and len(names) == len(rows):  # the first row is the heading
        cells = [names[-1], *["-"] * (len(rows[0]) - 2), why]
        with section.file.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"row": cells}) + "\n")


def not_begun(section: Section) -> list[str]:
    names = next((line["names"] for line in lines_of(section.file) if "names" in line), ["all"])
    return [*names[count(section, "begin") :]]


def count(section: Section, kind: str) -> int:
    return sum(kind in line for line in lines_of(section.file)) if section.continues else 0


def how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else "it said nothing"


def adopt_orphans() -> None:
    """Become the parent of all orphans below this process (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_leftovers() -> None:
    """Kill what a section left running: orphans became children of this process."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def environment_of(given: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Return the environment of all sections: finetop from this checkout if it is not installed."""
    path = [str(RIG), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    if find_spec("finetop") is None or find_spec("finetop.core") is None:
        path.append(str(ROOT / ".typing"))  # a folder `finetop` with a link to each of its packages
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TMPDIR": str(folder)}
    variables.setdefault("PYTHONUNBUFFERED", "1")
    if given.pretended:
        import pretended_guard

        place = variables.get(pretended_guard.LIBRARY) or str(pretended_guard.build(folder))
        variables |= {pretended_guard.LIBRARY: place, "CUDA_VISIBLE_DEVICES": "GPU-0", "HF_HUB_OFFLINE": "1"}
    return variables


def look(page: Page, environment: dict[str, str], folder: Path, log: Path) -> bool:
    """Record the hardware, and choose one GPU. Returns False if nothing can be measured."""
    if lacks := lacking():
        carry = CARRY.format(names=" ".join(lacks))
        page.head.append(f"**Nothing was measured**: {', '.join(lacks)} not installed. {carry}\n")
        page.write()
        return False
    file = folder / "machine.jsonl"
    finished = helper("machine", folder, file, environment, log, FACTS_S)
    facts = next(iter(lines_of(file)), {})
    if not facts:
        page.head.append(
            f"**Nothing was measured**: what there is could not be told ({finished}): {last_words(log)}\n"
        )
        page.write()
        return False
    if facts["why_none"]:
        page.head.append(f"**Nothing was measured**: {facts['why_none']}.\n")
    page.head += [f"{line}\n" for line in facts["facts"]]
    page.head += ["Missing here, and what is left out for it:\n"] if facts["missing"] else []
    page.head += ["\n".join(f"- {name}: {what}" for name, what in facts["missing"]) + "\n"]
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0].strip() or facts["device"] or "0"
    if any(name.startswith("the hub") for name, _ in facts["missing"]):
        environment["HF_HUB_OFFLINE"] = "1"
    page.write()
    return not facts["why_none"]


def lacking() -> list[str]:
    """Return the required packages that are not installed."""
    return [package for name, package in NEEDED.items() if find_spec(name) is None]


def helper(
    name: str, folder: Path, file: Path, environment: Mapping[str, str], log: Path, limit_s: float
) -> str:
    """Run a step that precedes the sections. Returns why it did not finish, or an empty string."""
    words = [sys.executable, str(RIG / "gpu_sections.py"), name, "--work", str(folder), "--into", str(file)]
    with log.open("a") as output:
        try:
            code = subprocess.run(
                words, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False,
                timeout=limit_s, stdin=subprocess.DEVNULL,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"killed after {limit_s:.0f} s"
    return "" if code == 0 else how(code)


def stop(number: int, frame: object) -> None:
    raise Stopped(signal.Signals(number).name)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what one GPU does, as one page.")
    parser.add_argument("--to", type=Path, help="the page; without, it is printed alone")
    parser.add_argument("--model", type=Path, help="train this model's folder, not one of random weights")
    parser.add_argument("--only", action="append", default=[], metavar="SECTION")
    parser.add_argument(
        "--seconds", type=float, default=TOTAL_S, help="for all of it (default %(default).0f)"
    )
    parser.add_argument("--pretended", action="store_true", help="measure a GPU that is none, small")
    given = parser.parse_args()
    given.model = given.model and given.model.absolute()
    if given.pretended:
        sys.path.insert(0, str(RIG))
        import pretended_guard

        if pretended_guard.LIBRARY not in os.environ and (why := pretended_guard.why_not()):
            parser.error(f"--pretended: {why}")
    began = time.monotonic()
    adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    with tempfile.TemporaryDirectory(prefix="gpu-report-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        beside = given.to.absolute().parent if given.to else folder
        log = beside / "gpu-report.log"
        sections = real_sections(given, folder, beside)
        known = [section.name for section in sections]
        if odd := [name for name in given.only if name not in known]:
            parser.error(f"--only {odd[0]}: there is no such section; there is {', '.join(known)}")
        sections = [section for section in sections if not given.only or section.name in given.only]
        page = Page(given.to.absolute() if given.to else folder / "page.md")
        for old in (log, beside / "gpu-tests.txt"):
            old.unlink(missing_ok=True)
        log.touch()
        return measure(given, page, sections, folder, log, began)


def measure(
    given: argparse.Namespace, page: Page, sections: list[Section], folder: Path, log: Path, began: float
) -> int:
    """Fill the page. Returns the exit code: 4 if a requirement is missing; 0 also without a GPU."""
    code = 0
    try:
        environment = environment_of(given, folder)
        if given.pretended:
            page.head.append(
                "This GPU is **pretended**: it has no kernels and no memory; speeds are a CPU's.\n"
            )
        if look(page, environment, folder, log):
            if not given.model and [section.name for section in sections] != ["tests"]:
                why = helper("model", folder, folder / "model.jsonl", environment, log, MODEL_S)
                if why:
                    page.set("The model", f"It could not be made ({why}): {last_words(log)}\n")
                    sections = [section for section in sections if section.name == "tests"]
            report(sections, page, log, environment, given.seconds, began)
        elif lacking():
            code = 4
    except Stopped as error:
        page.set("Stopped", f"{error} ended it here: what is not listed was not measured.\n")
        code = 1
    finally:
        if find_spec("psutil"):
            end_leftovers()
    page.head.append(f"Took {time.monotonic() - began:.0f} s.\n")
    page.write()
    print(page.to.read_text(encoding="utf-8"))
    return code


if __name__ == "__main__":
    sys.exit(main())
