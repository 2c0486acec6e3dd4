"""Rows and tokens of a recipe's files: counted, or estimated from a part or from characters; and the first row."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import chat, write_rows

from finetop.core.commands.plan import data_words
from finetop.core.data import sampled
from finetop.core.errors import BadInput
from finetop.core.plan import lengths, prepared_rows
from finetop.core.plan.result import Steps
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home


def recipe_of(objective="sft", protect=None, objective_options=None, **data):
    whole = {
        "recipe": 1, "name": "tiny", "method": {"name": "lora"}, "protect": protect or {},
        "objective": {"name": objective, **(objective_options or {})},
        "data": {"eval": {"share": 0}, **data},
    }  # fmt: skip
    return resolve_text(json.dumps(whole)).recipe


def write(path, rows):
    return {"path": str(write_rows(path, rows))}


def measure_lengths(recipe, tmp_path, model=None, **more):
    measured = lengths.measure(recipe, model, Home(tmp_path / "home"), **more)
    assert measured is not None
    return measured


def test_characters_stand_for_tokens_where_there_is_no_tokenizer(tmp_path):
    source = write(tmp_path / "a.jsonl", [chat("What opens at nine?", "The shop. " * 3)] * 20)
    measured = measure_lengths(recipe_of(train=[source], eval={"share": 0.1}), tmp_path)
    each = -(-len("### Question\nWhat opens at nine?\n\n### Answer\n" + "The shop. " * 3 + "\n") // 4)
    assert (measured.rows, measured.eval_rows, measured.longest) == (18, 2, each)
    assert (measured.tokens, measured.eval_tokens) == (18 * each, 2 * each)
    assert measured.how == "from characters" and measured.row == ()


def test_long_rows_are_cut_or_left_out_as_the_recipe_says(tmp_path):
    rows = [{"prompt": "a" * 40, "completion": "b" * 40}] * 3 + [{"prompt": "a", "completion": "b" * 4000}]
    source = write(tmp_path / "a.jsonl", rows)
    cut = measure_lengths(recipe_of(train=[source], max_tokens=64, on_long="truncate"), tmp_path)
    left = measure_lengths(recipe_of(train=[source], max_tokens=64, on_long="drop"), tmp_path)
    assert (cut.rows, cut.longest_kept, cut.too_long) == (4, 64, 1)
    assert (left.rows, left.too_long) == (3, 1)
    assert cut.longest == left.longest > 1000  # as the run reports it, before it is cut
    assert left.longest_kept is not None and left.longest_kept < 64


def test_rows_whose_answers_all_have_weight_0_are_counted_as_left_out(tmp_path):
    asked = {"role": "user", "content": "Open?"}
    rows = [
        {"messages": [asked, {"role": "assistant", "content": "No.", "weight": at % 2}]} for at in range(6)
    ]
    measured = measure_lengths(recipe_of(train=[write(tmp_path / "a.jsonl", rows)]), tmp_path)
    assert (measured.rows, measured.unlearned, measured.too_long) == (3, 3, 0)
    steps = Steps(3, 0, 9, 9, "counted", 1, 3, 9, unlearned=3)
    assert data_words(steps).endswith("; 3 rows with nothing to learn left out")


def test_too_many_long_rows_are_refused_where_tokens_are_counted(tmp_path, tiny_model):
    source = write(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b" * 200}] * 9)
    recipe = recipe_of(train=[source], max_tokens=32)
    with pytest.raises(BadInput, match=r"^a\.jsonl: 9 of 9 rows are longer than data\.max_tokens \(32\)"):
        measure_lengths(recipe, tmp_path, tiny_model)
    rest = write(tmp_path / "b.jsonl", [{"prompt": "a", "completion": "b"}])
    unsure = measure_lengths(recipe_of(train=[source, rest], max_tokens=32), tmp_path)
    assert unsure.too_long == 9  # from characters alone


def test_what_is_not_a_file_here_is_left_out_and_a_row_of_no_known_shape_names_its_place(tmp_path):
    mine = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "c"}] * 4)
    assert not measure_lengths(recipe_of(train=[mine, {"id": "org/data"}]), tmp_path).is_whole
    home = Home(tmp_path / "home")
    assert lengths.measure(recipe_of(train=[{"id": "org/data"}]), None, home) is None
    assert lengths.measure(recipe_of(train=[{"path": str(tmp_path / "gone.jsonl")}]), None, home) is None
    source = write(tmp_path / "a.jsonl", [{"odd": 1}])
    with pytest.raises(BadInput, match=r"a\.jsonl:1"):
        measure_lengths(recipe_of(train=[source]), tmp_path)


def test_rows_that_the_base_will_write_are_counted_and_a_thousand_made_ready_whatever_the_clock_says(
    tmp_path, tiny_model
):
    source = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "c"}] * 40)
    recipe = recipe_of(train=[source], protect={"replay": {"from_base": 5, "share": 0.2}})
    measured = measure_lengths(recipe, tmp_path, tiny_model)
    assert (measured.rows, measured.written) == (50, 10)  # a share of all, however often each is used
    recipe = recipe_of(train=[write(tmp_path / "a.jsonl", random_rows(1, count=990))], max_tokens=500)
    assert measure_lengths(recipe, tmp_path, tiny_model, seconds=0.0).sampled is None


@pytest.fixture
def in_haste(monkeypatch):
    """Drop the minimum of rows that are prepared whatever the clock says."""
    monkeypatch.setattr(prepared_rows, "LEAST_ROWS", 0)


def random_rows(seed, most=30, count=2000):
    drawn = random.Random(seed)
    times = [drawn.randint(1, most) for _ in range(count)]
    return [{"prompt": f"Why {row}?", "completion": "so it is " * each} for row, each in enumerate(times)]


@pytest.mark.usefixtures("in_haste")
def test_what_does_not_end_in_time_is_told_with_an_interval(tmp_path, tiny_model):
    source = write(tmp_path / "a.jsonl", random_rows(1))
    recipe = recipe_of(train=[source], eval={"share": 0.1}, max_tokens=100, on_long="drop")
    whole = measure_lengths(recipe, tmp_path, tiny_model, seconds=1e9)
    part = measure_lengths(recipe, tmp_path, tiny_model, seconds=0.0)
    assert whole.sampled is None
    assert part.sampled is not None and part.sampled.read == prepared_rows.BLOCK
    assert part.sampled.of == 1800
    for edges, real in ((part.sampled.rows, whole.rows), (part.sampled.tokens, whole.tokens)):
        assert edges[0] <= real <= edges[1] and edges[0] < edges[1]
    assert part.row == whole.row  # the first, whatever else was read


@pytest.mark.usefixtures("in_haste")
@pytest.mark.parametrize(
    ("seeds", "least"),  # 95 of 100 are expected; fewer than the least happen once in a thousand times
    [(8, 5), pytest.param(40, 34, marks=pytest.mark.slow)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, least, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared_rows, "BLOCK", 100)
    held = 0
    for seed in range(seeds):
        recipe = recipe_of(train=[write(tmp_path / "a.jsonl", random_rows(seed, count=500))])
        whole, part = (measure_lengths(recipe, tmp_path, seconds=seconds) for seconds in (1e9, 0.0))
        assert part.sampled is not None
        held += part.sampled.tokens[0] <= whole.tokens <= part.sampled.tokens[1]
    assert held >= least


def test_a_large_file_is_told_from_all_of_its_places(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr(sampled, "WHOLE_BYTES", 10_000)
    monkeypatch.setattr(sampled, "PLACE_BYTES", 1_000)
    rows = random_rows(2, most=5, count=1500) + random_rows(3, most=40, count=1500)  # longer towards the end
    recipe = recipe_of(train=[write(tmp_path / "a.jsonl", rows)])
    part = measure_lengths(recipe, tmp_path, tiny_model, seconds=1e9)
    monkeypatch.setattr(sampled, "WHOLE_BYTES", 1e9)
    whole = measure_lengths(recipe, tmp_path, tiny_model, seconds=1e9)
    assert part.sampled is not None and part.sampled.read < 1500
    assert part.sampled.rows[0] <= whole.rows <= part.sampled.rows[1]
    assert part.sampled.tokens[0] <= whole.tokens <= part.sampled.tokens[1]
    assert part.row == whole.row and whole.sampled is None


def test_a_bad_row_of_a_large_file_is_named_and_its_first_rows_can_be_read_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sampled, "WHOLE_BYTES", 100)
    rows = [{"prompt": "q", "completion": "c"}] * 50
    source = write(tmp_path / "a.jsonl", [*rows, {"prompt": "q", "completion": 5}, *rows])
    begins = 50 * len(json.dumps(rows[0]) + "\n")
    with pytest.raises(BadInput, match=rf"^a\.jsonl, at byte {begins:,}: completion is a number"):
        measure_lengths(recipe_of(train=[source]), tmp_path)
    monkeypatch.setattr(sampled, "WHOLE_BYTES", 100)
    source = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "c"}] * 100)
    measured = measure_lengths(recipe_of(train=[{**source, "rows": 40}]), tmp_path)
    assert measured.rows == 40 and measured.sampled is None


@pytest.mark.parametrize(
    ("rows", "rule", "says"),
    [
        ([{"prompt": "q", "answer": "c"}], {"rule": "length", "value": [1, 5]},
         "1 prompts are fewer than the 8 that one step takes"),
        ([{"prompt": "q"}] * 20, {"rule": "exact_match"},
         r"a\.jsonl:1: answer is missing, and the rule exact_match compares"),
    ],
)  # fmt: skip
def test_rows_that_a_reward_can_not_judge_are_refused(tmp_path, tiny_model, rows, rule, says):
    options = {"reward": {"rules": [rule]}, "generations": 2}
    recipe = recipe_of("grpo", objective_options=options, train=[write(tmp_path / "a.jsonl", rows)])
    with pytest.raises(BadInput, match=says):
        measure_lengths(recipe, tmp_path, tiny_model)


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


def text_of(model: Path, rows: str | Path) -> str:
    return f"recipe: 1\nextends: lora\nmodel: {{id: {model}}}\ndata: {{train: [{{path: {rows}}}]}}\n"


def first_row(model: Path, folder: Path):
    write_rows(folder / "faq.jsonl", [chat("Hello?", "Ahoy there!")] * 40)
    return measure_lengths(resolve_text(text_of(model, folder / "faq.jsonl")).recipe, folder, model).row


def test_the_first_row_is_shown_with_what_is_learned(model: Path, tmp_path: Path) -> None:
    row = first_row(model, tmp_path)
    assert next(text for text, is_learned in row if is_learned).startswith("Ahoy there!")
    assert "Hello?" in row[0][0] and not row[0][1]


@pytest.mark.parametrize(("template", "words"), [
    ("{{ unfinished", "the chat template can't be read"),
    ("{{ raise_exception('no system') }}", "no system"),
])  # fmt: skip
def test_a_template_that_refuses_is_named(model: Path, tmp_path: Path, template: str, words: str) -> None:
    (model / "chat_template.jinja").write_text(template)
    with pytest.raises(BadInput, match=words):
        first_row(model, tmp_path)


@pytest.mark.slow  # a template has 10 s
def test_plan_refuses_a_template_that_never_ends(model: Path, tmp_path: Path) -> None:
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (model / "chat_template.jinja").write_text(loops)
    write_rows(tmp_path / "faq.jsonl", [chat("Hello?", "Ahoy there!")] * 40)
    (tmp_path / "mine.yaml").write_text(text_of(model, "faq.jsonl"))
    answer = subprocess.run(
        [sys.executable, "-m", "finetop.tui.main", "plan", "mine.yaml"],
        cwd=tmp_path, env={**os.environ, "FINETOP_HOME": str(tmp_path / "home")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert answer.returncode == 2 and "chat template" in answer.stderr and "Traceback" not in answer.stderr
