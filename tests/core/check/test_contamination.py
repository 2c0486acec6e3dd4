"""Items that the training data contains are found, whole or in large part, and others are not."""

from finetop.core.check.context import contaminated

LONG = (
    "a caterpillar spins a cocoon around itself and after some weeks it comes out as a butterfly in the sun"
)
ITEMS = {("t", "long"): LONG, ("t", "sum"): "16 + 4 =", ("t", "fact"): "A group of wolves is called a"}


def test_an_exact_copy_is_found():
    assert contaminated(ITEMS, ["x", f"Look: {LONG.upper()}!"]) == (("t", "long"),)


def test_half_of_an_item_is_enough_and_less_is_not():
    words = LONG.split()
    assert contaminated(ITEMS, [" ".join(words[:15])]) == (("t", "long"),)
    assert contaminated(ITEMS, [" ".join(words[:12])]) == ()


def test_halves_may_lie_in_different_rows():
    words = LONG.split()
    assert contaminated(ITEMS, [" ".join(words[:11]), " ".join(words[8:])]) == (("t", "long"),)


def test_a_long_run_is_enough_in_a_very_long_item():
    words = [f"w{number}" for number in range(200)]
    assert contaminated({("t", "x"): " ".join(words)}, [" ".join(words[50:74])]) == (("t", "x"),)
    assert contaminated({("t", "x"): " ".join(words)}, [" ".join(words[50:73])]) == ()


def test_short_items_must_be_a_whole_text():
    assert contaminated(ITEMS, ["a group of WOLVES  is called a."]) == (("t", "fact"),)
    assert contaminated(ITEMS, ["I know that a group of wolves is called a pack"]) == ()


def test_marks_inside_a_short_item_count():
    assert contaminated(ITEMS, ["16 - 4 ="]) == ()
    assert contaminated(ITEMS, ["16 + 4 = ?"]) == (("t", "sum"),)
