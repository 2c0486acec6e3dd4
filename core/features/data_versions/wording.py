"""The wording of data versions, in the app, on the command line and in reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finetop.core.features.data_versions import messages
from finetop.core.features.data_versions.messages import SourceFacts, SourcePair
from finetop.core.protocol.data_diff import Difference, Kept, Origin, SourceRow
from finetop.core.protocol.runs import NO_WEIGHT, Queued, RunDetail
from finetop.core.text import clean_line, counted

LINT_SHOWN = 4
FILE = "the file"  # sentences about a file begin with this
NO_ROWS = "No row hashes for this run."
NOT_STARTED = "Its rows are read when it starts."
TESTS_DIFFER = "They were measured on different tests: their scores on the target can't be compared."
NO_TRAINING = "Not trained: no weights changed."


def source_words(row: SourceRow | messages.DataVersion) -> str:
    """Return a source's name with what distinguishes it: 'faq.jsonl', 'org/name:test, first 100 rows'."""
    name = row.path.rstrip("/").rpartition("/")[2] if row.path.startswith("/") else row.path
    part = f":{row.part}" if row.part else ""
    limit = "" if row.limit is None else f", first {counted(row.limit, 'row')}"
    return clean_line(f"{name}{part}{limit}")


def version_words(row: SourceRow) -> str:
    """Return the version that a run read: 'faq.jsonl v2 (412 rows)', 'test faq_test.jsonl v1 (40 rows)'."""
    return f"{_of_test(row)}{source_words(row)} v{row.number} ({counted(row.rows, 'row')})"


def _of_test(row: SourceRow) -> str:
    return "test " if row.use == "test" else ""


def changes(difference: Difference) -> str:
    """Return how rows differ from those before: '38 changed, 5 new, 2 gone'."""
    if difference.why_not:
        return difference.why_not
    if difference.is_same:
        return "the same rows"
    if not difference.both:
        return f"other rows, all {difference.new:,}"
    parts = _numbers((difference.changed, "changed"), (difference.new, "new"), (difference.gone, "gone"))
    if not difference.same_order:
        parts.append("the rest in another order" if parts else "the same rows in another order")
    return ", ".join(parts)


def _numbers(*counts: tuple[int, str]) -> list[str]:
    return [f"{number:,} {word}" for number, word in counts if number]


def since(facts: SourceFacts) -> str:
    """Return how a version differs from the previous one: '38 changed since v1, of tone'; '' for the first."""
    if facts.difference is None or not facts.before:
        return ""
    run = f", of {clean_line(facts.before_run)}" if facts.before_run else ""
    if facts.difference.why_not:
        return f"v{facts.before}{run}, can't be compared: {facts.difference.why_not}"
    return f"{changes(facts.difference)} since v{facts.before}{run}"


def version_line(facts: SourceFacts) -> str:
    """Return one line on what was read: 'faq.jsonl v2 (412 rows; 38 changed since v1, of support-tone)'."""
    row, difference = facts.row, since(facts)
    inside = counted(row.rows, "row") + (f"; {difference}" if difference else "")
    return f"{_of_test(row)}{source_words(row)} v{row.number} ({inside})"


def further_facts(facts: SourceFacts) -> Iterator[str]:
    """Yield further facts about a source, one sentence each."""
    row = facts.row
    if row.revision:
        yield f"revision {clean_line(row.revision)}"
    if row.fingerprint:
        yield f"datasets fingerprint {clean_line(row.fingerprint)}"
    if row.after_queue:
        yield f"{FILE} was written after the run was queued"
    if row.number < row.newest:
        yield f"other runs have read up to v{row.newest}"
    if row.origin is not None:
        yield origin_words(row.origin, row.origin_number)
    now = facts.now
    if now is None:
        return
    if now.lint is not None:
        yield lint_words(now.lint)
    if now.state == "changed":
        holds = f"v{facts.now_number}" if facts.now_number else "a version no run has read"
        unread = "it can no longer be read as rows"
        rows = unread if now.rows is None else f"now {holds}, {counted(now.rows, 'row')}"
        yield f"{FILE} has changed since: {rows}"
    elif now.state == "gone":
        yield f"{FILE} no longer exists"
    elif now.state == "unread":
        yield f"{FILE} has been written to since; too large to read again here"


def lint_words(report: Kept) -> str:
    """Summarise lint's findings: 'finetop lint found 2: empty in 12 rows, near-duplicates in 40'."""
    if not report.findings:
        return "finetop lint found nothing"
    first, *others = report.findings
    shown = [f"{first.name} in {counted(first.count, 'row')}"]
    shown += [f"{finding.name} in {finding.count:,}" for finding in others]
    more = f" and {len(shown) - LINT_SHOWN} more" if len(shown) > LINT_SHOWN else ""
    return clean_line(f"finetop lint found {len(shown)}: {', '.join(shown[:LINT_SHOWN])}{more}")


