"""Settings of recipes as the store keeps them, also of a recipe that was damaged in its run.json."""

from __future__ import annotations

from typing import Any

import pytest

from finetop.core.store.recipe_settings import flat


def test_a_command_s_arguments_are_settings_with_their_placeholders_filled() -> None:
    command = {"run": ["python", "t.py", "--lr", "{rate}", "--fast"], "values": {"rate": 0.5}}
    stored = flat({"command": command})
    assert (stored["args.lr"], stored["args.fast"]) == (0.5, "true")


@pytest.mark.parametrize(
    "command", [1.5, "a", [1], {"run": 1.5}, {"run": None}, {"run": [None, 2], "values": 3}]
)
def test_a_damaged_command_has_no_arguments(command: Any) -> None:
    assert [key for key in flat({"command": command}) if key.startswith("args.")] == []
