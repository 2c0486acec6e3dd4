"""`finetop suites NAME`: what a suite can show, before anything is scored."""

import json

import pytest

from finetop.core.check.statistics import paired_tests
from finetop.core.check.statistics.conclude import check_pairs
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.plan import make_plan
from finetop.core.check.statistics.verdict import PairedItem, TaskPlan
from finetop.core.check.tasks.suite import load_suite
from finetop.core.commands.suites import Claims, power_lines, power_of
from finetop.core.runtime.home import Home


@pytest.fixture
def finetop(finetop_of, tmp_path):
    return finetop_of(Home(tmp_path / "home"))


@pytest.fixture
def suite(tmp_path):
    def write(*tasks):
        """Write a suite of these (rows, settings) and return its file."""
        lines = ["suite: 1", "name: mine", "tasks:"]
        for number, (rows, settings) in enumerate(tasks):
            items = [{"question": f"q{n}", "choices": ["a", "b"], "answer": 0} for n in range(rows)]
            (tmp_path / f"t{number}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
            lines.append(f"  - {{data: t{number}.jsonl, {settings}}}" if rows else f"  - {{{settings}}}")
        file = tmp_path / "mine.yaml"
        file.write_text("\n".join(lines))
        return file

    return write


def test_a_small_suite_says_what_it_can_show(finetop, suite):
    file = suite((60, "cap: 50"), (50, ""))
    code, out, _ = finetop("suites", str(file))
    assert code == 0
    caught = "how often a drop is caught: 6 points 48 %, 9 points 77 %, 12 points 92 %."
    assert f"What 100 items can show: {caught}" in out
    assert "To catch 6 points more often: 200 items for 80 %, 400 items for 95 %." in out
    out_text = out
    code, out, _ = finetop("suites", str(file), "--json")
    power = json.loads(out)["suites"][0]["power"]
    assert (power["items"], power["at_most"], power["items_for"]) == (100, False, {"0.8": 200, "0.95": 400})
    assert power["caught"][0]["chance"] == pytest.approx(0.483, abs=0.001)
    assert (
        f"If t0 is left out and 6 % are won by chance: 6 points {100 * power['caught'][0]['least']:.0f} %"
        in out_text
    )


def test_a_recipes_checks_share_alpha_and_have_the_power_that_the_check_itself_reports(
    finetop, suite, tmp_path
):
    recipe = tmp_path / "mine.yaml.recipe.yaml"
    recipe.write_text(
        "recipe: 1\nextends: lora\nname: mine\ncheck: {every: 0.25, general: {suite: quick, margin: 3}}\n"
    )
    file = suite((100, ""))
    code, out, _ = finetop("suites", str(file), "--recipe", str(recipe), "--json")
    power = json.loads(out)["suites"][0]["power"]
    assert (code, power["checks"], power["alpha"]) == (0, 4, pytest.approx(0.05 / 20))
    names = [f"t0 {n}" for n in range(100)]
    items = tuple(Item("t0", name, name) for name in names)
    plan = make_plan(
        [TaskPlan("t0", "acc", 0.0)],
        items,
        {item.key: 1.0 for item in items},
        seed=1,
        cap=None,
        alpha=0.05,
        claim=4,
    )
    pairs = [PairedItem("t0", name, name, 1.0, float(n >= 8)) for n, name in enumerate(names)]
    result = check_pairs(plan, pairs)
    assert result.verdict == "no_verdict"
    assert "of the time (allowed 0.2 %)" in result.reason
    both_ways = 2 * 1 / 102
    expected = paired_tests.power_of(
        [(100, 1)], 0.03, power["alpha"], both_ways, [entry.drop for entry in result.power]
    )
    assert result.power == expected


def test_the_built_in_suites_have_enough(finetop):
    sizes = {"quick": "672 items", "core": "at most 3,000 items", "full": "at most 7,000 items"}
    for name, size in sizes.items():
        out = finetop("suites", name)[1]
        assert f"What {size} can show: how often a drop is caught: 6 points or more over 99 %." in out
        assert "more often" not in out


def test_unequal_weights_count_as_fewer_items(suite):
    even, uneven = (
        power_of(load_suite(suite((100, ""), (100, f"weight: {weight}"))), Claims()) for weight in (1, 9)
    )
    assert even["items"] == uneven["items"] == 200
    assert even["caught"][0]["chance"] > uneven["caught"][0]["chance"] + 0.1


def test_a_task_of_unknown_size_leaves_the_question_open(suite):
    power = power_of(load_suite(suite((50, ""), (0, "task: arc_easy"))), Claims())
    assert power["items"] is None and power["caught"] == []
    lines = power_lines(power)
    assert lines[0].startswith("How many items it has is not known before its data is fetched")
    assert lines[1] == "To catch 6 points: 200 items for 80 %, 400 items for 95 %."
