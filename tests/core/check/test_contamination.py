"""Items that the training data contains are found, whole or in large part, and others are not."""

from finetop.core.check.context import contaminated

LONG = (
    "a caterpillar spins a cocoon around itself and after some weeks it comes out as a butterfly in the sun"
)
ITEMS = {("t", "long"): LONG, ("t", "sum"): "16 + 4 =", ("t", "fact"): "A group of wolves is called a"}


def test_a_copy_or_half_of_an_item_is_found_and_a_short_one_as_a_whole_text_alone():
    words, long = LONG.split(), (("t", "long"),)
    assert contaminated(ITEMS, ["x", f"Look: {LONG.upper()}!"]) == long
    assert contaminated(ITEMS, [" ".join(words[:15])]) == long
    assert contaminated(ITEMS, [" ".join(words[:12])]) == ()
    halves = [" ".join(words[:11]), " ".join(words[8:])]  # in different rows
    assert contaminated(ITEMS, halves) == long
    words = [f"w{number}" for number in range(200)]  # in a very long item, a long run is enough
    assert contaminated({("t", "x"): " ".join(words)}, [" ".join(words[50:74])]) == (("t", "x"),)
    assert contaminated({("t", "x"): " ".join(words)}, [" ".join(words[50:73])]) == ()
    assert contaminated(ITEMS, ["a group of WOLVES  is called a."]) == (("t", "fact"),)
    assert contaminated(ITEMS, ["I know that a group of wolves is called a pack"]) == ()
    assert contaminated(ITEMS, ["16 - 4 ="]) == ()
    assert contaminated(ITEMS, ["16 + 4 = ?"]) == (("t", "sum"),)
