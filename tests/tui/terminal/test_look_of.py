from __future__ import annotations

import pytest

from finetop.core.errors import EnvironmentTrouble
from finetop.tui.terminal.look_of import find_look, require_theme
from finetop.tui.theme import Look


@pytest.mark.parametrize(
    ("environ", "encoding", "look"),
    [
        ({"TERM": "xterm-256color"}, "UTF-8", Look("either", depth=8)),
        ({"TERM": "xterm-256color", "FINETOP_THEME": "light"}, "UTF-8", Look("light", depth=8)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "utf8", Look("none")),
        ({"TERM": "xterm", "NO_COLOR": "1", "FINETOP_THEME": "dark"}, "utf8", Look("none")),
        ({"TERM": "xterm"}, "ANSI_X3.4-1968", Look("16", ascii=True, depth=4)),
        ({"COLORTERM": "truecolor", "FINETOP_THEME": "light"}, "UTF-8", Look("light")),
        ({"COLORTERM": "truecolor", "COLORFGBG": "15;0"}, "UTF-8", Look("dark")),
        ({"COLORTERM": "truecolor"}, "UTF-8", Look("either")),
        ({"FINETOP_THEME": "light"}, "UTF-8", Look("16", depth=4)),  # the terminal has 16 colours
        ({"TERM": "linux"}, "UTF-8", Look("16", depth=4)),
        ({"TERM": "xterm-direct"}, "UTF-8", Look("either")),
        ({"TERM": "tmux-256color"}, "UTF-8", Look("either")),
        ({"TERM": "screen-256color", "TMUX": "/tmp/tmux-0/default,1,0"}, "UTF-8", Look("either")),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, "UTF-8", Look("either", depth=8)),
        ({"TERM": "xterm-kitty"}, "UTF-8", Look("either")),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "UTF-8", Look("either")),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "UTF-8", Look("either", depth=8)),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7006"}, "UTF-8", Look("either")),
        ({"COLORTERM": "truecolor", "LC_ALL": "C"}, None, Look("either", ascii=True)),
        ({"COLORTERM": "truecolor", "LC_ALL": "de_DE.UTF-8", "LANG": "C"}, None, Look("either")),
        ({"COLORTERM": "truecolor", "LANG": "de_DE.ISO-8859-15@euro"}, None, Look("either", ascii=True)),
        ({"COLORTERM": "truecolor", "LC_CTYPE": "POSIX", "LANG": "C.utf8"}, None, Look("either", ascii=True)),
    ],
)
def test_the_look_follows_the_terminal(environ: dict[str, str], encoding: str | None, look: Look) -> None:
    assert find_look(environ, encoding) == look


def test_the_environment_goes_before_what_is_kept_and_an_unknown_theme_is_refused() -> None:
    environ = {"COLORTERM": "24bit"}
    assert find_look(environ, "utf8", ground="light") == Look("light")
    assert find_look(environ, "utf8", kept="colour-blind dark", ground="light") == Look("colour-blind dark")
    assert find_look({**environ, "FINETOP_THEME": "dark"}, "utf8", kept="light") == Look("dark")
    assert find_look(environ, "utf8", kept="pink") == Look("either")
    require_theme("")
    require_theme("colour-blind light")
    with pytest.raises(EnvironmentTrouble, match="'pink'"):
        require_theme("pink")
