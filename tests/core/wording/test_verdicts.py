"""Results in words: the verdict's line, the table, the lines below it, and the brief for lists."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from made_checks import checked

from finetop.core.check import bisect
from finetop.core.features.remedies import wording as remedies
from finetop.core.features.report.page import Bars
from finetop.core.features.report.sections.check import tasks
from finetop.core.features.triage.sql import facts_of
from finetop.core.protocol import check_result
from finetop.core.protocol.runs import RemedyRow
from finetop.core.wording import verdicts


def line_of(result: dict[str, Any]) -> str:
    return verdicts.verdict_line(check_result.read(result))


def report_of(result: dict[str, Any]) -> str:
    return verdicts.report("run", check_result.read(result))


def short_of(result: dict[str, Any]) -> str:
    return verdicts.short_answer(check_result.brief(5, 1.0, 120, result))


def test_the_line_of_regressed_and_ok():
    line = line_of(checked({"arith": 60, "knowledge": 50}, "all"))
    assert line == "REGRESSED  27.5 points lost (limit 3.0), all 400 items scored"
    early = line_of(checked({"arith": 60, "knowledge": 50}))
    assert early.startswith("REGRESSED  ")
    assert "points lost (limit 3.0), proven on " in early and early.endswith(" of 400 items")
    assert line_of(checked({}, "all")) == "OK  nothing lost (limit 3.0), all 400 items scored"
    moved = [verdicts.moved(drop, 0.03) for drop in (0.091, -0.004, 0.0001, 0.02976)]
    assert moved == ["9.1 points lost", "0.4 points won", "nothing lost", "2.98 points lost"]
    changes = [verdicts.change(drop) for drop in (0.0912, -0.004, 0.0001, -0.0001, None)]
    assert changes == ["-9.1", "+0.4", "0.0", "0.0", "-"]  # no negative zero


def test_a_real_drop_under_the_limit_is_named():
    check_facts = checked({"arith": 20, "knowledge": 20}, "all", margin=0.2)
    outcome = check_result.read(check_facts)
    assert outcome.real_drop
    assert verdicts.verdict_line(outcome).startswith("OK, a real drop  10.0 points lost (limit 20.0)")
    assert short_of(check_facts) == "ok -10.0, arith -10.0"


def test_no_verdict_says_why():
    check_facts = {**checked({}), "verdict": "no_verdict", "reason": "models not scored alike", "drop": None}
    assert line_of(check_facts) == "NO VERDICT  models not scored alike"
    assert short_of(check_facts) == "NO VERDICT: models not scored alike"


def test_a_claim_of_several_and_a_watch_say_so():
    second = checked({}, claim=2)
    assert line_of(second).endswith(" of 400 items (check 2 of this run)")
    assert "claim 2 of this run: 0.0083 of alpha 0.05 is spent here." in report_of(second)
    assert "wrong with probability at most 0.00833." in report_of(second)
    assert "points on items like these (99.17 %, does not decide)" in report_of(second)
    watch = checked({}, watch=True)
    assert line_of(watch).endswith(" of 400 items (intermediate check)")
    assert "This is an intermediate check: no claim of the run." in report_of(watch)
    only = report_of(checked({}))
    assert "claim" not in only and "watch" not in only
    assert check_result.brief(5, 1.0, 120, second).claim == 2
    assert check_result.brief(5, 1.0, 120, watch).watch


def test_a_result_from_before_claims_and_weights_can_be_read():
    later = ("claim", "watch", "alpha_total", "weighted")
    old = {key: value for key, value in checked({}).items() if key not in later}
    outcome = check_result.read(old)
    assert (outcome.claim, outcome.watch, outcome.weighted) == (0, False, False)
    assert verdicts.verdict_line(outcome) == line_of(checked({}))


def test_weights_are_said_where_they_differ():
    check_facts = checked({"arith": 60}, "all", weights=(3.0, 1.0, 1.0))
    lines = verdicts.task_table(check_result.read(check_facts)).splitlines()
    assert lines[0].endswith("  weight")
    assert [line.split()[-1] for line in lines[1:]] == ["3", "1", "-"]
    assert "  22.5 points lost, weighted (limit 3.0), all 400 items scored" in line_of(check_facts)
    even = check_result.read(checked({"arith": 60}, "all", weights=(3.0, 3.0, 3.0)))
    assert "weight" not in verdicts.report("run", even)


def test_table_has_the_worst_first_and_the_unmeasurable_last():
    outcome = check_result.read(checked({"arith": 10, "knowledge": 60}, "all"))
    lines = verdicts.task_table(outcome).splitlines()
    assert lines[0].split() == ["task", "base", "tuned", "change", "interval", "lost", "won", "items"]
    assert [line[3:12].strip() for line in lines[1:]] == ["knowledge", "arith", "guesses"]
    assert lines[1].startswith("✗  knowledge  1.000  0.700   -30.0  ")
    assert lines[1].endswith("    60    0  200 of 200")
    assert lines[3].startswith("-  guesses    0.250")


def test_target_says_which_way_is_better():
    for metric, low, high, how in (
        ("nats_per_token", -2.0, -1.9, "better"), ("nats_per_token", 0.1, 0.2, "worse"),
        ("rules", 0.1, 0.2, "better"), ("rules", -0.2, -0.1, "worse"), ("rules", -0.1, 0.1, "no clear change"),
    ):  # fmt: skip
        assert f"({how}, " in verdicts.target_line(metric, check_result.TargetScore(1.0, 1.0, low, high, 60))


def test_report_shows_all_that_stands_beside():
    check_facts = {
        **checked({"arith": 60}),
        "target": {"rules": {"base": 0.1, "tuned": 0.9, "low": 0.7, "high": 0.9, "rows": 40}},
        "drift": {"base": 2.0, "tuned": 2.5, "tokens": 1530, "kl": 0.25},
        "noise_floor": {"items": 48, "flips": 1, "engine": "continuous", "answers": 20, "answers_flipped": 2},
        "contamination": {"items": 2, "by_task": {"arith": 2}},
        "notes": ["a note\x1b[31m"],
    }
    text = verdicts.report("support", check_result.read(check_facts))
    for wanted in (
        "support at step 120, suite quick",
        "target  rules  0.10 -> 0.90 (better",
        "drift  +0.500 nats/token on general text (2.000 -> 2.500, KL 0.250)",
        "other batches: 1 flip of 48 items",
        "noise floor  engine continuous against exact: 2 flips of 20 answers",
        "left out  2 items found in the training data (arith 2)",
        "a note",
        "guesses: no verdict. The base model scores 0.250, within 3 standard errors of chance (0.250)",
    ):
        assert wanted in text
    assert "\x1b" not in text


def test_brief_is_in_points_with_the_worst_task_first():
    check_facts = {
        **checked({"arith": 60}, "all"),
        "target": {"rules": {"base": 0.1, "tuned": 0.9, "low": 0.7, "high": 0.9}},
    }
    short = check_result.brief(7, 12.5, 120, check_facts)
    assert (short.check_id, short.at, short.step) == (7, 12.5, 120)
    assert (short.verdict, short.margin, short.drop) == ("regressed", 3.0, pytest.approx(15.0))
    worst = short.worst[0]
    assert (worst.task, worst.mark, worst.drop) == ("arith", "lost", pytest.approx(30.0))
    assert short.target == {"rules": [0.1, 0.9]}
    assert verdicts.short_answer(short) == "REGRESSED -15.0"
    for facts, name_suite, answer in (
        ({"accepted": "ana: it is fine"}, None, "-15.0, accepted (ana: it is fine)"),
        ({"suite": "core"}, None, "REGRESSED -15.0 on core"),  # the usual suite is not named
        ({"suite": "core"}, False, "REGRESSED -15.0"),
        ({"suite": "quick"}, None, "REGRESSED -15.0"),
        ({"suite": "quick"}, True, "REGRESSED -15.0 on quick"),
        (
            {"suite": "core", "verdict": "no_verdict", "reason": "at chance"},
            None,
            "NO VERDICT on core: at chance",
        ),
    ):
        changed = msgspec.structs.replace(short, **facts)
        assert verdicts.short_answer(changed, name_suite=name_suite) == answer


def test_an_ok_names_a_task_that_fell_ten_points_or_more():
    check_facts = checked({"arith": 38}, "all", margin=0.2)
    line = line_of(check_facts)
    assert line.startswith("OK, a real drop  9.5 points lost (limit 20.0), all 400 items scored")
    assert line.endswith(", arith -19.0")
    assert short_of(check_facts) == "ok -9.5, arith -19.0"
    both = check_result.read(checked({"arith": 38, "knowledge": 30}, "all", margin=0.2))
    assert verdicts.verdict_line(both).endswith(", arith -19.0 and 1 more")
    small = checked({"arith": 12, "knowledge": 12}, "all", margin=0.2)
    assert short_of(small) == "ok -6.0, a real drop"


def test_wherever_a_verdict_stands_beside_an_interval_it_is_the_one_that_decided():
    """A model that certainly lost 5.9 points of the suite, although its ability may be no worse."""
    task = {"task": "arith", "mark": "open", "n": 90, "total": 96, "base": 0.9, "tuned": 0.84, "drop": 0.06}
    task |= {"interval": (-0.05, 0.17)}
    result = {
        "verdict": "regressed", "reason": "…", "decided_by": "betting", "margin": 0.03, "items_used": 400,
        "items_total": 672, "base": 0.9, "tuned": 0.841, "drop": 0.059, "interval": (-0.001, 0.119),
        "suite_interval": (0.0302, 0.084), "suite": "quick", "tasks": [task],
    }  # fmt: skip
    outcome = check_result.read(result)
    decided = "-8.4 to -3.02"
    assert f"change  {decided} points over all 672 items (95 % one-sided, decides)" in report_of(result)
    assert decided in bisect.table_rows([4], {4: msgspec.to_builtins(outcome)}, {})[0]
    facts = facts_of(outcome, "")
    assert verdicts.interval_of(facts.interval, 3.0) == decided
    bars = next(block for block in tasks(outcome) if isinstance(block, Bars)).bars
    assert (bars[0].low, bars[0].high) == pytest.approx((-8.4, -3.02))
    numbers = {"drop": 5.9, "interval": (-0.1, 11.9), "decided": facts.interval}
    row = RemedyRow("x", "x", "x", 1, verdict="regressed", **numbers)
    assert remedies.retained(row, 3.0) == f"-5.9 ({decided})"


def test_where_something_else_decided_no_interval_stands_beside_the_verdict():
    whole = {
        "verdict": "regressed",
        "reason": "",
        "margin": 0.03,
        "drop": 0.05,
        "items_used": 90,
        "items_total": 100,
    }
    for facts, bounds in (
        ({"decided_by": "task", "suite_interval": (0.0, 0.05)}, None),  # the task's row shows what decided
        ({"verdict": "no_verdict", "suite_interval": (0.02, 0.05)}, (0.02, 0.05)),
        ({"verdict": "no_verdict", "suite_interval": (0.045, 0.045)}, None),  # may be chance
        ({"suite_interval": None}, None),  # a result from before it was stored
        ({"suite_interval": None, "items_used": 100}, (0.05, 0.05)),
    ):
        assert check_result.read({**whole, **facts}).deciding_interval == bounds


def test_an_interval_that_may_be_anything_is_open_wherever_it_stands():
    assert verdicts.interval((0.041, 0.125), 0.03) == "-12.5 to -4.1"
    assert verdicts.interval((-0.9, 1.0), 0.03) == "open"
    assert verdicts.interval(None, 0.03) == "-"
    facts = {"n": 1, "total": 200, "base": 0.5, "tuned": 0.5, "drop": 0.0, "interval": (-1.0, 1.0)}
    task = check_result.TaskResult(task="arith", mark="open", **facts)
    assert verdicts.task_cells(task, 0.03)[5] == "open"
    result = check_result.read({**checked({}), "interval": (-1.0, 1.0)})
    assert "ability  open on items like these (95 %, does not decide)" in verdicts.further_lines(result)
