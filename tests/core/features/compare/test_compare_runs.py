"""Runs side by side, as plain data."""

import msgspec
from hypothesis import given, strategies as st
from run_fakes import make_detail, make_source
from tui_fakes import NOW, make_check

from finetop.core.features.compare import compare_runs
from finetop.core.features.compare.compare_runs import Trade
from finetop.core.protocol.numbers_from import NumbersFrom
from finetop.core.protocol.runs import Finished, Running


def ended(name, **more):
    return make_detail(Finished(NOW - 5000, NOW - 4000), 1200, name=name, **more)


def outcomes(runs):
    return {row.label: row for row in compare_runs.outcomes(runs, NOW)}


def checked(name, drop, target):
    return ended(name, check=make_check("ok", drop, target={"exact_match": [0.7, target]}))


def test_only_what_differs_is_listed_in_the_recipes_order():
    lora = {"name": "lora", "rank": 8, "dropout": 0.0}
    first = {"name": "a", "method": lora, "train": {"learning_rate": 1e-4, "seed": 1}}
    two = {"name": "b", "method": {"name": "full"}, "train": {"learning_rate": 2e-05, "seed": 1}}
    rows = compare_runs.differences([first, two])
    assert [(row.key, row.values) for row in rows] == [
        ("train.learning_rate", ("1e-4", "2e-5")), ("method.name", ("lora", "full")), ("method.rank", ("8", "-")),
    ]  # fmt: skip
    assert compare_runs.differences([first, first]) == []


def test_sources_of_data_are_compared_one_by_one():
    first = {"data": {"train": [{"path": "a.jsonl", "share": None}]}}
    two = {"data": {"train": [{"path": "a.jsonl", "share": None}, {"path": "b.jsonl", "share": 0.2}]}}
    differing = {row.key: row.values for row in compare_runs.differences([first, two])}
    assert differing == {"data.train.2.path": ("-", "b.jsonl"), "data.train.2.share": ("-", "0.2")}


def test_of_two_commands_only_the_argument_that_differs_is_listed():
    def command(rate, path, **more):
        run = ["python", "train.py", "--lr", rate, "--bf16", "--output_dir", "out"]
        return {"command": {"run": run, "env": {"PATH": path, "SEED": "1"}, **more}}

    differing = compare_runs.differences([command("1e-4", "/a:/b"), command("2e-4", "/c")])
    assert [(row.key, row.values) for row in differing] == [("command.run.lr", ("1e-4", "2e-4"))]
    lines = [{"command": {"shell": f"cd x && python t.py --name 'a {end}"}} for end in ("b'", "c'")]
    assert [row.values for row in compare_runs.differences(lines)] == [("a b", "a c")]


def test_what_two_programs_own_configurations_differ_in_is_listed_if_both_have_one():
    def run(name, **settings):
        return msgspec.structs.replace(ended(name), recipe={}, numbers_from=NumbersFrom([], [], settings))

    runs = [run("a", lr=1e-4, seed=3.0), run("b", lr=2e-4, seed=3.0)]
    differing = compare_runs.differences(compare_runs.settings_of(runs))
    assert [(row.key, row.values) for row in differing] == [("config.lr", ("1e-4", "2e-4"))]
    assert compare_runs.differences(compare_runs.settings_of([*runs, run("c")])) == []


def test_the_best_number_is_marked_and_what_nobody_has_is_left_out():
    checks = (("regressed", 9.1, 0.91, 0.98), ("ok", 0.1, 0.86, 1.21))
    rows = outcomes([
        ended("a", metrics={"loss": loss}, check=make_check(verdict, drop, target={"exact_match": [0.7, target]}))
        for verdict, drop, target, loss in checks
    ])  # fmt: skip
    assert rows["loss"].cells == ("0.98", "1.21") and rows["loss"].best == (0,)
    assert rows["target, exact match"].best == (0,)
    assert rows["retained"].best == (1,) and rows["retained"].cells[0] == "REGRESSED -9.1"
    assert rows["time"].cells == ("16 min", "16 min")
    assert "reward" not in rows and "GPU hours" not in rows
    going = make_detail(Running(NOW - 90, "training", 5, 10, "steps", 1.0), 5)  # its time counts until now
    assert outcomes([going, going])["time"].cells == ("1 min", "1 min")


def losses(*recipes, sources=([], [])):
    metrics = [{"loss": 0.4 + at / 10, "eval_loss": 0.5 + at / 10} for at in range(2)]
    facts = zip(metrics, recipes, sources, strict=True)
    return outcomes(
        [ended("r", metrics=values, recipe=recipe, sources=read) for values, recipe, read in facts]
    )


