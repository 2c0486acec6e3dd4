"""The folder of alarms: each has a setting in the recipe, and runs if the recipe leaves it on."""

import pytest

from finetop.core.errors import RecipeError
from finetop.core.recipe.load import recipe_from_mapping, recipe_to_mapping, resolve_text
from finetop.core.train import alarms

RECIPE = "recipe: 1\nextends: lora\nname: x\n"
RUN = alarms.Run(steps=2000)


def recipe(text=""):
    return resolve_text(RECIPE + text).recipe


def test_every_file_is_a_setting_that_is_on():
    known = {"nan", "divergence", "spike", "plateau", "dead_gradient", "slow_down", "drift", "disk"}
    assert known <= set(alarms.names())
    assert set(alarms.watches(recipe(), RUN)) == set(alarms.names())
    for name in alarms.names():
        assert alarms.load(name).about
        assert alarms.load(name).options() == getattr(recipe().alarms, name)


def test_one_is_turned_off_in_short_or_at_length():
    for text in ("alarms: {spike: false}\n", "alarms: {spike: {on: false}}\n"):
        made = recipe(text)
        assert set(alarms.names()) - set(alarms.watches(made, RUN)) == {"spike"}
        assert recipe_from_mapping(recipe_to_mapping(made)) == made
    assert recipe("alarms: {spike: null}\n") == recipe()


def test_a_recipe_of_before_there_were_alarms_has_them_on():
    old = recipe_to_mapping(recipe())
    del old["alarms"]
    assert recipe_from_mapping(old) == recipe()


@pytest.mark.parametrize(("text", "says"), [
    ("alarms: {spik: false}\n", "recipe:4: alarms.spik is not an option of alarms. Did you mean spike?"),
    ("alarms: {spike: 3}\n", "recipe:4: alarms.spike.on is 3; it must be true or false."),
    ("alarms: {plateau: {share: 2}}\n", "recipe:4: alarms.plateau.share is 2; it must be a number"),
])  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(text, says):
    with pytest.raises(RecipeError) as caught:
        recipe(text)
    assert str(caught.value).startswith(says)


def test_a_loss_that_says_nothing_is_not_looked_at():
    paid = alarms.Run(steps=2000, loss_falls=False)
    assert set(alarms.names()) - set(alarms.watches(recipe(), paid)) == {"spike", "plateau"}


def test_a_short_run_has_no_plateau():
    assert "plateau" not in alarms.watches(recipe(), alarms.Run(steps=100))
