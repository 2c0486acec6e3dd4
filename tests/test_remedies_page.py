"""docs/remedies.md: it names every remedy, with how many candidates it has at most, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from finetop.core import remedies

PAGE = (Path(__file__).parents[1] / "docs" / "remedies.md").read_text(encoding="utf-8")


def test_it_names_all_that_there_is() -> None:
    tried = re.findall(r"^\| `([a-z-]+)` \|.*?\| (\d+) \|", PAGE, re.MULTILINE)
    trained = re.findall(r"^\| `([a-z-]+)` \| [^|]* \|$", PAGE, re.MULTILINE)
    assert {name: int(most) for name, most in tried} == {
        name: remedies.load(name).most
        for name in remedies.names()
        if not isinstance(remedies.load(name), remedies.Retraining)
    }
    assert set(trained) == {
        name for name in remedies.names() if isinstance(remedies.load(name), remedies.Retraining)
    }
