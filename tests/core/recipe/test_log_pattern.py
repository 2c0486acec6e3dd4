"""Patterns of one's own: which are refused before a run is queued."""

import pytest

from finetop.core.errors import RecipeError
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.recipe.load import resolve_text
from finetop.core.recipe.log_pattern import EXAMPLE, fault_of

HOSTILE = [r"(a+)+(?P<loss>b)", r"(?P<loss>(\d+\.?)*)x", r"((?P<loss>x)|y*)+z", r"(?:.*,){2,}(?P<loss>x)"]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_pattern_that_could_run_for_hours_is_refused(pattern):
    assert "repeats what repeats" in fault_of(pattern)


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(?P<loss>", "not a regular expression"),
        (r"(?P<step>\d+)", "no metric"),
        ("(" * 300 + ")" * 300, "no"),
    ],
)
def test_other_faults(pattern, fault):
    assert fault in fault_of(pattern)


@pytest.mark.parametrize("pattern", [EXAMPLE, r"^\[(?P<epoch>\d{1,3})\] L=(?P<loss>[\d.]+(?:e-?\d+)?)"])
def test_useful_patterns_pass(pattern):
    assert fault_of(pattern) == ""


def test_the_short_form_and_the_option_set_the_same(tmp_path):
    text = f"recipe: 1\nname: mine\ncommand: {{run: [python, t.py], metrics: {{pattern: '{EXAMPLE}'}}}}\n"
    loaded = resolve_text(text, (), tmp_path, to_train=False)
    given = command_recipe(CommandRequest(("python", "t.py"), tmp_path, metrics=(f"pattern:{EXAMPLE}",)))
    for recipe in (loaded.recipe, given.recipe):
        assert recipe.command is not None
        assert (recipe.command.pattern, recipe.command.metrics) == (EXAMPLE, ("auto",))
    with pytest.raises(RecipeError, match=r"command\.pattern names no metric"):
        resolve_text(text.replace("loss>", "step2>").replace("step2", "total"), (), tmp_path, to_train=False)
