"""Remedies in words: which is best and how sure that is, the same everywhere."""

import msgspec

from finetop.core.features.remedies import columns, wording as remedies
from finetop.core.features.remedies.messages import RemediesAnswer, RetrainingRow
from finetop.core.protocol.runs import Finished, RemedyRow, Running


def row(name, gain=0.9, verdict="ok", confirmation="", **more):
    share = gain or 0.0
    kept = {"nats_per_token": share, "rules": more.pop("rules", share)}
    target = {"nats_per_token": 3.0 - 2.0 * share, "rules": kept["rules"]}
    values = {"gain": gain and min(kept.values()), "kept": kept, "target": target, "drop": 0.8}
    values |= {"interval": (-3.0, 4.6), "decided": (-1.0, 2.6), **more}
    return RemedyRow(name, "x", name, 1, verdict=verdict, confirmation=confirmation, **values)


def answer(rows, best="", job=None):
    now = row("now", 1.0, "regressed")
    base = {"nats_per_token": 3.0, "rules": 0.0}
    trying = [remedy.name for remedy in rows]
    return RemediesAnswer("run", 1, "nats_per_token", base, 3.0, now, rows, [], best, job, 1, trying, 30.0)


def test_the_best_is_said_with_how_sure_that_is():
    rows = [
        row("a", confirmation="ok", fresh_drop=0.04, fresh_used=192, alpha=0.005),
        row("b", 0.2, rules=0.2),
    ]
    remedies_answer = answer(rows, "a")
    sure = "★ a keeps 90% of the gain and forgets nothing. Confirmed on 192 fresh items: ✓ ok"
    assert remedies.best(remedies_answer) == [sure]
    assert remedies.star(remedies_answer, rows[1]) == ""
    unsure = "☆ a keeps 90% of the gain and is the best so far, not confirmed: no fresh items left"
    assert remedies.best(answer([row("a", confirmation="no_items")], "a")) == [unsure]


def steps(rows, best="", *, trains=True):
    again = [RetrainingRow("replay", "20 %", {}, "it already replays")]
    again += [RetrainingRow("lower-rate", "rate / 3", {})] if trains else []
    remedies_answer = remedies.next_step(msgspec.structs.replace(answer(rows, best), retrainings=again))
    return remedies_answer.do, remedies_answer.name, remedies_answer.why


def test_what_is_advised_is_confirmed_or_is_confirmed_next():
    fine, tiny = row("half", confirmation="ok"), row("tenth", 0.1)
    assert steps([fine, tiny], "half") == ("export", "half", "")
    assert steps([row("half")], "half") == ("confirm", "half", "not confirmed yet")
    no_items = ("retrain", "lower-rate", "half can't be confirmed on this suite: no fresh items left")
    assert steps([row("half", confirmation="no_items")], "half") == no_items
    assert steps([row("half", confirmation="no_items")], "half", trains=False)[0] == "nothing"


def test_after_half_that_are_not_fine_or_after_failures_alone_training_again_comes_first():
    bad, broke = (
        [row(f"{verdict}-{n}", None, verdict, target={}) for n in range(4)]
        for verdict in ("regressed", "failed")
    )
    untried = [row(f"new-{n}", None, "", target={}, drop=None) for n in range(4)]
    assert steps(untried)[0] == "try"
    assert steps([*bad[:1], *untried])[0] == "try", "one of five is no reason to give the others up"
    assert steps([*bad, *untried]) == ("retrain", "lower-rate", "none of these is proven ok")
    assert steps([*broke, *untried]) == ("retrain", "lower-rate", "all 4 tried so far failed")
    assert steps([*broke[:1], *untried]) == ("retrain", "lower-rate", "failed-0 failed")
    assert steps([*bad, *untried], trains=False)[0] == "try", "nothing else is left"
    assert remedies.left(answer([*bad, *untried])) == [remedy.name for remedy in untried]


