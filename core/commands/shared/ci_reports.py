"""Reports of a check for continuous integration: --junit FILE and --markdown FILE, for every verb with a verdict."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from finetop.core.commands.shared import options
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.protocol.check_result import CheckResult, TaskResult, worst_first
from finetop.core.text import clean, plain
from finetop.core.wording.check_markdown import markdown
from finetop.core.wording.verdicts import WORDS, change, further_lines, interval, points, verdict_line

CODES = {"ok": 0, "regressed": 1, "no_verdict": 3}  # exit codes of verdicts
WHOLE = "whole suite"
# What XML 1.0 forbids even as a reference; text.clean has removed control characters before.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(name: str, result: CheckResult) -> str:
    """Return one test suite: a test case for the whole suite, and one for each task.

    REGRESSED and a lost task fail with their numbers; NO VERDICT and what could not be measured are skipped
    with the reason. The check's whole time is that of the whole suite's case.
    """
    name = _legal(name)
    cases = [_whole(result), *(_task(task, result) for task in worst_first(result))]
    failed = sum(case.find("failure") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    counts = {
        "tests": str(len(cases)),
        "failures": str(failed),
        "errors": "0",
        "skipped": str(skipped),
        "time": f"{result.seconds:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "finetop check", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for case in cases:
        case.set("classname", name)
        suite.append(case)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _whole(result: CheckResult) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"name": WHOLE, "time": f"{result.seconds:.3f}"})
    detail = "\n".join([verdict_line(result), *further_lines(result), *result.claims])
    if result.verdict == "regressed":
        _add_element(case, "failure", verdict_line(result), detail).set("type", WORDS[result.verdict])
    elif result.verdict == "no_verdict":
        _add_element(case, "skipped", verdict_line(result), "")
    ElementTree.SubElement(case, "system-out").text = _legal(detail)
    return case


def _task(task: TaskResult, result: CheckResult) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"name": _legal(task.task) or "-", "time": "0.000"})
    if task.mark == "lost":
        message = f"{change(task.drop)} points (limit {points(result.margin)})"
        _add_element(case, "failure", message, _numbers(task, result.margin)).set("type", "lost")
    elif task.mark == "unmeasurable" or task.tuned is None:
        _add_element(case, "skipped", task.reason or result.reason or "not measured", "")
    if task.tuned is not None:
        ElementTree.SubElement(case, "system-out").text = _legal(_numbers(task, result.margin))
    return case


def _numbers(task: TaskResult, margin: float) -> str:
    """Return a task's numbers in one line."""
    base, tuned = ("-" if mean is None else f"{mean:.3f}" for mean in (task.base, task.tuned))
    interval_text = "" if task.interval is None else f" ({interval(task.interval, margin)})"
    return (
        f"base {base}, tuned {tuned}, change {change(task.drop)} points{interval_text};"
        f" {task.lost} lost, {task.won} won, {task.n} of {task.total} items, {task.mark}"
    )


def _add_element(case: ElementTree.Element, tag: str, message: str, text: str) -> ElementTree.Element:
    element = ElementTree.SubElement(case, tag, {"message": _legal(message)})
    element.text = _legal(text) or None
    return element


def _legal(text: str) -> str:
    """Remove characters that XML forbids, or that a terminal should not get, from untrusted text."""
    return _ILLEGAL.sub("", clean(text))


WRITERS: dict[str, Callable[[str, CheckResult], str]] = {"junit": junit, "markdown": markdown}
STDOUT = "-"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add --junit FILE and --markdown FILE."""
    options.path(parser, "--junit", "FILE", "write JUnit XML too (- for stdout)")
    options.path(parser, "--markdown", "FILE", "write a pull request's comment too (- for stdout)")


def on_stdout(args: argparse.Namespace) -> bool:
    """Return True if a report goes to stdout, so that nothing else may be printed. To call first. Raises BadInput."""
    taking = [f"--{name} -" for name in WRITERS if getattr(args, name) == STDOUT]
    if len(taking) + bool(args.json) > 1:
        both = " and ".join([*taking, *(["--json"] if args.json else [])])
        raise BadInput(f"{both} would mix on stdout.", hint="Give a file to all but one.")
    for name in WRITERS:
        path = getattr(args, name)
        if path and path != STDOUT and not Path(path).parent.is_dir():
            raise BadInput(f"--{name}: no folder {plain(str(Path(path).parent))}.", hint="Create it first.")
    return bool(taking)


def write(args: argparse.Namespace, name: str, outcome: CheckResult) -> None:
    """Write the requested reports. Raises EnvironmentTrouble if a file can't be written."""
    for kind, writer in WRITERS.items():
        path = getattr(args, kind)
        if path == STDOUT:
            sys.stdout.write(writer(name, outcome))
            sys.stdout.flush()
        elif path:
            try:
                Path(path).write_text(writer(name, outcome), encoding="utf-8")
            except OSError as error:
                raise EnvironmentTrouble(
                    f"--{kind}: {plain(path)} can't be written: {error.strerror or error}.",
                    hint="Give another file.",
                ) from error
