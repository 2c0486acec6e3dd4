"""Markdown for a pull request: the verdict first, an intact table, and no outside text that acts as markup."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from finetop.core.protocol.check_result import CheckResult, read
from finetop.core.wording.check_markdown import FLIPS_SHOWN, TASKS_SHOWN, escape, markdown

REGRESSED: dict[str, Any] = {
    "verdict": "regressed", "reason": "…", "decided_by": "arithmetic",
    "claims": ["Over all 400 items of 2 tasks the drop is 3.0 points or more; arithmetic, not a guess."],
    "margin": 0.03, "items_used": 400, "items_total": 400, "base": 0.9, "tuned": 0.8, "drop": 0.1,
    "interval": [0.05, 0.15], "lost": 45, "won": 5, "mcnemar_p": 0.001, "suite": "quick",
    "notes": ["left out  boolq: version 1 in the base's log, 2 in the tuned model's"],
    "tasks": [
        {"task": "knowledge", "mark": "kept", "n": 200, "total": 200, "base": 0.9, "tuned": 0.9,
         "drop": 0.0, "interval": [-0.02, 0.02]},
        {"task": "arith", "mark": "lost", "n": 200, "total": 200, "base": 0.9, "tuned": 0.7, "drop": 0.2,
         "interval": [0.1, 0.3], "lost": 45, "won": 5},
        {"task": "guesses", "mark": "unmeasurable", "n": 0, "total": 200, "base": 0.25, "tuned": None,
         "drop": None, "interval": None, "reason": "guesses: no verdict. At chance."},
    ],
    "flips": [
        {"task": "arith", "item": "7", "category": "", "question": "2 | 3 = ?\n" * 30, "gold": "5",
         "base": 1.0, "tuned": 0.0, "base_answer": "5", "tuned_answer": "@team <img src=x>"}
    ],
}  # fmt: skip


def written(**more: Any) -> str:
    return markdown("support-tone", read({**REGRESSED, **more}))


def table(text: str, head: str) -> list[list[str]]:
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(head))
    rows = takewhile(lambda line: line.startswith("|"), lines[start:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def test_the_verdict_is_the_first_line():
    first = "❌ **REGRESSED  10.0 points lost (limit 3.0), all 400 items scored**"
    assert written().splitlines()[:3] == [first, "", "support-tone, suite quick"]
    assert written(verdict="ok", drop=0.01).startswith("✅ **OK  1.0 points lost")
    open_one = written(verdict="no_verdict", reason="178 of 200 items joined.")
    assert open_one.startswith("⚪ **NO VERDICT  178 of 200 items joined.**")


def test_tasks_are_a_table_worst_first_with_numbers_to_the_right():
    rows = table(written(), "|  | task |")
    assert {len(row) for row in rows} == {9}
    assert rows[1][2:] == ["--:"] * 7
    assert rows[2] == ["✗", "arith", "0.900", "0.700", "-20.0", "-30.0 to -10.0", "45", "5", "200 of 200"]
    assert [row[1] for row in rows[2:]] == ["arith", "knowledge", "guesses"]
    assert rows[4][2:6] == ["0.250", "-", "-", "-"]


def test_what_stands_beside_and_what_was_left_out_is_there():
    lines = written().splitlines()
    for wanted in (
        "- change  -10.0 points over all 400 items, each scored",
        "- ability  -15.0 to -5.0 points on items like these (95 %, does not decide)",
        "- flips  45 lost, 5 won; exact McNemar p 0.001",
        "- left out  boolq: version 1 in the base's log, 2 in the tuned model's",
        "- guesses: no verdict. At chance.",
        "- Over all 400 items of 2 tasks the drop is 3.0 points or more; arithmetic, not a guess.",
    ):
        assert wanted in lines


def test_flips_are_a_table_whose_texts_do_nothing():
    text = written()
    rows = table(text, "|  | task | item |")
    assert {len(row) for row in rows} == {6}
    assert rows[2][:3] == ["lost", "arith", "7"]
    assert rows[2][5] == "&#64;team &#60;img src=x&#62;"
    assert f"{len(rows) - 2} of 50 items that changed" in text


def test_long_results_stay_under_a_comments_limit():
    task = {**REGRESSED["tasks"][1], "task": "mmlu_" + "x" * 60}
    flip = REGRESSED["flips"][0] | {
        "question": "|" * 500,
        "base_answer": "<" * 500,
        "tuned_answer": "*" * 500,
    }
    text = written(tasks=[task] * 400, flips=[flip] * 300)
    assert len(text) < 65_536
    assert f"and {400 - TASKS_SHOWN} more tasks" in text
    assert len(table(text, "|  | task | item |")) == FLIPS_SHOWN + 2


def test_escape():
    for outside, shown in {
        "a|b": "a&#124;b",
        "[x](http://evil)": "&#91;x&#93;(http&#58;//evil)",
        "0.23 [0.12, -0.34] and 1 -> 2": "0.23 [0.12, -0.34] and 1 -> 2",
        "[1, 2](http://evil)": "&#91;1, 2&#93;(http&#58;//evil)",
        "[1, 2]: x, [1, 2][3], -->": "&#91;1, 2&#93;: x, &#91;1, 2&#93;&#91;3&#93;, --&#62;",
        "see www.evil.example": "see www&#46;evil.example",
        "`code` *bold* a_b _i_": "&#96;code&#96; &#42;bold&#42; a_b &#95;i&#95;",
        "@all #12 &amp; \\": "&#64;all &#35;12 &#38;amp; &#92;",
        "two\nlines\x1b[31m\x00": "two lines",
        "fine: 3.0 points (limit 5), -1 to +2": "fine: 3.0 points (limit 5), -1 to +2",
    }.items():
        assert escape(outside) == shown


def test_a_hostile_task_name_keeps_the_table_whole():
    outcome: CheckResult = read({**REGRESSED, "tasks": [{**REGRESSED["tasks"][1], "task": "a|b\n| c | <b>"}]})
    assert {len(row) for row in table(markdown("n", outcome), "|  | task |")} == {9}
