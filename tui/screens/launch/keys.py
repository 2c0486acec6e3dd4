"""The keys of the Launch screen, and which of them its footer shows."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.tui.keys import MATCH, MATCHES, PAGES, Key
from finetop.tui.screens.launch.state import LaunchState

EDIT = Key("enter", "edit", "enter", "edit the field; on a recipe: go to its settings")
QUEUE = Key(
    "R", "queue it", "queue", "queue the run, or the whole sweep", "finetop run RECIPE --set KEY=VALUE"
)
SWEEP = Key(
    "w",
    "sweep",
    "sweep",
    "one run for each of several values of this field",
    "finetop run RECIPE --sweep KEY=V,V",
)
APPROACHES = Key(
    "C",
    "compare approaches",
    "approaches",
    "compare prompting, retrieval and training on check.target (asks)",
    "finetop approaches RECIPE",
)
WRITE = Key("e", "write file", "write", "write the recipe to a file", "finetop show RUN --recipe")
PART = Key("tab,shift+tab,left,right,h", "recipes, settings", "part", "switch between recipes and settings")
ALL = Key("v", "all settings", "view", "all settings, or the most common", "finetop methods")
SEARCH = Key("slash", "search", "search", "find a recipe or a setting", "finetop methods")
UNDO = Key("u", "reset field", "undo", "reset the field to the recipe's value")
LINT = Key("L", "data", "lint", "findings in the data: duplicates, leaks, damage", "finetop lint RECIPE")
BACK = Key("escape", "back", "back", "back to Runs; the form is kept")
MOVES = (
    Key("j,down", "", "move(1)", "next recipe or field"),
    Key("k,up", "", "move(-1)", "previous recipe or field"),
    Key("g,home", "", "move(-999)", "first"),
    Key("G,end", "", "move(999)", "last"),
    *PAGES,
)
KEYS = (EDIT, QUEUE, SWEEP, APPROACHES, WRITE, PART, ALL, SEARCH, *MATCHES, UNDO, LINT, BACK, *MOVES)
_SETTINGS = Key("", "settings", "enter", sign="enter")
_RECIPES = Key("", "recipes", "part", sign="tab")
_COMPLETE = Key("tab", "complete")
WHILE_TYPING = (
    Key("enter", "done", "enter"),
    Key("up", "other field", "move(1)", sign="↑↓"),
    Key("ctrl+u", "clear"),
)


def footer_keys(state: LaunchState) -> Sequence[Key]:
    """Return the keys for what the cursor is on, the most used first."""
    if state.entry is not None:
        return (_COMPLETE, *WHILE_TYPING) if state.types_path else WHILE_TYPING
    loaded = state.form.loaded
    compare = (APPROACHES,) if loaded is not None and loaded.recipe.check.target is not None else ()
    search = (MATCH, SEARCH) if state.sought else (SEARCH,)
    if state.part == "recipes":
        return (_SETTINGS, QUEUE, *compare, *search, WRITE, ALL, BACK)
    return (EDIT, QUEUE, SWEEP, *compare, *search, UNDO, _RECIPES, WRITE, ALL, BACK)
