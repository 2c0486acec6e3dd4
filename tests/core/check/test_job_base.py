"""How much of the base a check scores: a sample, then what the looks need, with the same verdict as all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tiny_run import of, read_events, write_rows

from finetop.core.check import run_check
from finetop.core.check.context import open_context
from finetop.core.check.model_pair import open_pair
from finetop.core.models import resolve
from finetop.core.protocol import check_result, events
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.check.scoring.batch_plan import BatchPlan
    from finetop.core.recipe.schema import Recipe

# PEFT uses an attribute that transformers renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TASKS = {"long": 220, "guesses": 60, "short": 30}
SUITE = """\
suite: 1
name: large
about: one task that is long, one at chance, one that is small
text: text.txt
tasks:
  - {name: long, data: long.jsonl, chance: 0.0, metric: acc}
  - {name: guesses, data: guesses.jsonl, chance: 0.33, metric: acc}
  - {name: short, data: short.jsonl, chance: 0.0, metric: acc}
"""
MOVED = 4.0  # an adapter of this size changes some answers


@pytest.fixture
def home(suite_folder):
    (suite_folder / "large.yaml").write_text(SUITE)
    for name, size in TASKS.items():
        rows = [
            {"id": f"{name}{at}", "question": f"What is {at} and {at + 1} of the {name} ones?",
             "choices": [str(2 * at + 1), str(at), str(at + 2)], "answer": at % 3}
            for at in range(size)
        ]  # fmt: skip
        write_rows(suite_folder / f"{name}.jsonl", rows)
    return Home(suite_folder.parent)


def checked(home: Home, recipe: Recipe, checkpoint: Path, name: str = "events") -> tuple[Any, list[Any]]:
    """Run a check; return its result, as if it took no time, and events."""
    log = event_log.EventLog(home.root / f"{name}.jsonl")
    result = run_check.check(recipe, checkpoint, home, "cpu", log)
    return msgspec.structs.replace(result, seconds=0.0), read_events(home.root, f"{name}.jsonl")


def whole_base(home: Home, recipe: Recipe, checkpoint: Path, name: str = "whole") -> tuple[Any, list[Any]]:
    """Check with the whole base scored before the first look."""
    log = event_log.EventLog(home.root / f"{name}.jsonl")
    pair = open_pair(resolve.resolve_model(recipe.model, home, log), checkpoint, "float32", "cpu")
    context = open_context(recipe, pair, home, log)

    def take(plan: BatchPlan) -> check_result.CheckResult:
        return run_check.score_until_decided(context, run_check.score_base(context, plan, whole=True))

    result = run_check.in_smaller_batches(context, take)
    return msgspec.structs.replace(result, seconds=0.0), read_events(home.root, f"{name}.jsonl")


def forget_scores(home: Home) -> None:
    for file in home.scores.glob("*.jsonl"):
        file.unlink()


def scores_of(happened: list[Any], model: str) -> dict[tuple[str, str], events.ItemScore]:
    """Return a model's last reported score of each item."""
    score_events = [event for event in of(events.Scores, happened) if event.model == model]
    return {(event.task, item.item): item for event in score_events for item in event.items}


def take_items(noted: Any, model: str = "") -> list[tuple[str, str, str]]:
    """Return (model, task, item) of all that models were run on since, except for the noise floor."""
    items = [
        (name, batch.task, item)
        for name, tokens, batch in noted.seen
        for item in batch.items
        if tokens in (512, 256)
    ]
    noted.seen.clear()
    return [entry for entry in items if model in ("", entry[0])]


class Stopped(BaseException):
    pass


