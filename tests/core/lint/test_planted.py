"""Some planted defects are found in real data (FINETOP_TEST_DATA), and sound rows pass; all: bench/planted.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from finetop.core.lint import lint
from finetop.core.lint.report import Given, LintRequest
from finetop.core.runtime.home import Home

DATA = Path(os.environ.get("FINETOP_TEST_DATA", "/nonexistent"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="FINETOP_TEST_DATA names no folder of data sets")


def test_a_copy_a_contradiction_a_leak_and_an_item_are_found_among_sound_rows(tmp_path: Path) -> None:
    def read(name: str, count: int) -> list[dict]:
        return [json.loads(line) for line in (DATA / name).read_text().splitlines()[:count]]

    rows, tests = read("gsm8k_sft/train.jsonl", 150), read("gsm8k/dev.jsonl", 100)
    item = read("arc_easy/open.jsonl", 1)[0]["question"]

    def row(question: str, answer: str) -> str:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return json.dumps({"messages": turns})

    lines = [row(entry["question"], entry["answer"]) for entry in rows]
    lines.append(row("Quick question. " + rows[5]["question"].replace("the", "teh", 1), rows[5]["answer"]))
    lines.append(row(rows[9]["question"].upper(), rows[10]["answer"]))
    lines.append(row(tests[7]["question"] + " Thanks!", "It is 12."))
    lines.append(row(f"Question: {item.lower()}\nAnswer:", "B"))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    test = [row(entry["question"], entry["answer"]) for entry in tests]
    (tmp_path / "t.jsonl").write_text("\n".join(test))
    sources = (
        Given("train", {"path": str(tmp_path / "a.jsonl")}),
        Given("test", {"path": str(tmp_path / "t.jsonl")}),
    )
    only = ("duplicates", "near-duplicates", "conflicts", "leaks", "contamination")
    request = LintRequest(sources, only=only, against=(str(DATA / "arc_easy" / "open.jsonl"),), workers=1)
    report = lint.run(request, Home(tmp_path), lambda *_: None)
    assert {entry.name: entry.places for entry in report.findings} == {
        "near-duplicates": ("a.jsonl:151",),
        "conflicts": ("a.jsonl:10", "a.jsonl:152"),
        "leaks": ("a.jsonl:153",),
        "contamination": ("a.jsonl:154",),
    }
