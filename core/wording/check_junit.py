"""Writes a check's result as JUnit XML, which continuous-integration servers show as tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from finetop.core.protocol.check_result import TaskResult, worst_first
from finetop.core.text import clean
from finetop.core.wording.verdicts import WORDS, beside_lines, change, points, verdict_line

if TYPE_CHECKING:
    from finetop.core.protocol.check_result import CheckResult

WHOLE = "whole suite"
# What XML 1.0 forbids even as a reference; control characters are gone before (text.clean).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(name: str, result: CheckResult) -> str:
    """Write one test suite: a test case for the whole, and one for each task.

    REGRESSED and a lost task fail with their numbers; NO VERDICT and what could not be measured are skipped
    with the reason. All of the check's seconds are the whole suite's.
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
    detail = "\n".join([verdict_line(result), *beside_lines(result), *result.claims])
    if result.verdict == "regressed":
        _say(case, "failure", verdict_line(result), detail).set("type", WORDS[result.verdict])
    elif result.verdict == "no_verdict":
        _say(case, "skipped", verdict_line(result), "")
    ElementTree.SubElement(case, "system-out").text = _legal(detail)
    return case


def _task(task: TaskResult, result: CheckResult) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"name": _legal(task.task) or "-", "time": "0.000"})
    if task.mark == "lost":
        _say(
            case, "failure", f"{change(task.drop)} points (limit {points(result.margin)})", _numbers(task)
        ).set("type", "lost")
    elif task.mark == "unmeasurable" or task.tuned is None:
        _say(case, "skipped", task.reason or result.reason or "not measured", "")
    if task.tuned is not None:
        ElementTree.SubElement(case, "system-out").text = _legal(_numbers(task))
    return case


def _numbers(task: TaskResult) -> str:
    """Write a task's numbers in one line."""
    base, tuned = ("-" if mean is None else f"{mean:.3f}" for mean in (task.base, task.tuned))
    interval = ""
    if task.interval is not None:
        low, high = task.interval
        interval = f", between {change(high)} and {change(low)}"
    return (
        f"base {base}, tuned {tuned}, change {change(task.drop)} points{interval};"
        f" {task.lost} lost, {task.won} won, {task.n} of {task.total} items, {task.mark}"
    )


def _say(case: ElementTree.Element, tag: str, message: str, text: str) -> ElementTree.Element:
    element = ElementTree.SubElement(case, tag, {"message": _legal(message)})
    element.text = _legal(text) or None
    return element


def _legal(text: str) -> str:
    """Take what no XML document may hold, and no terminal should, out of outside text."""
    return _ILLEGAL.sub("", clean(text))
