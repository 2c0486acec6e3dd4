"""Where a program's numbers and settings are from, in words."""

from finetop.core.protocol.numbers_from import MOST_SETTINGS, NumbersFrom, ReadFile
from finetop.core.wording.numbers_from import read_lines


def test_a_configuration_that_was_cut_says_so():
    def line(count: int) -> str:
        (told,) = read_lines(
            NumbersFrom([ReadFile("wandb", "a.wandb", "it has it open", [], settings=count)])
        )
        return told

    assert line(1) == "1 setting: wandb a.wandb (it has it open)"
    assert line(MOST_SETTINGS) == "500 settings, no more are kept: wandb a.wandb (it has it open)"
