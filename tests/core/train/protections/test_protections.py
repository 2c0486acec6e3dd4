"""What holds for every protection: found by listing, off by default, refused with a message if it can't work."""

import json

import pytest
from msgspec import structs

from finetop.core.errors import RecipeError
from finetop.core.recipe import protections as recipe_protections
from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import resolve_text
from finetop.core.train import protections

NAMES = ("ewc", "freeze_layers", "kl_to_base", "l2_sp", "loss_adaptive_lr", "mask_surprising", "replay")
OFF = {
    "ewc": 0, "freeze_layers": [], "kl_to_base": 0.0, "l2_sp": {"weight": 0}, "loss_adaptive_lr": 0.0,
    "mask_surprising": None, "replay": None,
}  # fmt: skip
# Sections of a recipe, and the message.
REFUSED = [
    ({"ewc": 1}, {"method": {"name": "lora"}},
     "protect.ewc protects the base's own weights, but lora does not"),
    ({"kl_to_base": -1}, {}, "protect.kl_to_base.weight is -1; it must be a number from 0 to 1000."),
    ({"kl_to_base": {"weight": 1, "wait": 2}}, {},
     "protect.kl_to_base.wait is not an option of protect.kl_to_base"),
    ({"kl_to_base": {"weight": 1, "on": "rows", "text": "a.txt"}}, {},
     "protect.kl_to_base.text is not read: on is rows."),
    ({"kl_to_base": {"on": "rows"}}, {},
     "protect.kl_to_base: its other options have no effect without weight."),
    ({"freeze_layers": [1, 1]}, {}, "protect.freeze_layers names layer 1 twice."),
    ({"freeze_layers": [0]}, {"method": {"name": "prompt-tuning"}}, "prompt-tuning trains no layer"),
    ({"loss_adaptive_lr": 1}, {"objective": {"name": "dpo"}}, "the loss of dpo is not in nats/token."),
    ({"mask_surprising": 2.5}, {"objective": {"name": "dpo"}},
     "dpo does not learn written answers token by token"),
    ({"mask_surprising": 0.5}, {},
     "protect.mask_surprising.perplexity is 0.5; it must be a number above 1 or null."),
    ({"replay": {"share": 0.5}}, {}, "protect.replay has neither path nor from_base."),
    ({"replay": {"path": "a", "from_base": 3}}, {}, "protect.replay has both path and from_base."),
    ({"replay": {"path": "a", "prompts": "b"}}, {},
     "protect.replay.prompts are for from_base, which is not set."),
    ({"replay": {"from_base": 3}}, {"objective": {"name": "dpo"}},
     "dpo does not learn from answers that the base"),
    ({"replay": {"path": "a", "share": 0.5}},
     {"data": {"train": [{"path": "b"}, {"path": "c", "share": 0.5}]}}, "add up to 1 or more."),
    ({"l2_sp": 1}, {"objective": {"name": "ppo", "reward": {"model": "/m"}}},
     "protect.l2_sp needs a trainer of transformers"),
    ({"l2_sp": 1}, {"objective": {"name": "pretrain"}, "check": {"general": None}},
     "protect.l2_sp: pretrain trains a new model, which has nothing to forget."),
]  # fmt: skip


def whole(protection, **sections):
    recipe = {"recipe": 1, "name": "t", "method": {"name": "full"}, "data": {"train": [{"path": "a"}]}}
    return json.dumps({**recipe, "protect": protection, **sections})


def test_they_are_the_files_and_the_settings():
    assert protections.names() == NAMES
    known = {field.key.split(".")[1] for field in fields() if field.key.startswith("protect.")}
    assert known == set(NAMES)
    for name in NAMES:
        about = protections.load(name).about
        assert about and not about.endswith(".")
    assert all(field.about for field in fields() if field.key.startswith("protect."))


