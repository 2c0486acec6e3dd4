"""The output folder that a command's own options name; a process without arguments names none."""

from finetop.core.recipe.command import output_in


def test_the_option_the_joined_option_and_none():
    assert output_in(["train.py", "--output_dir", "out"]) == "out"
    assert output_in(["train.py", "--output_dir=out"]) == "out"
    assert output_in(["train.py", "--output_dir"]) == ""
    assert output_in([]) == ""
