"""Remedies are found by listing their folder, and say why they are not available."""

from __future__ import annotations

import pytest

from finetop.core import remedies
from finetop.core.errors import NotFound
from finetop.core.recipe.load import load_recipe


def subject(**facts):
    return remedies.Subject(
        **{
            "step": 20,
            "is_adapter": False,
            "merges": True,
            "scales": False,
            "quantize": "none",
            "earlier": (),
        }
        | facts
    )


def test_each_says_what_it_does():
    for name in remedies.names():
        remedy = remedies.load(name)
        assert remedy.about and "\n" not in remedy.about and len(remedy.about) < 100
        assert remedies.needs_training(name) or (remedy.most > 0 and remedy.cost)
    with pytest.raises(NotFound, match="Did you mean interpolate"):
        remedies.load("interpolat")


def can(found):
    return {one.remedy for one in remedies.candidates(found) if not one.why_not}


def test_what_is_possible_goes_by_the_model():
    assert can(subject()) == {"interpolate", "intruders", "prune"}
    assert can(subject(earlier=(5, 10))) == {"checkpoint", "interpolate", "intruders", "prune"}
    quantised = subject(is_adapter=True, scales=True, quantize="nf4")
    assert can(quantised) == {"interpolate"}
    (pruned,) = [one.why_not for one in remedies.candidates(quantised) if one.name == "prune-small"]
    assert pruned == "its base is loaded in nf4, whose weights can't be rewritten one by one"
    assert can(subject(is_adapter=True, merges=False)) == set()


@pytest.mark.parametrize(
    ("name", "adapter", "scales", "merges"),
    [
        ("lora", True, True, True),
        ("dora", True, False, True),
        ("full", False, False, True),
        ("prompt-tuning", True, False, False),
        ("pissa", True, True, True),
    ],
)
def test_the_method_says_what_can_be_done(name, adapter, scales, merges):
    recipe = load_recipe(name, ["data.train=[{path: builtin:demo/general.jsonl}]"]).resolved
    found = remedies.subject_of(recipe, 20, "adapter" if adapter else "full", [30, 20, 10, 10])
    assert (found.scales, found.merges, found.is_adapter, found.earlier) == (scales, merges, adapter, (10,))


def test_candidates_are_picked_by_name_or_by_remedy():
    found = remedies.candidates(subject())
    assert len(remedies.chosen(found, [])) == 8
    assert [one.name for one in remedies.chosen(found, ["prune", "interpolate-0.5", "prune-small"])] == [
        "interpolate-0.5",
        "prune-small",
        "prune-random",
    ]
    with pytest.raises(NotFound, match=r"Did you mean interpolate-0\.5"):
        remedies.chosen(found, ["interpolate-0.51"])
    with pytest.raises(NotFound, match="none was saved"):
        remedies.chosen(found, ["checkpoint"])


def test_what_needs_training_changes_the_recipe():
    recipe = load_recipe("demo-full-hot").resolved
    found = {one.name: one for one in remedies.retrainings(recipe)}
    assert found["lower-rate"].settings == {"train.learning_rate": 0.00067}
    assert found["kl-to-base"].settings == {"protect.kl_to_base.weight": 1.0}
    assert found["replay"].settings["protect.replay.from_base"] == 200
    held = load_recipe(
        "demo-full-hot", ["protect.kl_to_base=0.5", "protect.replay={from_base: 100}"]
    ).resolved
    again = {one.name: one for one in remedies.retrainings(held)}
    assert again["kl-to-base"].settings == {"protect.kl_to_base.weight": 1.5}
    assert "already" in again["replay"].why_not
