"""A lint report as text: totals, then each finding, worst first."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import east_asian_width

from finetop.core.text import clean_line, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.features.lint.report import Finding, Lengths, Report

MARKS = {"error": "✗", "warning": "!", "note": "·"}
SHOWN_KINDS = 6
FIRST = 3  # findings named as what to do first
LABEL = 8  # cells


class _Part(NamedTuple):
    """A paragraph with a mark before its first line; wrapped, or cut to one line."""

    text: str
    mark: str = ""
    is_cut: bool = False


def report_lines(report: Report, width: int = 80, *, is_page: bool = False, stage: str = "") -> Iterator[str]:
    """Yield the whole report in lines of at most `width` cells, headed by the chain's stage if there is one.

    What to do first is put where it is seen first: at the bottom in a terminal, at the top of a page that scrolls.
    """
    if stage:
        yield cut(f"── stage {stage} ".ljust(width, "─"), width)
    for text, mark, is_cut in _report(report, is_page=is_page):
        clean = clean_line(text)
        if is_cut:
            yield cut(mark + clean, width)
        elif not clean:
            yield ""
        else:
            below = " " * max(2, len(mark))
            yield from textwrap.wrap(
                clean, width, initial_indent=mark, subsequent_indent=below, break_on_hyphens=False
            )


def summary(report: Report) -> str:
    """Return the result in one line: '12 findings in 812 rows: 3 errors, 7 warnings, 2 notes'."""
    if not report.findings:
        return f"✓ nothing found in {counted(report.rows, 'row')}"
    by = {level: sum(finding.severity == level for finding in report.findings) for level in MARKS}
    parts = ", ".join(counted(number, level) for level, number in by.items() if number)
    return f"{counted(len(report.findings), 'finding')} in {counted(report.rows, 'row')}: {parts}"


def cut(line: str, width: int) -> str:
    """Cut a line to `width` cells; Chinese, Japanese and Korean characters take two."""
    if sum(map(_cells, line)) <= width:
        return line
    used = 0
    for at, character in enumerate(line):
        used += _cells(character)
        if used >= width:
            return line[:at] + "…"
    return line


def _cells(character: str) -> int:
    return 2 if east_asian_width(character) in "WF" else 1


def first_to_do(report: Report) -> list[Finding]:
    """Return what to do first: the worst, if several findings matter."""
    grave = [finding for finding in report.findings if finding.severity != "note" and finding.do]
    return grave[:FIRST] if len(grave) > 1 else []


def _first(report: Report) -> Iterator[_Part]:
    for number, finding in enumerate(first_to_do(report), start=1):
        head = "first" if number == 1 else ""
        yield _Part(f"{finding.do} ({counted(finding.count, 'row')})", f"{head:<{LABEL}}{number}  ")


def _report(report: Report, *, is_page: bool) -> Iterator[_Part]:
    for source in report.sources:
        role = "" if source.role == "train" else f" ({source.role})"
        yield _Part(f"{source.name}: {counted(source.rows, 'row')} of format {source.format}{role}")
    yield from _lengths(report.lengths)
    for note in report.notes:
        yield _Part(note, "note".ljust(LABEL))
    if is_page and first_to_do(report):
        yield _Part("")
        yield from _first(report)
    for finding in report.findings:
        yield _Part("")
        yield from _finding(finding)
    yield _Part("")
    yield _Part(summary(report))
    if not is_page:
        yield from _first(report)
    fixable = [finding.name for finding in report.findings if finding.fix and finding.fixable]
    if fixable and report.fixed is None:
        fix = "--fix OUT writes a file with certain errors fixed or removed"
        yield _Part(f"{fix}: {', '.join(fixable)}", "fix".ljust(LABEL))
    if any(finding.count > len(finding.examples) for finding in report.findings):
        yield _Part("--json names up to 1,000 rows of each finding", "more".ljust(LABEL))
    if report.fixed is not None:
        fixed = report.fixed
        changes = f"{fixed.removed:,} removed, {fixed.fixed:,} fixed"
        yield _Part(f"{fixed.path}: {counted(fixed.rows, 'row')}; {changes}, each in {fixed.manifest}")


def _lengths(lengths: Lengths) -> Iterator[_Part]:
    """Yield how long rows are, and how much of them is learned and cut."""
    kept = "" if lengths.kept == lengths.learned else f", {lengths.kept:,} after cutting and dropping"
    learned = f"{lengths.learned:,} of them learned{kept} ({lengths.how})"
    yield _Part(f"{lengths.tokens:,}, {learned}", "tokens".ljust(LABEL))
    over = f"; {lengths.over:,} over {lengths.max_tokens:,}" if lengths.max_tokens is not None else ""
    most = f"median {lengths.median:,}, 90 % up to {lengths.p90:,}, 99 % up to {lengths.p99:,}"
    text = f"shortest {lengths.shortest:,}, {most}, longest {lengths.longest:,}{over}"
    yield _Part(text, "a row".ljust(LABEL))


def _finding(finding: Finding) -> Iterator[_Part]:
    share = 100 * finding.count / finding.of if finding.of else 0
    of_all = "<0.1" if 0 < share < 0.1 else f"{share:.1f}"
    rows = f"{counted(finding.count, 'row')} ({of_all} %)"
    yield _Part(f"{finding.about}: {rows}  [{finding.name}]", f"{MARKS[finding.severity]} ")
    kinds = list(finding.kinds.items())
    if len(kinds) > 1:
        kind_counts = ", ".join(f"{kind} {number:,}" for kind, number in kinds[:SHOWN_KINDS])
        yield _Part(kind_counts + (", …" if len(kinds) > SHOWN_KINDS else ""), "  ")
    for example in finding.examples:
        yield _Part(f"{clean_line(example.place, limit=60)}  {example.text}", "    ", is_cut=True)
    yield _Part(f"Why: {finding.why}", "  ")
    if finding.fix and finding.fixable:
        yield _Part(f"--fix: {finding.fix} ({counted(finding.fixable, 'row')})", "  ")
