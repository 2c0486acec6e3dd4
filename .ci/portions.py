"""Runs the portions of the tests one after the other, tries again what failed, and ends with a summary of ten lines.

No test is in two of them. A portion runs whatever became of the one before, unless more than MOST_AGAIN tests failed
there. A test that fails is run once more, alone, and fails if it fails twice; its first failure is printed. A pytest
that dies or does not move any more costs the tests that it was at: the rest is run by another. The standard library
alone: it begins before anything is installed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PORTIONS = tuple(os.environ.get("FINETOP_CI_PORTIONS", "test faults slow").split())
# A quiet machine of two cores needs less than 25; then a busy one has had its time too.
MINUTES = float(os.environ.get("FINETOP_CI_MINUTES", "80"))
STILL_S = float(os.environ.get("FINETOP_CI_STILL_S", "2400"))  # more than the limit of the longest test
ALONE_S = 1900.0
MOST_AGAIN = 40  # more failures than that are no accidents: none is run again, and no other portion is run
DEAREST, SHOWN = 5, 3  # tests; and reasons of skips, failures
FIRST_LINES = 60  # of a failure's text, from its end
PYTEST = [".venv/bin/python", "-m", "pytest", "-m", "slow or not slow"]
FINE = (0, 1)  # exit codes of pytest: all passed, some failed


@dataclass
class Portion:
    """What became of a portion's tests, read from the record that pytest writes (tests/rig/outcome_record.py)."""

    name: str
    planned: list[str] = field(default_factory=list)
    began: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)  # by id, the text of the first failure
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    has_ended: bool = False  # the newest pytest came to its end
    again: dict[str, bool] = field(default_factory=dict)  # what was run again, and whether it passed then
    trouble: list[str] = field(default_factory=list)
    minutes: float = 0.0

    def read(self, record: Path) -> None:
        self.has_ended = False
        lines = record.read_bytes().splitlines() if record.exists() else []
        for line in lines:
            try:
                found = json.loads(line)
            except ValueError:
                continue  # it was killed while it wrote it
            if "planned" in found:
                self.planned = self.planned or found["planned"]
            elif "began" in found:
                self.began.append(found["began"])
            elif "failed" in found:
                self.failed.setdefault(found["failed"], found["text"])
            elif "skipped" in found:
                self.skipped[found["skipped"]] = found["why"]
            elif "done" in found:
                self.done.add(found["done"])
                self.seconds[found["done"]] = found["seconds"]
            elif "exit" in found:
                self.has_ended = found["exit"] in FINE

    def unfinished(self) -> list[str]:
        """Return the tests that had begun and did not end, once each."""
        return [
            test for test in dict.fromkeys(self.began) if test not in self.done and test not in self.failed
        ]

    def left(self) -> list[str]:
        """Return the tests that were never begun."""
        known = self.done | self.failed.keys() | set(self.began)
        return [test for test in self.planned if test not in known]

    def failed_twice(self) -> list[str]:
        return [test for test in self.failed if not self.again.get(test)]

    def is_good(self) -> bool:
        return not (self.trouble or self.failed_twice() or self.left())

    def passed(self) -> int:
        return len(self.done - self.failed.keys() - self.skipped.keys()) + sum(self.again.values())

    def counts(self) -> str:
        second = sum(self.again.values())
        words = [f"{self.passed()} passed"]
        words += [f"{second} of them at the second try"] if second else []
        words += [f"{len(self.failed_twice())} failed", f"{len(self.skipped)} skipped"]
        words += [f"{len(self.left())} not reached"] if self.left() else []
        return ", ".join(words)


