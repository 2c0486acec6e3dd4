"""Versions of data, on the real supervisor with fake jobs that read files: listed, shown, compared, rebuilt."""

import json
import os
import time

import pytest

from finetop.core.data.source_record import sha256_of
from finetop.core.features.data_versions.messages import DataOf, DataVersions
from finetop.core.features.lint.report import Finding, Lengths, Report, SourceFacts, keep


def rows_of(count, edits=()):
    rows = [{"prompt": f"Question {i}?", "completion": f"Answer {i}."} for i in range(count)]
    for at in edits:
        rows[at]["completion"] = f"A better answer {at}."
    return rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def two(rig, tmp_path):
    """Two runs on one file, which was edited between them: three rows changed, two new."""
    faq = tmp_path / "faq.jsonl"
    for name, rows in (("one", rows_of(20)), ("two", rows_of(22, edits=(3, 7, 8)))):
        rig.submit(name, steps=1, reads=[write(faq, rows)])
        rig.wait_state(name, "finished")
    return faq


@pytest.mark.slow
def test_a_file_that_was_edited_is_another_version_and_numbers_stay(finetop, rig, two, tmp_path):
    code, out, _ = finetop("data")
    assert code == 0
    first, second = (line.split() for line in reversed(out.splitlines()[1:3]))
    assert (first[:4], second[:2]) == (["faq.jsonl", "v1", "of", "2"], ["faq.jsonl", "v2"])
    assert (first[-1], second[-1], first[5], second[3]) == ("one", "two", "20", "22")
    assert "No version" in finetop("data", "nowhere")[1]
    assert json.loads(finetop("data", "--json")[1])["total"] == 2

    out = finetop("show", "two")[1]
    assert "version    faq.jsonl v2 (22 rows; 3 changed, 2 new since v1, of one)" in out
    assert "changed since:" not in out
    out = finetop("show", "one")[1]
    assert "version    faq.jsonl v1 (20 rows)\n" in out
    assert "other runs have read up to v2" in out
    assert "the file has changed since: now v2, 22 rows" in out

    code, out, _ = finetop("compare", "one", "two", "--data")
    lines = out.splitlines()
    assert code == 0
    assert lines[1] == (
        "  faq.jsonl v1 (20 rows) | faq.jsonl v2 (22 rows): 17 in both, 3 changed, 2 only in B"
    )
    assert "    + Question 20? -> Answer 20." in lines and "    + Question 21? -> Answer 21." in lines
    assert "    + Question 3? -> A better answer 3." in lines
    assert "3 rows can't be shown: the files no longer hold them" in out  # rows from before the edit
    write(two, rows_of(20) + rows_of(22, edits=(3, 7, 8)))  # a file that holds old and new rows
    out = finetop("compare", "one", "two", "--data")[1]
    assert "    - Question 3? -> Answer 3.\n    + Question 3? -> A better answer 3." in out
    two.unlink()
    out = finetop("compare", "one", "two", "--data")[1]
    assert "17 in both, 3 changed" in out and "8 rows can't be shown" in out
    assert "the file no longer exists" in finetop("show", "one")[1]

    # Numbers stay when runs go and the database is made again.
    assert finetop("rm", "one", "--yes")[0] == 0
    assert finetop("trash", "--empty", "--yes")[0] == 0
    other = tmp_path / "new.jsonl"
    write(other, rows_of(22, edits=(3,)))
    other.replace(two)
    rig.submit("three", steps=1, reads=[str(two)])
    rig.wait_state("three", "finished")
    rig.stop_all()
    code, _, err = finetop("rebuild")
    assert code == 0, err
    rig.start()
    rig.wait_ready()
    versions = rig.ask(DataVersions()).versions
    wanted = [(1, []), (2, ["two"]), (3, ["three"])]
    assert sorted((version.number, version.names) for version in versions) == wanted
    (facts,) = rig.ask(DataOf("three")).sources
    assert (facts.before, facts.difference.changed) == (2, 2)
    (facts,) = rig.ask(DataOf("two")).sources
    assert facts.before == 1 and "its row hashes were deleted" in facts.difference.why_not


@pytest.mark.slow
def test_what_is_the_same_and_what_an_old_run_never_told(finetop, rig, two):
    rig.submit("three", steps=1, reads=[str(two)])
    rig.submit("old", steps=1, tells=1)
    few = two.with_name("few.jsonl")
    write(few, rows_of(2))
    facts = {"source": {"path": str(two), "sha256": sha256_of(two), "rows": 22}, "by": "random", "rows": 2}
    few.with_name("few.manifest.json").write_text(json.dumps({**facts, "sha256": sha256_of(few)}))
    os.utime(few, (time.time() + 3600,) * 2)  # as if written while the run waited
    rig.submit("few", steps=1, reads=[str(few)])
    for name in ("three", "old", "few"):
        rig.wait_state(name, "finished")
    finding = Finding("empty", "answers that are empty", "error", 3, 22, "why")
    source = SourceFacts("faq.jsonl", "train", "prompt-completion", 22, 1, sha256_of(two))
    keep(
        Report((source,), 22, Lengths("tokens", 1, 1, 1, 1, 1, 1, 1, 1), (finding,), ("empty",), 0.1),
        rig.home,
    )
    assert "finetop lint found 1: empty in 3 rows" in finetop("show", "three")[1]
    out = finetop("report", "three", "--to", "-", "--markdown")[1]
    assert "| answers that are empty | faq.jsonl | error | 3 | 22 |" in out
    assert "| 3 changed, 2 new since v1, of one |" in out
    assert "Same data: faq.jsonl v2 (22 rows)." in finetop("compare", "two", "three")[1]
    assert "old: No row hashes for this run." in finetop("compare", "two", "old", "--data")[1]
    assert "version" not in finetop("show", "old")[1]
    text = "selected from faq.jsonl v2 by random, 2 of 22 rows"
    out = finetop("show", "few")[1]
    assert text in out and text in finetop("data")[1]
    late = "the file was written after the run was queued"
    assert late in out and late not in finetop("show", "three")[1]


@pytest.mark.slow
def test_runs_that_were_measured_on_different_tests_say_so(finetop, rig, tmp_path):
    faq, test = write(tmp_path / "faq.jsonl", rows_of(4)), tmp_path / "test.jsonl"
    for name, edits in (("one", ()), ("two", (1,)), ("three", (1,))):
        rig.submit(name, steps=1, reads=[faq], tested=write(test, rows_of(3, edits)))
        rig.wait_state(name, "finished")
    rig.submit("untold", steps=1, reads=[faq])
    rig.wait_state("untold", "finished")
    out = finetop("show", "two")[1]
    assert "version    faq.jsonl v1 (4 rows)" in out
    assert "version    test test.jsonl v2 (3 rows; 1 changed since v1, of one)" in out
    out = finetop("compare", "one", "two")[1]
    different = "They were measured on different tests: their scores on the target can't be compared."
    assert out.count(different) == 2  # once where the best would be, once with the data
    assert "test test.jsonl v1 (3 rows) | test test.jsonl v2 (3 rows): 2 in both, 1 changed" in out
    out = finetop("compare", "two", "three", "--data")[1]
    assert out == "Same data: faq.jsonl v1 (4 rows), test test.jsonl v2 (3 rows).\n"
    out = finetop("compare", "one", "untold", "--data")[1]
    assert "Same data: " in out and "different tests" not in out  # an unknown test is not claimed to differ
    assert "test.jsonl" in finetop("data", "test.jsonl")[1]
