"""Sweeps: how values are parsed, and the runs and names that result."""

from __future__ import annotations

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe.load import load_recipe
from finetop.core.recipe.names import check_name
from finetop.core.recipe.sweeps import Axis, as_sets, axis_of, count_of, points, seeds_of, values_of


def made(*axes, base="tone"):
    return points(base, axes, lambda pairs: load_recipe("demo-lora", as_sets(pairs)))


def test_each_value_of_one_goes_with_each_of_the_other_and_names_tell_them_apart():
    rates = axis_of("train.learning_rate = 1e-5, 2e-4")
    points_found = made(rates, seeds_of(3))
    assert [point.name for point in points_found] == [
        "tone-lr1e-5-s1", "tone-lr1e-5-s2", "tone-lr1e-5-s3", "tone-lr2e-4-s1", "tone-lr2e-4-s2", "tone-lr2e-4-s3",
    ]  # fmt: skip
    recipes = [point.loaded.recipe for point in points_found]
    assert [recipe.train.learning_rate for recipe in recipes] == [1e-5] * 3 + [2e-4] * 3
    assert [recipe.train.seed for recipe in recipes] == [1, 2, 3] * 2
    assert [recipe.name for recipe in recipes] == [point.name for point in points_found]
    assert count_of([rates, seeds_of(3)]) == 6
    points_found = made(Axis("model.id", ("a/x", "b/x")), base="n" * 79)
    assert len({point.name for point in points_found}) == 2
    assert all(check_name(point.name, "here") for point in points_found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", ("1",)), ("1, 2 ,3", ("1", "2", "3")), ("[a, b], [c]", ("[a, b]", "[c]")),
     ("{x: 1, y: 2}, null", ("{x: 1, y: 2}", "null")), ("'a,b', c", ("'a,b'", "c"))],
)  # fmt: skip
def test_values_are_taken_apart_at_their_commas(text, expected):
    assert values_of(text, "--sweep x") == expected


@pytest.mark.parametrize(
    ("axes", "name"),
    [
        ([Axis("method.rank", ("8",)), Axis("train.weight_decay", ("0.1",))], "tone-r8-wd0.1"),
        ([Axis("model.id", ("org/some-model",))], "tone-modelsome-model"),
        ([Axis("method.target_modules", ("[q_proj, v_proj]",))], "tone-tmq_proj-v_proj"),
        ([Axis("drift.every", ("0.5",)), Axis("check.every", ("0.5",))], "tone-drift-every0.5-check-every0.5"),
    ],
)  # fmt: skip
def test_names_are_short_and_can_be_folders(axes, name):
    (points_found,) = made(*axes)
    assert points_found.name == check_name(name, "here")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: axis_of("train.seed"), "is not KEY=VALUE,VALUE"),
        (lambda: axis_of("=1,2"), "is not KEY=VALUE,VALUE"),
        (lambda: axis_of("train.seed=1,,2"), "a value is empty"),
        (lambda: axis_of("train.seed=1,2,1"), "'1' is listed twice"),
        (lambda: seeds_of(0), "must be 1 to 50"),
        (lambda: made(axis_of("train.seed=4,5"), seeds_of(2)), "is swept twice (--seeds sweeps over it)"),
        (lambda: made(seeds_of(50), axis_of("method.rank=1,2,3,4,5")), "that is 250 runs, and at most 200"),
        (lambda: made(axis_of("method.rank=8,0")), "method.rank is 0; it must be"),
        (lambda: made(axis_of("method.rnk=8")), "Did you mean rank?"),
    ],
)
def test_what_can_not_be_is_refused_in_words(make, says):
    # sweeping over the name is useless, but harmless
    assert made(axis_of("name=a,b"))[0].loaded.recipe.name == "tone-namea"
    with pytest.raises(BadInput) as caught:
        make()
    assert says in f"{caught.value.message} {caught.value.hint}"
