"""A lint report in words, at most 80 columns wide: what the rows come to, then each finding."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from finetop.core.text import clean_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.lint.report import Finding, Lengths, Report

WIDTH = 80
MARKS = {"error": "✗", "warning": "!", "note": "·"}
SHOWN_KINDS = 6


def report_lines(report: Report) -> Iterator[str]:
    """Write the whole report."""
    for source in report.sources:
        yield from wrapped(
            f"{source.name}: {counted(source.rows, 'row')} of format {source.format}"
            + ("" if source.role == "train" else f" ({source.role})")
        )
    yield from length_lines(report.lengths)
    for note in report.notes:
        yield from wrapped(note, "note    ")
    for finding in report.findings:
        yield ""
        yield from finding_lines(finding)
    yield ""
    yield summary(report)
    if report.fixed is not None:
        fixed = report.fixed
        yield from wrapped(
            f"{fixed.path}: {counted(fixed.rows, 'row')}; {fixed.removed:,} removed, {fixed.mended:,} mended, each in"
            f" {fixed.manifest}"
        )


def summary(report: Report) -> str:
    """Say in a line what came out: '12 findings: 3 errors, 7 warnings, 2 notes'."""
    if not report.findings:
        return f"✓ nothing found in {counted(report.rows, 'row')}"
    by = {level: sum(one.severity == level for one in report.findings) for level in MARKS}
    parts = ", ".join(counted(number, level) for level, number in by.items() if number)
    return f"{counted(len(report.findings), 'finding')} in {counted(report.rows, 'row')}: {parts}"


def length_lines(lengths: Lengths) -> Iterator[str]:
    """Say how long rows are, and what of them is learned and cut."""
    yield from wrapped(f"{lengths.tokens:,} ({lengths.how}), {lengths.learned:,} of them learned", "tokens  ")
    yield from wrapped(
        f"shortest {lengths.shortest:,}, median {lengths.median:,}, 90 % up to {lengths.p90:,},"
        f" 99 % up to {lengths.p99:,}, longest {lengths.longest:,}",
        "a row   ",
    )


def finding_lines(finding: Finding) -> Iterator[str]:
    """Write one finding."""
    share = 100 * finding.count / finding.of if finding.of else 0
    of_all = "<0.1" if 0 < share < 0.1 else f"{share:.1f}"
    yield from wrapped(
        f"{finding.about}: {counted(finding.count, 'row')} ({of_all} %)  [{finding.name}]",
        f"{MARKS[finding.severity]} ",
    )
    kinds = list(finding.kinds.items())
    if len(kinds) > 1:
        words = ", ".join(f"{kind} {number:,}" for kind, number in kinds[:SHOWN_KINDS])
        yield from wrapped(words + (", …" if len(kinds) > SHOWN_KINDS else ""), "  ")
    for one in finding.examples:
        place = clean_line(one.place, limit=40)
        text = clean_line(one.text)
        yield from (line for line in [cut(f"    {place}  {text}")])
    yield from wrapped(f"Why: {finding.why}", "  ")
    if finding.fix and finding.fixable:
        yield from wrapped(f"--fix: {finding.fix} ({counted(finding.fixable, 'row')})", "  ")


def cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


def wrapped(text: str, mark: str = "") -> Iterator[str]:
    yield from textwrap.wrap(
        clean_line(text), WIDTH, initial_indent=mark, subsequent_indent=" " * max(2, len(mark)),
        break_on_hyphens=False,
    )  # fmt: skip
