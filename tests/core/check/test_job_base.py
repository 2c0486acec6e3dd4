"""How much of the base a check scores: a sample, then what the looks need, with the same verdict as all of it."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from finetop.core.check import run_check, scoring_passes
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
        (suite_folder / f"{name}.jsonl").write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    return Home(suite_folder.parent)


def checked(home: Home, recipe: Recipe, checkpoint: Path, name: str = "events") -> tuple[Any, list[Any]]:
    """Run a check; return its result and events."""
    log = event_log.EventLog(home.root / f"{name}.jsonl")
    result = run_check.check(recipe, checkpoint, home, "cpu", log)
    return result, read_events(home, name)


def read_events(home: Home, name: str = "events") -> list[Any]:
    return [events.decode(line).e for line in (home.root / f"{name}.jsonl").read_bytes().splitlines()]


def forget_scores(home: Home) -> None:
    for file in home.scores.glob("*.jsonl"):
        file.unlink()


def scores_of(happened: list[Any], model: str) -> dict[tuple[str, str], events.ItemScore]:
    """Return a model's last reported score of each item."""
    score_events = [event for event in happened if isinstance(event, events.Scores) and event.model == model]
    return {(event.task, item.item): item for event in score_events for item in event.items}


@pytest.fixture
def run_batches(monkeypatch):
    """Record (model, row_tokens, task, item) of every item that a model is run on, except for the noise floor."""
    real, noted = scoring_passes.score_batch, []

    def noting(prepared: Any, scored_model: Any, batch: Any) -> Any:
        scored = real(prepared, scored_model, batch)
        if scored_model.plan.row_tokens in (512, 256):
            noted.extend(
                (scored_model.name, scored_model.plan.row_tokens, batch.task, item) for item in batch.items
            )
        return scored

    monkeypatch.setattr(scoring_passes, "score_batch", noting)
    return noted


def whole_base(home: Home, recipe: Recipe, checkpoint: Path) -> tuple[Any, list[Any]]:
    """Check with the whole base scored before the first look."""
    log = event_log.EventLog(home.root / "whole.jsonl")
    pair = open_pair(resolve.resolve_model(recipe.model, home, log), checkpoint, "float32", "cpu")
    context = open_context(recipe, pair, home, log)

    def take(plan: BatchPlan) -> check_result.CheckResult:
        return run_check.score_until_decided(context, run_check.score_base(context, plan, whole=True))

    return run_check.in_smaller_batches(context, take), read_events(home, "whole")


@pytest.mark.parametrize("margin", [3.0, pytest.param(20.0, marks=pytest.mark.slow)])
def test_as_much_of_the_base_as_is_asked_for_says_what_all_of_it_says(
    home, recipe_of, tmp_path, save_adapter, run_batches, margin
):
    save_adapter(tmp_path / "adapter", MOVED)
    recipe = recipe_of("large", margin)
    lazy, happened = checked(home, recipe, tmp_path / "adapter")
    run = Counter(model for model, *_ in run_batches)
    assert lazy.lost + lazy.won > 0, "nothing moved: the comparison would be empty"
    # The small task and the one at chance are scored whole, of the large one 100 items and what the looks need.
    assert 60 + 30 + 100 <= run["base"] <= sum(TASKS.values())
    assert margin == 3.0 or run["base"] < sum(TASKS.values()), "near the margin nothing stops early"
    assert Counter((model, task, item) for model, _, task, item in run_batches).most_common(1)[0][1] == 1
    forget_scores(home)
    run_batches.clear()
    whole, in_full = whole_base(home, recipe, tmp_path / "adapter")
    assert sum(model == "base" for model, *_ in run_batches) == sum(TASKS.values())
    assert msgspec.structs.replace(whole, seconds=lazy.seconds) == lazy
    for model in ("base", "tuned"):
        few, all_of_them = scores_of(happened, model), scores_of(in_full, model)
        assert few.items() <= all_of_them.items(), "the same numbers, to the last digit"
    pairs = scores_of(happened, "tuned").keys()
    assert len(pairs) == lazy.items_scored and pairs <= scores_of(happened, "base").keys()
    (guesses,) = [task for task in lazy.tasks if task.mark == "unmeasurable"]
    assert (guesses.task, guesses.total, guesses.n) == ("guesses", TASKS["guesses"], 0)