def origin_words(origin: Origin, number: int = 0) -> str:
    """Return what a file was made of: 'selected from faq.jsonl v1 by difficulty, 200 of 412 rows'."""
    name = origin.path.rstrip("/").rpartition("/")[2]
    source = f"{name} v{number}" if number else name
    of = counted(origin.of_rows, "row")
    text = f"selected from {source} by {origin.by}, {origin.rows:,} of {of}"
    if origin.how != "selected":
        text = f"fixed from {source} by finetop lint --fix"
        text += f": {origin.removed:,} of {of} removed, {origin.mended:,} changed"
    before = "" if origin.before is None else f"; that was {origin_words(origin.before)}"
    return clean_line(text + before)


def pair_words(pair: SourcePair, first: str, other: str) -> str:
    """Return one line on how a run's source differs from its counterpart; `first` and `other` name the runs."""
    if pair.first is None or pair.other is None:
        row = pair.first or pair.other
        assert row is not None
        if row.use == "test":
            return f"only {first if pair.first is not None else other} records its test: {version_words(row)}"
        return f"only {first if pair.first is not None else other} has {version_words(row)}, as {row.use}"
    before, after = version_words(pair.first), version_words(pair.other)
    names = before if before == after else f"{before} | {after}"
    return f"{names}: {shared(pair.difference, first, other)}"


def shared(difference: Difference | None, first: str, other: str) -> str:
    """Return which rows two runs share: '374 in both, 38 changed, 2 only in A, 5 only in B'."""
    if difference is None:
        return ""
    if difference.why_not:
        return f"can't be compared: {difference.why_not}"
    if difference.is_same:
        return "the same rows in the same order"
    parts = [f"{difference.both:,} in both" if difference.both else "no rows in common"]
    only = ((difference.gone, f"only in {first}"), (difference.new, f"only in {other}"))
    parts += _numbers((difference.changed, "changed"), *only)
    if not difference.same_order:
        parts.append("in another order")
    return ", ".join(parts)


def settings(pair: SourcePair) -> list[str]:
    """Return which settings of two sources differ, and whether the same rows were trained differently."""
    first, other = pair.first, pair.other
    if first is None or other is None:
        return []
    differences = []
    for name, attribute in (("share", "share"), ("row limit", "limit"), ("use", "use")):
        values = [getattr(row, attribute) for row in (first, other)]
        if values[0] != values[1]:
            before, after = ("all" if value is None else value for value in values)
            differences.append(f"{name}: {before} | {after}")
    is_same = pair.difference is not None and pair.difference.is_same
    if is_same and first.learned and other.learned and first.learned != other.learned:
        why = "other rows held out, another template or other truncation"
        differences.append(f"same rows, trained differently: {why}")
    return differences


def same_data(sources_by_run: Sequence[Sequence[SourceRow]]) -> bool:
    """Return True if several runs are known to have read the same rows in the same way, and no other tests."""
    first, *others = (
        [(row.content, row.use, row.limit, row.share, row.learned) for row in rows if row.use != "test"]
        for rows in sources_by_run
    )
    return bool(first) and all(facts == first for facts in others) and not tests_differ(sources_by_run)


def tests_differ(sources_by_run: Sequence[Sequence[SourceRow]]) -> bool:
    """Return True if several runs are known to have been measured on different tests."""
    tests = [[row.content for row in rows if row.use == "test"] for rows in sources_by_run]
    recorded = [contents for contents in tests if contents]
    return any(contents != recorded[0] for contents in recorded)


def same_line(rows: Sequence[SourceRow]) -> str:
    """Return the sentence that several runs have read the same data."""
    return f"Same data: {', '.join(map(version_words, rows))}."


def unknown_rows(run: RunDetail) -> str:
    """Return why the rows that a run has read are unknown."""
    if run.row.method == NO_WEIGHT:
        return NO_TRAINING
    return NOT_STARTED if isinstance(run.row.state, Queued) else NO_ROWS


def differ_lines(
    answer: messages.DataDifferAnswer, first: str, other: str, runs: Sequence[RunDetail]
) -> Iterator[tuple[str, str]]:
    """Yield how the data of two runs differ: (kind, line), kind '' for a source, 'setting', '-' or '+' for a row."""
    for run in runs:
        if run.row.name in answer.unknown:
            yield "", f"{clean_line(run.row.name)}: {unknown_rows(run)}"
    for pair in answer.pairs:
        yield "", pair_words(pair, first, other)
        for line in settings(pair):
            yield "setting", line
        if pair.difference is None:
            continue
        for example in pair.difference.examples:
            if example.before:
                yield "-", clean_line(example.before)
            if example.after:
                yield "+", clean_line(example.after)
        if pair.difference.not_found:
            rows = counted(pair.difference.not_found, "row")
            yield "setting", f"{rows} can't be shown: the files no longer hold them"
        is_test = pair.first is not None and pair.other is not None and pair.first.use == "test"
        if is_test and not pair.difference.is_same:
            yield "", TESTS_DIFFER
    if answer.whole is not None:
        yield "", f"all training rows: {shared(answer.whole, first, other)}"
