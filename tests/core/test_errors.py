"""A library's error in one line."""

import pytest

from finetop.core.errors import did_you_mean, first_line, near


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("  \n"), "ValueError"),
        (ValueError(), "ValueError"),
        (ValueError("Field 'x':\n    TypeError: no int\n more"), "Field 'x': TypeError: no int"),
        (KeyError("model"), "'model' is missing"),
        (ValueError("x" * 999), "x" * 300),
    ],
)  # fmt: skip
def test_an_error_in_one_line(error, says):
    assert first_line(error) == says


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("rnk", ["rank", "alpha"], "rank"),
        ("shwo", ["show", "stop"], "show"),
        ("gooood", ["good"], "good"),
        ("Learning-Rate", ["learning_rate"], "learning_rate"),
        ("learn", ["learning_rate", "seed"], "learning_rate"),
        ("accumulation", ["grad_accumulation", "seed"], "grad_accumulation"),
        ("row.jsonl", ["rows.jsonl"], "rows.jsonl"),
        ("trian.epochs", ["train.epochs"], "train.epochs"),
        ("lss", ["ls"], "ls"),
        ("blend-0.51", ["blend-0.1", "blend-0.25", "blend-0.5"], "blend-0.5"),
        # names that only look similar
        ("nofile.yaml", ["e.yaml"], ""),
        ("a.yaml", ["e.yaml"], ""),
        ("train.lr", ["train.seed", "train.keep"], ""),
        ("stats", ["trash", "tag"], ""),
        ("spt", ["sft"], "sft"),
        ("sum", ["sgd"], ""),
        ("ps", ["ls"], ""),
        ("grad", ["grad_norm", "grad_accumulation"], ""),  # either
        ("", ["a", "lora"], ""),
        ("lora", [], ""),
    ],
)  # fmt: skip
def test_only_what_is_close_is_suggested(typed, known, meant):
    assert near(typed, known) == meant
    assert (did_you_mean(typed, known) == f"Did you mean {meant}?") == bool(meant)


def test_a_long_list_is_short_and_names_the_command_for_all():
    names = [f"name-{letter}" for letter in "abcdefghijkl"]
    assert did_you_mean("x", names[:2]) == "Options: name-a, name-b."
    assert did_you_mean("x", names, whole="finetop ls").endswith("name-h and 4 more, see `finetop ls`.")
    assert did_you_mean("x", names).endswith("name-l.")