def test_a_later_check_scores_of_the_base_what_is_missing(
    home, recipe_of, tmp_path, save_adapter, run_batches
):
    save_adapter(tmp_path / "first", 0.0)
    early, _ = checked(home, recipe_of("large", 20.0), tmp_path / "first")
    first = {entry for entry in run_batches if entry[0] == "base"}
    run_batches.clear()
    save_adapter(tmp_path / "second", MOVED)
    late, happened = checked(home, recipe_of("large", 3.0), tmp_path / "second", "second")
    second = {entry for entry in run_batches if entry[0] == "base"}
    assert late.items_used > early.items_used
    assert second and not first & second
    assert {phase.name for phase in happened if isinstance(phase, events.Phase)} >= {"scoring base and tuned"}
    keys = {event.key for event in happened if isinstance(event, events.Scores) and event.model == "base"}
    assert all((home.scores / f"{key}.jsonl").is_file() for key in keys)
    run_batches.clear()
    again, _ = checked(home, recipe_of("large", 3.0), tmp_path / "second", "third")
    assert not run_batches
    assert msgspec.structs.replace(again, seconds=late.seconds) == late


def test_a_full_checkpoint_and_its_base_take_turns_a_handful_of_times(
    home, tiny_model, recipe_of, tmp_path, run_batches, monkeypatch
):
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(tiny_model, tmp_path / "full")
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(3)
    model.save_pretrained(tmp_path / "full")
    monkeypatch.setattr(run_check, "BASE_AHEAD_ITEMS", 128)
    lazy, happened = checked(home, recipe_of("large", 3.0, "full"), tmp_path / "full")
    loads = [event for event in happened if isinstance(event, events.Phase) and event.name == "loading model"]
    assert lazy.items_used > 128, "the base was not asked for twice"
    # One phase before anything is read, then base, tuned, base, … for 128 items, 256 and all.
    assert 1 + 4 <= len(loads) <= 1 + 2 * 3
    early, _ = checked(home, recipe_of("large", 30.0, "full"), tmp_path / "full", "early")
    assert early.items_used <= 128
    forget_scores(home)
    run_batches.clear()
    alone, _ = checked(home, recipe_of("large", 30.0, "full"), tmp_path / "full", "alone")
    assert msgspec.structs.replace(alone, seconds=early.seconds) == early
    assert sum(name == "base" for name, *_ in run_batches) < sum(TASKS.values())
    whole, _ = whole_base(home, recipe_of("large", 3.0, "full"), tmp_path / "full")
    assert msgspec.structs.replace(whole, seconds=lazy.seconds) == lazy


def test_out_of_memory_on_a_later_look_at_the_base_scores_both_again(
    home, recipe_of, tmp_path, save_adapter, monkeypatch
):
    save_adapter(tmp_path / "adapter", 0.0)
    real, used = scoring_passes.score_batch, []

    def short_of_memory(prepared: Any, scored_model: Any, batch: Any) -> Any:
        used.append((scored_model.name, scored_model.plan.row_tokens))
        if used[-1] == ("base", 512) and ("tuned", 512) in used:
            raise MemoryError
        return real(prepared, scored_model, batch)

    monkeypatch.setattr(scoring_passes, "score_batch", short_of_memory)
    result, happened = checked(home, recipe_of("large", 3.0), tmp_path / "adapter")
    assert (result.verdict, result.lost, result.won) == ("ok", 0, 0)
    assert {name: facts["row_tokens"] for name, facts in result.models.items()} == {"base": 256, "tuned": 256}
    assert used.index(("base", 256)) > used.index(("tuned", 512))
    assert {("base", 256), ("tuned", 256)} <= set(used)
    last = {
        (event.model, event.task, item.item): event.key
        for event in happened
        if isinstance(event, events.Scores)
        for item in event.items
    }
    # One file per model and task, but none for tuned items of `guesses`.
    assert len(set(last.values())) == 2 * 3 - 1


def test_a_check_that_is_broken_off_keeps_what_it_scored(
    home, recipe_of, tmp_path, save_adapter, run_batches, monkeypatch
):
    class Stopped(BaseException):
        pass

    save_adapter(tmp_path / "adapter", MOVED)
    noting = scoring_passes.score_batch

    def stopped_on_the_way(prepared: Any, scored_model: Any, batch: Any) -> Any:
        scored = [name for name, *_ in run_batches]
        if scored_model.name == "base" and scored.count("tuned") > 64:
            raise Stopped
        return noting(prepared, scored_model, batch)

    monkeypatch.setattr(scoring_passes, "score_batch", stopped_on_the_way)
    with pytest.raises(Stopped):
        checked(home, recipe_of("large", 3.0), tmp_path / "adapter")
    before = set(run_batches)
    assert {name for name, *_ in before} == {"base", "tuned"}
    run_batches.clear()
    monkeypatch.setattr(scoring_passes, "score_batch", noting)
    result, _ = checked(home, recipe_of("large", 3.0), tmp_path / "adapter", "again")
    assert run_batches and not before & set(run_batches)
    assert result.items_scored >= 64