def test_one_that_gives_up_most_of_the_gain_is_advised_last_and_says_so():
    tenth = row("tenth", 0.1, confirmation="ok", fresh_used=192)
    assert remedies.best(answer([tenth], "tenth"))[0].startswith("★ a keeps only 10% of the gain and forgets")
    untried = row("half", None, "", target={}, drop=None)
    assert steps([tenth, untried], "tenth") == ("try", "", "tenth keeps only 10% of the gain")
    assert steps([tenth], "tenth") == ("retrain", "lower-rate", "tenth keeps only 10% of the gain")
    assert steps([tenth], "tenth", trains=False) == ("export", "tenth", "keeps only 10% of the gain")
    wanted = ("retrain", "lower-rate", "tenth keeps only 10% of the gain")
    assert steps([row("tenth", 0.1)], "tenth") == wanted
    better = row("half", 0.6)
    assert steps([tenth, better], "tenth") == ("confirm", "half", "keeps 60% of the gain, not confirmed yet")
    refuted = row("half", 0.6, confirmation="regressed")
    assert steps([tenth, refuted], "tenth")[0] == "retrain"
    assert steps([row("all", verdict="regressed")])[:2] == ("retrain", "lower-rate")
    assert steps([untried]) == ("try", "", "")


def test_what_is_lost_by_another_metric_is_said():
    rows = [row("a", 0.63, rules=0.0)]
    (message,) = remedies.best(answer(rows, "a"))
    assert "keeps only 0% of the gain by rules (nats/token 63%) and is the best so far" in message
    assert (remedies.gain(rows[0]), remedies.least(rows[0])) == ("0%", "rules")
    assert remedies.has_several(answer(rows))


def said_of(answer, row):
    """Return the cells of target, gain, retained and verdict."""
    return tuple(column.text(row) for column in columns.table(answer)[3:7])


def test_a_refuted_one_is_named_and_so_is_that_none_is_left():
    refuted = row("a", confirmation="regressed", fresh_drop=4.2, fresh_used=300)
    assert remedies.best(answer([refuted])) == ["a was not confirmed: -4.2 on 300 fresh items"]
    bad = [row("a", verdict="regressed"), row("b", None, "failed"), row("c", None, "unchanged")]
    (none,) = remedies.best(answer(bad, job=Finished(1.0, 2.0)))
    assert none == "none of 1 is proven to lose less than 3.0 points"
    assert remedies.best(answer(bad, job=Running(1.0, "b: scoring"))) == []


def test_where_the_job_is():
    rows = [row("a"), row("b", None, "", target={}, drop=None, interval=None)]
    remedies_answer = answer(rows, job=Running(1.0, "b: scoring tuned"))
    assert [remedies.is_trying(remedies_answer, remedy) for remedy in rows] == [False, True]
    assert [remedies.waits(remedies_answer, remedy) for remedy in rows] == [False, True]
    assert said_of(remedies_answer, rows[1]) == ("", "", "", "queued")
    assert said_of(remedies_answer, rows[0]) == ("1.20", "90% nats/token", "-0.8 (-2.6 to +1.0)", "ok")
    assert remedies.price(remedies_answer) == ": about 30 s, no retraining"


def test_where_the_run_stands_says_on_which_items():
    remedies_answer = answer([])
    now = msgspec.structs.replace(remedies_answer.now, items_used=412, items_total=672)
    by_check = msgspec.structs.replace(remedies_answer, now=now)
    expected = "nats/token 1.00, retained -0.8 REGRESSED, limit 3.0"
    assert remedies.now(by_check) == f"now, by its newest check (412 of 672 items): {expected}"
    chosen = msgspec.structs.replace(by_check, now_by="choosing")
    assert remedies.now(chosen) == f"now, on the 412 selection items: {expected}"


def test_a_share_names_its_metric_where_the_target_has_another_that_gained_nothing():
    """0% of what? The displayed target went from 3.95 to 2.27."""
    only = row("a", 0.0, kept={"exact_match": 0.0}, target={"nats_per_token": 2.27, "exact_match": 0.1})
    remedies_answer = answer([only], "a")
    assert said_of(remedies_answer, only)[:2] == ("2.27", "0% exact match")
    assert remedies.best(remedies_answer)[-1].startswith("☆ a keeps only 0% of the gain by exact match and")
    alone = row("b", 0.9, kept={"rules": 0.9}, target={"rules": 0.9})
    assert said_of(remedies_answer, alone)[1] == "90%", "there is no other"