def test_off_is_the_default_and_a_strength_of_nothing():
    for written in ({}, OFF):
        recipe = resolve_text(whole(written)).recipe
        assert recipe_protections.chosen(recipe) == {}
        assert recipe_protections.with_sources(recipe) == recipe.data


def test_a_bare_value_sets_the_first_option():
    text = whole({"kl_to_base": 0.5, "freeze_layers": [0, 3], "l2_sp": {"weight": 2}, "mask_surprising": 4})
    chosen = recipe_protections.chosen(resolve_text(text).recipe)
    assert list(chosen) == ["freeze_layers", "kl_to_base", "l2_sp", "mask_surprising"]
    assert chosen["kl_to_base"] == protections.load("kl_to_base").options(weight=0.5)
    assert chosen["freeze_layers"].layers == (0, 3)
    assert (chosen["l2_sp"].weight, chosen["mask_surprising"].perplexity) == (2.0, 4.0)


@pytest.mark.parametrize(("protection", "sections", "says"), REFUSED)
def test_it_is_refused_in_words(protection, sections, says):
    with pytest.raises(RecipeError) as caught:
        resolve_text(whole(protection, **sections), label="x.yaml")
    assert str(caught.value).startswith("x.yaml:1: ")
    assert says in str(caught.value)
    assert caught.value.hint or "must be" in str(caught.value)


def test_files_must_be_there():
    protection = {"replay": {"path": "/no/such.jsonl"}, "kl_to_base": {"weight": 1, "text": "/no/t.txt"}}
    paths = dict(recipe_protections.paths(resolve_text(whole(protection)).recipe))
    assert paths == {"protect.kl_to_base.text": "/no/t.txt", "protect.replay.path": "/no/such.jsonl"}


def test_memory_adds_up():
    recipe = resolve_text(whole({"l2_sp": 1, "ewc": 1})).recipe
    sizes = recipe_protections.Sizes(moving=1000, weight_bytes=4.0, vocabulary=100)
    wanted = recipe_protections.Memory(on_device=4000 + 6000, on_host=0)
    assert recipe_protections.memory(recipe, sizes) == wanted
    assert structs.fields(type(recipe.protect))


def test_nothing_on_changes_no_bit_and_many_go_together(train):
    free, off = train(), train(OFF)
    assert free.curve("loss") == off.curve("loss")
    assert free.curve("grad_norm") == off.curve("grad_norm")
    assert not off.curve("protect_s")
    on = {"kl_to_base": {"weight": 1, "tokens": 32, "windows": 2}, "l2_sp": 1, "freeze_layers": [0]}
    on |= {"ewc": {"weight": 1, "windows": 1, "tokens": 32}, "loss_adaptive_lr": 1, "mask_surprising": 1e6}
    first, second = train(on), train(on)
    assert first.curve("loss") == second.curve("loss")
    assert first.curve("loss")[1] == free.curve("loss")[1]
    for key in ("protect_kl", "protect_l2", "protect_ewc", "protect_rate"):
        assert first.curve(key) == second.curve(key)
        assert set(first.curve(key)) == {1, 2, 3}
    assert "protect: " in first.log and "s a step" in first.log


def test_a_resumed_run_is_protected_as_the_uninterrupted_one(train):
    on = {"kl_to_base": {"weight": 3, "tokens": 32, "windows": 3}, "l2_sp": 1}
    on |= {"ewc": {"weight": 10, "windows": 1, "tokens": 32}, "loss_adaptive_lr": 2}
    on |= {"replay": {"from_base": 4, "max_new_tokens": 4}}
    four = {"train": {"max_steps": 4, "save_every": 2, "grad_accumulation": 1}}
    whole = train(on, **four)
    again = train(on, on_from=(whole, 2), **four)
    assert "the base generated" in whole.log and "the base generated" not in again.log
    for key in ("loss", "grad_norm", "protect_kl", "protect_l2", "protect_ewc", "protect_rate"):
        curve = again.curve(key)
        assert curve == {step: whole.curve(key)[step] for step in (3, 4)}, key
