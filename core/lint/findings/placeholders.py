"""Placeholders that nobody filled in: {{name}}, [INSERT DATE], lorem ipsum."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from finetop.core.lint.tally import Sight, excerpt

if TYPE_CHECKING:
    from finetop.core.lint.row import Lens, Row

ABOUT = "placeholders that nobody filled in"
WHY = "The model learns to write the placeholder. Fill them in, or remove the rows."
FIX = ""
SEVERITY = "warning"

_HINTS = ("{{", "[INSERT", "[Insert", "<INSERT", "<insert", "orem ipsum", "[YOUR", "<YOUR", "<your")
_PLACEHOLDER = re.compile(
    r"(?<!\$)\{\{ ?[A-Za-z_][\w. -]{0,40} ?\}\}"
    r"|[\[<](?:INSERT|Insert|insert|YOUR|your)[ _][^\]>\n]{1,40}[\]>]|[Ll]orem ipsum"
)
_CODE = re.compile(
    r"```|\b(?:jinja|handlebars|mustache|vue|angular|django|liquid|template|ansible|helm|placeholder)s?\b",
    re.I,
)


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See placeholders in what is learned."""
    for text in row.learned_texts:
        if any(hint in text for hint in _HINTS) and (found := _PLACEHOLDER.search(text)):
            if any(_CODE.search(turn.text) for turn in row.turns):
                return None
            return [Sight("placeholder", excerpt(text, *found.span()))]
    return None
