"""What the job's own code refuses, tested in a separate process, for a card that this process describes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from method_bench import base_of

from finetop.core.errors import BadInput, RecipeError
from finetop.core.models import rehearsed
from finetop.core.plan.machine import Machine
from finetop.core.plan.rehearsal import Rehearsal, is_needed
from finetop.core.plugins import METHODS
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.home import Home
from finetop.core.train import rehearsal

pytestmark = pytest.mark.usefixtures("warm")


def test_a_format_that_the_card_has_not_is_refused(tiny_model: Path, card: Machine, home: Home) -> None:
    t4 = replace(card, name="Tesla T4", has_bfloat16=False)
    recipe = load_recipe("lora", ["model.dtype=bfloat16"]).recipe
    with pytest.raises(BadInput, match=r"model\.dtype is bfloat16, and Tesla T4 can't compute in it"):
        Rehearsal(recipe, tiny_model / "config.json", t4, home).answer()
    assert not (home.models / ".rehearsals.json").exists()  # no refusal is kept


def test_an_answer_is_kept_until_something_that_it_depends_on_changes(
    tiny_model: Path, card: Machine, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*sets: str, config: Path = tiny_model / "config.json", on: Machine = card) -> Rehearsal:
        made = Rehearsal(load_recipe("lora", sets).recipe, config, on, home)
        made.stop()
        return made

    first = Rehearsal(load_recipe("lora", ()).recipe, tiny_model / "config.json", card, home)
    moving = first.answer()
    assert moving.trainable
    again = asked("train.learning_rate=1e-3", "data.max_tokens=64", "name=other")
    assert (again.process, again.answer()) == (None, moving)

    shape = rehearsed.shape_of(load_recipe("dpo", ()).recipe, tiny_model / "config.json", home)
    assert shape is not None and shape == moving.shape and shape.parameters == moving.parameters

    larger = tmp_path / "config.json"
    larger.write_bytes((tiny_model / "config.json").read_bytes() + b" ")
    assert asked(config=larger).process is not None
    for setting in (
        "method.rank=3",
        "model.quantize=nf4",
        "train.optimizer=adafactor",
        "model.trust_remote_code=true",
    ):
        assert asked(setting).process is not None, setting
    assert asked(on=replace(card, name="T4", has_bfloat16=False)).process is not None
    with monkeypatch.context() as edited:  # a checkout whose code changed, of the same version
        edited.setattr(rehearsed, "code_hash", lambda _: "other")
        assert asked().process is not None
        assert rehearsed.shape_of(load_recipe("dpo", ()).recipe, tiny_model / "config.json", home) is None
    monkeypatch.setattr(rehearsed, "versions", lambda _: {"peft": "99"})
    assert asked().process is not None


def test_a_model_that_an_objective_makes_anew_is_known_in_its_sizes(tiny_model: Path, home: Home) -> None:
    recipe = load_recipe("pretrain", ()).recipe
    moving = rehearsal.require(recipe, base_of(tiny_model), "bfloat16", "cuda", home)  # as the process does
    assert moving.shape is not None and (moving.shape.layers, moving.shape.hidden) == (4, 192)
    assert moving.shape.vocabulary == recipe.objective.options.vocabulary
    assert rehearsed.shape_of(recipe, tiny_model / "config.json", home) == moving.shape
    other = load_recipe("pretrain", ["objective.layers=5"]).recipe
    assert rehearsed.shape_of(other, tiny_model / "config.json", home) is None


def of_every_size() -> Iterator[str]:
    """Yield each method with each of its numbers very small and very large, and PEFT's other types."""
    for name in METHODS.names():
        options = METHODS.load(name).options()
        for key, value in [("name", None), *msgspec.structs.asdict(options).items()]:
            if type(value) in (int, type(None)) and key != "type":
                sizes = (1, 3, 7, 4096, 10**6) if key != "name" else (None,)
                yield from (f"method={{name: {name}{f', {key}: {size}' if size else ''}}}" for size in sizes)
    for kind, key in (
        ("fourierft", "n_frequency"),
        ("lokr", "decompose_factor"),
        ("c3a", "block_size"),
        ("loha", "r"),
    ):
        sizes = (1, 7, 10**6)
        yield from (f"method={{name: peft, type: {kind}, options: {{{key}: {size}}}}}" for size in sizes)


@pytest.mark.slow
def test_what_a_plan_refuses_is_rehearsed_before_a_run_is_queued(tiny_model: Path) -> None:
    refused = set()
    for setting in of_every_size():
        try:
            recipe = load_recipe("lora", [setting]).recipe
        except RecipeError:
            continue  # refused by both
        try:
            rehearsal.require(recipe, base_of(tiny_model), "float32", "cpu")
        except BadInput:
            assert is_needed(recipe), setting
            refused.add(recipe.method.name)
    assert refused >= {"oft", "boft", "shira", "peft"}