def test_losses_of_different_objectives_or_rows_have_no_best_and_it_is_said_why():
    data = {"train": [{"path": "a.jsonl"}], "eval": {"share": 0.1}}
    sft = {"objective": {"name": "sft"}, "data": data, "train": {"seed": 1}}
    dpo, orpo = ({**sft, "objective": {"name": name, "beta": 0.1}} for name in ("dpo", "orpo"))
    rows = losses(dpo, orpo)
    assert not rows["loss"].best and not rows["eval loss"].best
    assert rows["loss"].why_no_best == "No best loss: their objectives differ (dpo, orpo)."
    assert compare_runs.why_no_best([rows["loss"]] * 2) == [rows["loss"].why_no_best]
    same = losses(sft, {**sft, "objective": {"name": "sft", "packing": True}})
    assert same["loss"].best == same["eval loss"].best == (0,) and not same["loss"].why_no_best
    firmer = losses(dpo, {**dpo, "objective": {"name": "dpo", "beta": 0.5}})
    assert "their settings of dpo differ" in firmer["loss"].why_no_best
    drawn = losses(sft, {**sft, "train": {"seed": 2}})
    assert drawn["eval loss"].why_no_best == "No best eval loss: their evaluation rows differ."
    own = {**data, "eval": [{"path": "eval.jsonl"}]}
    kept_apart = losses({**sft, "data": own}, {**sft, "data": own, "train": {"seed": 2}})
    assert kept_apart["eval loss"].best == (0,), "of a file of their own"
    test = msgspec.structs.replace(make_source(1, 9), use="eval")
    versions = [[make_source(1, 412), test], [make_source(2, 417), test]]
    other = losses({**sft, "data": own}, {**sft, "data": own}, sources=versions)
    assert other["loss"].why_no_best == "No best loss: their training rows differ."
    assert other["eval loss"].best == (0,)


def test_rewards_of_different_rules_and_what_different_suites_retained_have_no_best():
    first, two = (ended(name, metrics={"reward": value}) for name, value in (("a", 0.7), ("b", 0.9)))
    two = msgspec.structs.replace(two, recipe={**two.recipe, "reward": {"length": [1, 9]}})
    rows = outcomes([first, two])
    assert rows["reward"].why_no_best == "No best reward: their rewards differ." and not rows["reward"].best
    target = {"exact_match": [0.7, 0.8]}
    suites = ((1.0, "quick"), (2.0, "core"))
    runs = [ended(suite, check=make_check("ok", drop, target=target, suite=suite)) for drop, suite in suites]
    kept = outcomes(runs)["retained"]
    assert not kept.best and compare_runs.trades(runs) == []
    assert "different suites" in compare_runs.front_sentence(runs, "AB")


def test_the_front_is_those_that_nothing_betters():
    for scores, front in (
        (((9.1, 0.91), (0.1, 0.86), (0.4, 0.83)), "A, B"),  # C is worse than B in both
        (((1.0, 0.9), (1.0, 0.9)), "A, B"),  # equal: neither is better
        (((0.0, 0.9), (3.0, 0.8)), "A"),
    ):
        runs = [checked(f"r{number}", drop, target) for number, (drop, target) in enumerate(scores)]
        on_it = compare_runs.front(compare_runs.trades(runs))
        assert ", ".join("ABC"[number] for number in on_it) == front
        assert compare_runs.front_sentence(runs, "ABC").startswith(front.replace(", ", " and "))


def test_where_too_few_have_both_scores_it_is_said():
    assert "Can't rank" in compare_runs.front_sentence([ended("a"), checked("b", 1.0, 0.9)], "AB")
    three = [ended("a"), checked("b", 1.0, 0.9), checked("c", 0.0, 0.95)]
    assert compare_runs.front_sentence(three, "ABC").endswith("; 1 without a check of both is left out.")


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=8), st.booleans())
def test_whoever_is_off_the_front_is_bettered_by_one_on_it(ends, lower):
    metric = "nats_per_token" if lower else "exact_match"
    sign = -1 if lower else 1
    trades = [Trade(number, metric, float(sign * x), float(y)) for number, (x, y) in enumerate(ends)]
    on_it = compare_runs.front(trades)
    assert on_it
    for number, (x, y) in enumerate(ends):
        better = [ends[at] for at in on_it if ends[at] != (x, y)]
        bettered = any(a >= x and b >= y for a, b in better)
        assert bettered == (number not in on_it)
