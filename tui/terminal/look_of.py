"""How to draw on this terminal, from the environment: how many colours, which background, whether only ASCII."""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from typing import Final

from finetop.core.errors import EnvironmentTrouble
from finetop.tui.palette import THEMES, Colours
from finetop.tui.theme import Depth, Look

_PLAIN: Final = ("dumb", "vt100", "vt220")
# Terminals with 24-bit colours even if COLORTERM was not passed on; tmux reduces them where necessary.
_TERMS = ("alacritty", "contour", "foot", "iterm2", "rio", "tmux", "wezterm", "xterm-ghostty", "xterm-kitty")
_PROGRAMS: Final = (
    "Hyper",
    "Tabby",
    "WarpTerminal",
    "WezTerm",
    "ghostty",
    "iTerm.app",
    "mintty",
    "rio",
    "vscode",
    "zed",
)
_MARKS: Final = ("ALACRITTY_WINDOW_ID", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "WT_SESSION")
_VTE: Final = 3600


def find_look(
    environ: Mapping[str, str] | None = None, encoding: str | None = None, *, kept: str = "", ground: str = ""
) -> Look:
    """Choose the look by NO_COLOR, FINETOP_THEME, the `kept` theme, COLORFGBG, the reported `ground`; else for both."""
    environ = os.environ if environ is None else environ
    encoding = _encoding(environ) if encoding is None else encoding
    only_ascii = encoding.lower().replace("-", "") != "utf8"
    if environ.get("NO_COLOR") or environ.get("TERM") in _PLAIN:
        return Look("none", only_ascii)
    named = (environ.get("FINETOP_THEME", ""), kept, _painted(environ), ground)
    colours: Colours = next((theme for name in named for theme in THEMES if theme == name), "either")
    depth = depth_of(environ)
    if depth == 4 and colours != "none":
        colours = "16"
    return Look(colours, only_ascii, depth)


def depth_of(environ: Mapping[str, str]) -> Depth:
    """Return the number of bits that a colour has on the terminal."""
    if environ.get("COLORTERM") in ("truecolor", "24bit"):
        return 24
    term = environ.get("TERM", "")
    if term.endswith("-direct") or term.startswith(_TERMS) or environ.get("TMUX"):
        return 24
    if not term.startswith("screen"):  # screen hides the terminal around it
        vte = environ.get("VTE_VERSION", "")
        if environ.get("TERM_PROGRAM") in _PROGRAMS or any(map(environ.get, _MARKS)):
            return 24
        if vte.isdecimal() and int(vte) >= _VTE:
            return 24
    return 8 if "256color" in term else 4


def require_theme(name: str) -> None:
    """Refuse an unknown theme. Raises EnvironmentTrouble."""
    if name and name not in THEMES:
        from finetop.core.text import quoted  # the app starts without the code that reads recipes

        raise EnvironmentTrouble(
            f"FINETOP_THEME is {quoted(name)} in the environment.", hint=f"It is one of {', '.join(THEMES)}."
        )


def _painted(environ: Mapping[str, str]) -> str:
    """Return the background that COLORFGBG names; empty unless it is one of the two certain values."""
    return {"0": "dark", "15": "light"}.get(environ.get("COLORFGBG", "").rpartition(";")[2], "")


def _encoding(environ: Mapping[str, str]) -> str:
    """Return the locale's encoding. For the locale C Python reports UTF-8, whatever the terminal draws."""
    name = next(filter(None, (environ.get(key) for key in ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    if name in ("C", "POSIX"):
        return "ascii"
    return name.partition(".")[2].partition("@")[0] or locale.getpreferredencoding(False)
