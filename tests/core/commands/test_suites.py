"""`finetop suites NAME`: what a suite can show, before anything is scored."""

import json

import pytest

from finetop.core.check.tasks.suite import load_suite
from finetop.core.commands.suites import power_lines, power_of
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
    code, out, _ = finetop("suites", str(file), "--json")
    power = json.loads(out)["suites"][0]["power"]
    assert (power["items"], power["at_most"], power["items_for"]) == (100, False, {"0.8": 200, "0.95": 400})
    assert power["caught"][0] == {"drop": 6.0, "chance": pytest.approx(0.483, abs=0.001)}


def test_the_built_in_suites_have_enough(finetop):
    sizes = {"quick": "672 items", "core": "at most 3,000 items", "full": "at most 7,000 items"}
    for name, size in sizes.items():
        out = finetop("suites", name)[1]
        assert f"What {size} can show: how often a drop is caught: 6 points or more over 99 %." in out
        assert "more often" not in out


def test_unequal_weights_count_as_fewer_items(suite):
    even, uneven = (power_of(load_suite(suite((100, ""), (100, f"weight: {weight}")))) for weight in (1, 9))
    assert even["items"] == uneven["items"] == 200
    assert even["caught"][0]["chance"] > uneven["caught"][0]["chance"] + 0.1


def test_a_task_of_unknown_size_leaves_the_question_open(suite):
    power = power_of(load_suite(suite((50, ""), (0, "task: arc_easy"))))
    assert power["items"] is None and power["caught"] == []
    lines = power_lines(power)
    assert lines[0].startswith("How many items it has is not known before its data is fetched")
    assert lines[1] == "To catch 6 points: 200 items for 80 %, 400 items for 95 %."
