"""Unfilled placeholders: {{name}}, [Your Name], <COMPANY_NAME>, lorem ipsum."""

from __future__ import annotations

import re

from finetop.core.features.lint.findings import Rule, Sight, excerpt
from finetop.core.features.lint.row import Lens, Row

_HINTS = ("{", "[", "<", "%", "orem ipsum", "OREM IPSUM")
_SLOT = (
    r"(?:name|surname|username|address|date|month|year|time|number|title|e-?mail|phone|company|organi[sz]ation|business"
    r"|signature|url|link|website|position|amount|price|city|country|location|product|customer|client|recipient|sender|brand)"
)
_FILL = r"(?i:(?:please[ _])?(?:insert|enter|add|fill[ _]in|put|your|name[ _]of|the[ _]name[ _]of)[ _][^]>}\n]{1,48})"
_NAMED = rf"(?i:(?:[a-z'’]{{2,15}}[ _-]){{1,3}}{_SLOT}(?:[ _]here)?)"  # [Recipient's Name], <COMPANY_NAME>
_PLACEHOLDER = re.compile(
    r"\{(?<!\$\{)(?<![\w\\^}]\{)\{ ?[A-Za-z_][\w. -]{0,40} ?\}\}"
    rf"|\{{(?<![\w$\\^}}{{]\{{)(?:[a-z]{{2,15}}_){{0,2}}(?i:{_SLOT})\}}(?!\}})"
    rf"|\[(?<![\w\])\\]\[)(?:{_FILL}|{_NAMED}|(?=[A-Z])(?i:{_SLOT}))\](?!\()"
    rf"|<(?:{_FILL}|(?=[A-Z][A-Z_ ]+>){_NAMED})>"
    rf"|%(?:[A-Z]{{2,15}}_){{0,2}}(?=[A-Z]+%)(?i:{_SLOT})%"
    r"|Lorem ipsum|lorem ipsum|Lorem Ipsum|LOREM IPSUM"
)
_MEANT = re.compile(
    r"```|\b(?:template|placeholder|f-string|jinja|mustache|ansible)s?\b|\bfill[ -]?in\b|\bf[\"']", re.I
)
_CODE = re.compile(r"\b(?:handlebars|vue|angular|django|liquid|helm)s?\b", re.I)  # their braces are code


class Placeholders(Rule):
    about = "unfilled placeholders"
    why = "The model learns to generate the placeholder. Fill them in, or remove the rows."
    do = "fill in the placeholders, or remove the rows"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        """Return placeholders in learned texts, except those that the question has too."""
        for text in row.learned_texts:
            if not any(hint in text for hint in _HINTS):
                continue
            own = (match for match in _PLACEHOLDER.finditer(text) if match[0] not in row.asked)
            match = next(own, None)
            if match is not None and not _is_meant(row, match[0]):
                return [Sight("placeholder", excerpt(text, *match.span()))]
        return None


def _is_meant(row: Row, mark: str) -> bool:
    """Return whether the row is about templates, or about code with such braces."""
    texts = [turn.text for turn in row.turns]
    is_code = mark.startswith("{") and any(map(_CODE.search, texts))
    return is_code or any(map(_MEANT.search, texts))


PLUGIN = Placeholders()
