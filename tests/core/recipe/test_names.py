"""Names of runs and recipes: one that could leave the folder or confuse a shell or terminal is refused."""

from __future__ import annotations

import pytest

from finetop.core.errors import RecipeError
from finetop.core.recipe.names import check_name
from finetop.core.text import plain, quoted

REFUSED = [".", "..", "../x", "/etc", "a/b", "a\\b", "x/../../y", "-rf", "--help", ".hidden", "tést"]
REFUSED += ["CON", "con.txt", "Nul", "com1", "LPT9.yaml", "41", "007"]
REFUSED += ["a@3", "a:b", "$(id)", "*", "~", "\ud800", "\uff11", "", "a\0b", "x" * 81, "x" * 300]
REFUSED += ["a\nb", "a\n", "a\r", " a", "a b", "a\tb", "a\u202eb", "\u2066a", "\x1b[2J"]


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_name(name, "--name")
    assert str(caught.value).startswith("--name: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_others_are_accepted_and_outside_values_are_shown_in_one_safe_line() -> None:
    for name in ("a", "support-tone", "v1.2_b", "x" * 80, "_a", "3b", "console", "com10", "conn.x"):
        assert check_name(name, "--name") == name
    assert quoted("a\u202e\x1b[2J\n") == "'a\\u202e\\x1b[2J\\n'"
    assert len(quoted("x" * 10_000)) <= 62
    assert len(quoted(10**50)) <= 60
    assert quoted(None) == "null"
    assert quoted(True) == "true"
    assert plain("a/b c.yaml") == "a/b c.yaml"
    assert plain("a\x1b") == "'a\\x1b'"
