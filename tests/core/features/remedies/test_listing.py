"""Remedies are found by listing their folder, and say why they are not available."""

from pathlib import Path

import pytest

from finetop.core.errors import NotFound
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.features.remedies import remedies
from finetop.core.recipe.load import load_recipe


def subject(**facts):
    whole = {"step": 20, "is_adapter": False, "merges": True, "scales": False, "quantize": "none"}
    return remedies.Subject(**{**whole, "earlier": (), **facts})


def test_each_says_what_it_does():
    for name in remedies.names():
        remedy = remedies.load(name)
        assert remedy.about and "\n" not in remedy.about and len(remedy.about) < 100
        assert isinstance(remedy, remedies.Retraining) or (remedy.most > 0 and remedy.cost)
    with pytest.raises(NotFound, match="Did you mean interpolate"):
        remedies.load("interpolat")


def test_what_is_possible_goes_by_the_model():
    def can(subject):
        return {candidate.remedy for candidate in remedies.candidates(subject) if not candidate.why_not}

    assert can(subject()) == {"interpolate", "intruders", "prune"}
    assert can(subject(earlier=(5, 10))) == {"checkpoint", "interpolate", "intruders", "prune"}
    quantised = subject(is_adapter=True, scales=True, quantize="nf4")
    assert can(quantised) == {"interpolate"}
    why_not = {candidate.name: candidate.why_not for candidate in remedies.candidates(quantised)}
    assert why_not["prune-small"] == "its base is loaded in nf4, whose weights can't be rewritten one by one"
    assert can(subject(is_adapter=True, merges=False)) == set()


@pytest.mark.parametrize(("name", "adapter", "scales", "merges"), [
    ("lora", True, True, True),
    ("dora", True, False, True),
    ("full", False, False, True),
    ("prompt-tuning", True, False, False),
    ("pissa", True, True, True),
])  # fmt: skip
def test_the_method_says_what_can_be_done(name, adapter, scales, merges):
    recipe = load_recipe(name, ["data.train=[{path: builtin:demo/general.jsonl}]"]).resolved
    subject_found = remedies.subject_of(recipe, 20, "adapter" if adapter else "full", [30, 20, 10, 10])
    assert (subject_found.scales, subject_found.merges) == (scales, merges)
    assert (subject_found.is_adapter, subject_found.earlier) == (adapter, (10,))


def test_candidates_are_picked_by_name_or_by_remedy():
    candidates = remedies.candidates(subject())
    assert len(remedies.chosen(candidates, [])) == 8
    some = remedies.chosen(candidates, ["prune", "interpolate-0.5", "prune-small"])
    assert [one.name for one in some] == ["interpolate-0.5", "prune-small", "prune-random"]
    with pytest.raises(NotFound, match=r"Did you mean interpolate-0\.5"):
        remedies.chosen(candidates, ["interpolate-0.51"])
    with pytest.raises(NotFound, match="none was saved"):
        remedies.chosen(candidates, ["checkpoint"])


def test_what_needs_training_changes_the_recipe():
    def retrainings(*sets):
        recipe = load_recipe("demo-full-hot", sets).resolved
        return {retraining.name: retraining for retraining in remedies.retrainings(recipe)}

    by_name = retrainings()
    assert by_name["lower-rate"].settings == {"train.learning_rate": 0.00067}
    assert by_name["kl-to-base"].settings == {"protect.kl_to_base.weight": 1.0}
    assert by_name["replay"].settings["protect.replay.from_base"] == 200
    again = retrainings("protect.kl_to_base=0.5", "protect.replay={from_base: 100}")
    assert again["kl-to-base"].settings == {"protect.kl_to_base.weight": 1.5}
    assert "already" in again["replay"].why_not


def test_what_another_program_trained_is_not_retrained_by_finetop():
    recipe = command_recipe(CommandRequest(("python", "train.py"), Path("/"))).resolved
    rows = remedies.retrainings(recipe)
    assert {row.why_not for row in rows} == {"its own program trains it: change its command"}
    assert not any(row.settings for row in rows)
