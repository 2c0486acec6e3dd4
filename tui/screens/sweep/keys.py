"""The keys of the Sweep screen, and which of them its footer offers."""

from __future__ import annotations

from finetop.tui.keys import Key

OPEN = Key("enter", "enter", "open it", "open", "open the run that is chosen", "finetop show RUN")
SETTING = Key("j,down", "↑↓", "setting", "move(1)", "next setting")
RUN = Key("right", "←→", "seed", "choose(1)", "the next run of the setting: another seed")
RUN_BEFORE = Key("left,h", "←", "", "choose(-1)", "the run before")
PART = Key("tab", "tab", "what follows", "part", "the runs of the setting, or what follows from the curve")
COMPARE = Key("c", "c", "compare", "compare", "compare the runs of this setting", "finetop compare RUN RUN")
SORT = Key("o", "o", "sort", "sort", "best target first, or as they were queued")
SWEEP = Key(
    "right_square_bracket", "[ ]", "other", "sweep(1)", "the next sweep, the newest first", "finetop sweep"
)
SWEEP_BEFORE = Key("left_square_bracket", "[", "", "sweep(-1)", "the sweep before")
BACK = Key("escape", "esc", "back", "back", "back to where you came from")
MOVES = (
    Key("k,up", "↑ k", "", "move(-1)", "setting before"),
    Key("pagedown", "pgdn", "", "page(1)", "a page down"),
    Key("pageup", "pgup", "", "page(-1)", "a page up"),
    Key("g,home", "g", "", "move(-1000000)", "first setting"),
    Key("G,end", "G", "", "move(1000000)", "last setting"),
)
KEYS = (OPEN, SETTING, RUN, RUN_BEFORE, PART, COMPARE, SORT, SWEEP, SWEEP_BEFORE, BACK, *MOVES)


def footer_keys(*, settings: int, runs: int, sweeps: int, is_curve: bool = False) -> tuple[Key, ...]:
    """Offer what there is something to do with."""
    keys = (
        (OPEN, runs > 0),
        (SETTING, settings > 1),
        (PART, is_curve),
        (RUN, runs > 1),
        (COMPARE, runs > 1),
        (SORT, settings > 1),
        (SWEEP, sweeps > 1),
        (BACK, True),
    )
    return tuple(key for key, is_of_use in keys if is_of_use)
