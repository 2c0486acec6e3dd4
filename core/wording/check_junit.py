"""Writes a check's result as JUnit XML, which continuous-integration servers show as tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from finetop.core.protocol.check_result import (
    WORDS,
    TaskResult,
    beside_lines,
    change,
    points,
    verdict_line,
    worst_first,
)
from finetop.core.text import clean

if TYPE_CHECKING:
    from finetop.core.protocol.check_result import Outcome

WHOLE = "whole suite"
# What XML 1.0 forbids even as a reference; control characters are gone before (text.clean).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(name: str, outcome: Outcome) -> str:
    """Write one test suite: a test case for the whole, and one for each task.

    REGRESSED and a lost task fail with their numbers; NO VERDICT and what could not be measured are skipped
    with the reason. All of the check's seconds are the whole suite's.
    """
    name = _legal(name)
    cases = [_whole(outcome), *(_task(task, outcome) for task in worst_first(outcome))]
    failed = sum(case.find("failure") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    counts = {
        "tests": str(len(cases)),
        "failures": str(failed),
        "errors": "0",
        "skipped": str(skipped),
        "time": f"{outcome.seconds:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "finetop check", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for case in cases:
        case.set("classname", name)
        suite.append(case)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _whole(outcome: Outcome) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"name": WHOLE, "time": f"{outcome.seconds:.3f}"})
    detail = "\n".join([verdict_line(outcome), *beside_lines(outcome), *outcome.claims])
    if outcome.verdict == "regressed":
        _say(case, "failure", verdict_line(outcome), detail).set("type", WORDS[outcome.verdict])
    elif outcome.verdict == "no_verdict":
        _say(case, "skipped", verdict_line(outcome), "")
    ElementTree.SubElement(case, "system-out").text = _legal(detail)
    return case


def _task(task: TaskResult, outcome: Outcome) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"name": _legal(task.task) or "-", "time": "0.000"})
    if task.mark == "lost":
        _say(
            case, "failure", f"{change(task.drop)} points (limit {points(outcome.margin)})", _numbers(task)
        ).set("type", "lost")
    elif task.mark == "unmeasurable" or task.tuned is None:
        _say(case, "skipped", task.reason or outcome.reason or "not measured", "")
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
