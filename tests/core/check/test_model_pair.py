"""Scores are keyed by all that can change them: after any change of the model, however small, it is scored again."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetop.core.check import context as check_context, run_check, scoring_passes
from finetop.core.check.model_pair import facts_of, open_pair
from finetop.core.check.scoring import cache
from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.batches import ScoredModel, keys_of, prepare
from finetop.core.check.tasks.requests import build
from finetop.core.check.tasks.suite import find_suite
from finetop.core.models import continuous, load, resolve
from finetop.core.protocol.check_result import NoiseFloor
from finetop.core.recipe.schema import Model
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.check.scoring.batch_plan import Name
    from finetop.core.check.scoring.cache import ScoreKey
    from finetop.core.models.engine import Engine

# PEFT uses an attribute that transformers renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

PLAN = BatchPlan("packed", 128)


def rescale(base: Path, adapter: Path) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "lora_alpha": 9}))


def change_tokenizer(base: Path, adapter: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["nine o'clock"])
    tokenizer.save_pretrained(base)


def change_template(base: Path, adapter: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = str(tokenizer.chat_template).replace("<|end|>", "<|end|> ")
    tokenizer.save_pretrained(base)


def change_base(base: Path, adapter: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] += 1e-3
    model.save_pretrained(base)


@pytest.fixture
def place(suite_folder, tiny_model, save_adapter):
    """Return HOME with a model and an adapter on it."""
    home = suite_folder.parent
    shutil.copytree(tiny_model, home / "base")
    save_adapter(home / "adapter", 1.0, home / "base")
    return home


@dataclass
class Opened:
    """A model of a home with its tokenizer, and the suite as its tokens."""

    place: Path

    def __post_init__(self) -> None:
        self.home = Home(self.place)
        log = EventLog(self.place / "events.jsonl")
        self.base = resolve.resolve_model(Model(id=str(self.place / "base")), self.home, log)
        self.tokenizer = load.load_tokenizer(self.base)
        self.prepared = prepare(build(find_suite("tiny", self.home)), self.tokenizer, 512, 1)

    def keys(self, plan: BatchPlan) -> dict[str, ScoreKey]:
        return keys_of(self.prepared, ScoredModel("base", {"weights": "x"}, lambda: None, plan))

    def context(self, **more: Any) -> Any:
        facts = {"home": self.home, "prepared": self.prepared, "events": EventLog(self.place / "e.jsonl")}
        facts |= {"phase_at": 0.0, "model_label": "", "shares": True, "stops": lambda: False, "ahead": None}
        facts |= {"passes_s": 0.0, "ends_job": True}
        return SimpleNamespace(**facts, **more)


def keys(place: Path, name: Name, dtype: str = "float32") -> dict[str, str]:
    """Return the name of each task's score file."""
    opened = Opened(place)
    pair = open_pair(opened.base, place / "adapter", dtype, "cpu")
    facts = facts_of(pair, name, opened.tokenizer, opened.home)
    scored_model = ScoredModel(name, {**facts, "dtype": dtype}, lambda: None, PLAN)
    return {task: key.name for task, key in keys_of(opened.prepared, scored_model).items()}


@pytest.mark.slow
def test_a_changed_model_has_other_files_of_scores(place, save_adapter):
    def retrain(base: Path, adapter: Path) -> None:
        save_adapter(adapter, 1.0, base, seed=2)

    before = keys(place, "base"), keys(place, "tuned")
    assert not set(before[0].values()) & set(before[1].values())
    assert not set(before[0].values()) & set(keys(place, "base", "float64").values())
    for change in (retrain, rescale, change_tokenizer, change_template, change_base):
        base_too = change not in (retrain, rescale)
        change(place / "base", place / "adapter")
        after = keys(place, "base"), keys(place, "tuned")
        assert not set(before[1].values()) & set(after[1].values()), change.__name__
        assert (before[0] == after[0]) is not base_too, change.__name__
        assert not set(after[1].values()) & set(before[0].values()), change.__name__
        before = after


def test_another_batch_plan_has_other_files_a_model_in_memory_has_none_and_what_differs_is_said(
    place, monkeypatch
):
    opened = Opened(place)
    plans = PLAN, BatchPlan("packed", 64), BatchPlan("packed", 128, "continuous")
    exact, narrow, other = map(opened.keys, plans)
    assert not {key.name for key in exact.values()} & {key.name for key in narrow.values()}
    assert {task for task in exact if exact[task].name != other[task].name} == {"orders"}
    # scores from before engines existed stay valid
    assert exact["orders"].facts["model"] == {"weights": "x", "layout": "packed", "row_tokens": 128}
    opened = Opened(place)
    model, _ = load.load_model(opened.base, torch.float32, "cpu")
    context = opened.context(reported=set(), step=3, reports_scores=True)
    monkeypatch.setattr(cache, "append", lambda *_: pytest.fail("kept"))
    scored_model = ScoredModel("tuned", None, lambda: model, PLAN)
    scoring = scoring_passes.open_scoring(context, opened.prepared, scored_model)
    scoring_passes.score_items(context, scoring, opened.prepared.items, "scoring")
    assert scoring.scores.keys() == {item.key for item in opened.prepared.items}
    opened = Opened(place)
    pair, tokenizer = open_pair(opened.base, place / "adapter", "float32", "cpu"), opened.tokenizer
    assert check_context.caveats_of(pair, tokenizer, False) == ()
    (place / "adapter" / "manifest.json").write_text(json.dumps({"base": {"weights_hash": "f" * 64}}))
    tokenizer.save_pretrained(place / "adapter")
    (changed,) = check_context.caveats_of(pair, tokenizer, False)
    assert "has changed since the checkpoint was trained (sha256 ffffffffffff then" in changed
    change_template(place / "adapter", place)
    assert "another chat template" in check_context.caveats_of(pair, tokenizer, True)[2]
    assert "the recipe's" in check_context.caveats_of(pair, tokenizer, True)[0]


def test_what_flips_by_the_engine_is_counted(place, monkeypatch):
    opened = Opened(place)
    model, tokenizer = load.load_model(opened.base, torch.float32, "cpu")
    context = opened.context(pair=SimpleNamespace(device="cpu"))

    def floor(engine: Engine) -> NoiseFloor:
        scored_model = ScoredModel("base", None, lambda: model, BatchPlan("packed", 128, engine))
        scoring = scoring_passes.open_scoring(context, opened.prepared, scored_model)
        return run_check.measure_noise(context, scoring, run_check.first_items(context))

    assert floor("exact") == NoiseFloor(48, 0)
    assert floor("continuous") == NoiseFloor(48, 0, "continuous", 12, 0)
    word = tokenizer.encode("we", add_special_tokens=False)  # the exact engine writes no word at all
    monkeypatch.setattr(continuous, "write", lambda _, asked, *__, **___: [word] * len(asked))
    assert floor("continuous").answers_flipped == 12