@pytest.mark.slow
def test_as_much_of_the_base_as_is_asked_for_says_what_all_of_it_says(
    home, recipe_of, tmp_path, save_adapter, noted
):
    """A check that is broken off keeps what it scored; a later one scores of the base what is missing."""
    first, second = tmp_path / "first", tmp_path / "second"
    save_adapter(first, 0.0)
    save_adapter(second, MOVED)
    mild, strict = recipe_of("large", 20.0), recipe_of("large", 3.0)
    early, _ = checked(home, mild, first, "early")
    by_early = take_items(noted, "base")
    assert len(by_early) < sum(TASKS.values()), "near the margin nothing stops early"

    def stop_on_the_way(entry: Any) -> None:
        tuned = [item for name, _, batch in noted.seen if name == "tuned" for item in batch.items]
        is_second = any(name == "base" for name, *_ in noted.seen)
        if entry[0] == "base" and is_second and len(tuned) > 64:
            raise Stopped

    noted.before = stop_on_the_way
    with pytest.raises(Stopped):
        checked(home, strict, second, "broken")
    noted.before = lambda entry: None
    broken = take_items(noted)
    assert {name for name, *_ in broken} == {"base", "tuned"}
    late, happened = checked(home, strict, second, "late")
    by_late = take_items(noted)
    assert {"base"} <= {name for name, *_ in by_late}
    run = [*by_early, *broken, *by_late]
    assert len(run) == len(set(run)), "an item was scored twice"
    assert late.lost + late.won > 0, "nothing moved: the comparison would be empty"
    assert late.items_used > early.items_used and late.items_scored >= 64
    # The small task and the one at chance are scored whole, of the large one 100 items and what the looks need.
    assert 60 + 30 + 100 <= sum(name == "base" for name, *_ in run) <= sum(TASKS.values())
    assert {phase.name for phase in of(events.Phase, happened)} >= {"scoring base and tuned"}
    keys = {event.key for event in of(events.Scores, happened) if event.model == "base"}
    assert all((home.scores / f"{key}.jsonl").is_file() for key in keys)
    again, _ = checked(home, strict, second, "again")
    assert not take_items(noted) and again == late
    forget_scores(home)
    whole, in_full = whole_base(home, strict, second)
    assert len(take_items(noted, "base")) == sum(TASKS.values())
    assert whole == late and whole_base(home, mild, first, "whole early")[0] == early
    for model in ("base", "tuned"):
        few, all_of_them = scores_of(happened, model), scores_of(in_full, model)
        assert few.items() <= all_of_them.items(), "the same numbers, to the last digit"
    pairs = scores_of(happened, "tuned").keys()
    assert len(pairs) == late.items_scored and pairs <= scores_of(happened, "base").keys()
    (guesses,) = [task for task in late.tasks if task.mark == "unmeasurable"]
    assert (guesses.task, guesses.total, guesses.n) == ("guesses", TASKS["guesses"], 0)


@pytest.mark.slow
def test_a_full_checkpoint_and_its_base_take_turns_a_handful_of_times(
    home, recipe_of, tmp_path, save_full, noted, monkeypatch
):
    full = tmp_path / "full"
    save_full(full, 3)
    monkeypatch.setattr(run_check, "BASE_AHEAD_ITEMS", 128)
    strict, mild = (recipe_of("large", margin, "full") for margin in (3.0, 30.0))
    lazy, happened = checked(home, strict, full)
    loads = [event for event in of(events.Phase, happened) if event.name == "loading model"]
    assert lazy.items_used > 128, "the base was not asked for twice"
    # One phase before anything is read, then base, tuned, base, … for 128 items, 256 and all.
    assert 1 + 4 <= len(loads) <= 1 + 2 * 3
    early, _ = checked(home, mild, full, "early")
    assert early.items_used <= 128
    forget_scores(home)
    noted.seen.clear()
    alone, _ = checked(home, mild, full, "alone")
    assert alone == early
    assert len(take_items(noted, "base")) < sum(TASKS.values())
    assert whole_base(home, strict, full)[0] == lazy


@pytest.mark.slow
def test_out_of_memory_on_a_later_look_at_the_base_scores_both_again(
    home, recipe_of, tmp_path, save_adapter, noted
):
    save_adapter(tmp_path / "adapter", 0.0)

    def run_short_of_memory(entry: Any) -> None:
        if entry[:2] == ("base", 512) and ("tuned", 512) in [seen[:2] for seen in noted.seen]:
            raise MemoryError

    noted.before = run_short_of_memory
    result, happened = checked(home, recipe_of("large", 3.0), tmp_path / "adapter")
    assert (result.verdict, result.lost, result.won) == ("ok", 0, 0)
    assert {name: facts["row_tokens"] for name, facts in result.models.items()} == {"base": 256, "tuned": 256}
    used = [seen[:2] for seen in noted.seen]
    assert used.index(("base", 256)) > used.index(("tuned", 512)) and ("tuned", 256) in used
    scores = of(events.Scores, happened)
    last = {(event.model, event.task, item.item): event.key for event in scores for item in event.items}
    # One file per model and task, but none for tuned items of `guesses`.
    assert len(set(last.values())) == 2 * 3 - 1
