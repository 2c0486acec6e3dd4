"""Commands as typed, run in the test's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from finetop.core.commands.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Rig

    from finetop.core.runtime.home import Home

    Finetop = Callable[..., tuple[int, str, str]]


@pytest.fixture
def finetop_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Home], Finetop]:
    """Return a function that runs one command on a home: (exit code, stdout, stderr)."""

    def of(home: Home) -> Finetop:
        monkeypatch.setenv("FINETOP_HOME", str(home.root))

        def run(*arguments: str) -> tuple[int, str, str]:
            code = main(list(arguments))
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        return run

    return of


@pytest.fixture
def finetop(rig: Rig, finetop_of: Callable[[Home], Finetop]) -> Finetop:
    """Run one command on the rig's home."""
    return finetop_of(rig.home)
