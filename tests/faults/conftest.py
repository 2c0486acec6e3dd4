"""The `finetop` command in a terminal."""

import sys
from collections.abc import Callable, Iterator

import pytest
from terminal import Terminal


@pytest.fixture
def terminal(rig) -> Iterator[Callable[..., Terminal]]:
    """Start `finetop` in a terminal, on the rig's home."""
    opened: list[Terminal] = []

    def start(*words: str, columns: int = 80, rows: int = 24) -> Terminal:
        command = [sys.executable, "-m", "finetop.tui.main", *words]
        opened.append(Terminal(command, rig.home.root, columns, rows))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def cold_rig_terminal(cold_rig) -> Iterator[tuple[object, Terminal]]:
    """The app in a terminal on a home without a supervisor: it starts one."""
    app = Terminal([sys.executable, "-m", "finetop.tui.main"], cold_rig.home.root)
    yield cold_rig.home, app
    app.close()