def run(words: list[str], environment: dict[str, str], until: float) -> int | None:
    """Run a command; print what it prints. Return its exit code, None if it was ended.

    It is ended when it prints nothing for STILL_S, or at `until`: with its whole process group.
    """
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    moved, code = time.monotonic(), None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            limit = min(until, moved + STILL_S)
            if selector.select(max(0.0, min(1.0, limit - time.monotonic()))):
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    code = process.wait()
                    break
                moved = time.monotonic()
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
            elif process.poll() is not None:
                code = process.returncode  # what it left behind may hold the pipe for ever
                break
            elif time.monotonic() >= limit:
                say(
                    f"ended: {'its time is over' if limit == until else f'nothing was printed for {STILL_S:.0f} s'}."
                )
                end(process)
                break
    process.stdout.close()
    return code


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process group; first by a request, at which pytest removes what it has made."""
    for number, wait_s in ((signal.SIGINT, 20.0), (signal.SIGKILL, 20.0)):
        try:
            os.killpg(process.pid, number)
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break


def say(words: str) -> None:
    print(f"\n== {words}", flush=True)


def run_portion(name: str, folder: Path, until: float) -> Portion:
    """Run a portion by make; what a pytest that died has left is run by another; then each failure alone."""
    portion, began = Portion(name), time.monotonic()
    say(f"make {name}")
    words = ["make", name]
    for attempt in range(4):
        record = folder / f"{name}-{attempt}.jsonl"
        code = run(words, {**os.environ, "FINETOP_TEST_RECORD": str(record)}, until)
        portion.read(record)
        for test in portion.unfinished() if not portion.has_ended else ():
            portion.failed[test] = "it had begun when pytest ended"
        if not portion.planned:
            portion.trouble.append(f"make {name}: exit code {code}, and no test was found")
            break
        if portion.has_ended or not portion.left() or time.monotonic() >= until:
            break
        say(f"pytest ended early: {len(portion.left())} tests are left, and run by another")
        (folder / "left.txt").write_text("\n".join(portion.left()))
        words = [
            *PYTEST,
            "-n",
            os.environ.get("WORKERS", "4"),
            "--dist",
            "worksteal",
            f"@{folder / 'left.txt'}",
        ]
    run_again(portion, until)
    portion.minutes = (time.monotonic() - began) / 60
    return portion


def run_again(portion: Portion, until: float) -> None:
    """Print each first failure, and run the test alone."""
    for test, text in list(portion.failed.items()):
        say(f"failed: {test}")
        print("\n".join(text.splitlines()[-FIRST_LINES:]), flush=True)
        if len(portion.failed) > MOST_AGAIN or time.monotonic() >= until:
            portion.again[test] = False
            continue
        say(f"again, alone: {test}")
        code = run([*PYTEST, "-q", test], dict(os.environ), min(until, time.monotonic() + ALONE_S))
        portion.again[test] = code == 0


def tell(portions: list[Portion]) -> None:
    """Print each test that failed, then the summary."""
    say("failed")
    for portion in portions:
        for test in portion.failed:
            print(f"{'failed once, passed alone' if portion.again.get(test) else 'FAILED TWICE'}: {test}")
        for test in portion.left():
            print(f"NOT REACHED: {test}")
        for words in portion.trouble:
            print(f"TROUBLE: {words}")
    say("summary")
    for portion in portions:
        verdict = "ok" if portion.is_good() else "FAILED"
        print(f"make {portion.name:8} {verdict:7} {portion.counts()}, {portion.minutes:.1f} min")
    for name in PORTIONS[len(portions) :]:
        print(f"make {name:8} not run: more than {MOST_AGAIN} tests had failed")
    failed = [(test, text) for portion in portions for test, text in portion.failed.items()]
    if failed:
        test, text = failed[0]
        print(f"first failure: {test}: {reason_of(text)}")
    reasons = Counter(why for portion in portions for why in portion.skipped.values()).most_common()
    more = len(reasons) - SHOWN
    shown = [f"{count} {why}" for why, count in reasons[:SHOWN]] + (
        [f"{more} more reasons"] if more > 0 else []
    )
    print(f"skipped: {'; '.join(shown) or 'none'}")
    seconds = sorted(((s, test) for portion in portions for test, s in portion.seconds.items()), reverse=True)
    print("dearest:", *(f"{s:.0f} s {test.rpartition('/')[2]}" for s, test in seconds[:DEAREST]))
    counts = [portion.passed() for portion in portions], [len(portion.failed_twice()) for portion in portions]
    print(
        f"{sum(counts[0])} passed, {sum(counts[1])} failed, {sum(len(p.skipped) for p in portions)} skipped"
    )
    print(f"{sum(portion.minutes for portion in portions):.1f} min in all", flush=True)


def reason_of(text: str) -> str:
    """Return the line of a failure's text that says why."""
    lines = text.strip().splitlines()
    return next((line[1:].strip() for line in lines if line.startswith("E ")), lines[-1] if lines else "")[
        :300
    ]


def main() -> int:
    until = time.monotonic() + MINUTES * 60
    with tempfile.TemporaryDirectory(prefix="finetop-ci-") as folder:
        portions: list[Portion] = []
        for name in PORTIONS:
            portions.append(run_portion(name, Path(folder), until))
            if len(portions[-1].failed) > MOST_AGAIN:
                break
    tell(portions)
    return 0 if all(portion.is_good() for portion in portions) else 1


if __name__ == "__main__":
    sys.exit(main())
