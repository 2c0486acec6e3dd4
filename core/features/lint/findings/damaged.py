"""Texts damaged on their way: bytes read in the wrong encoding, leftover HTML, control characters."""

from __future__ import annotations

import re
from typing import Any

from finetop.core.features.lint.edit_row import with_texts
from finetop.core.features.lint.findings import Rule, Sight, excerpt
from finetop.core.features.lint.row import Lens, Row

# What the first byte of a UTF-8 character becomes in Windows-1252, and then the bytes that follow it.
_FOLLOWING = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_WRONG = re.compile(
    f"[\u00c2-\u00df][{_FOLLOWING}]|[\u00e0-\u00ef][{_FOLLOWING}]{{2}}|[\u00f0-\u00f4][{_FOLLOWING}]{{3}}"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")
_ENTITY = re.compile(
    r"&(?:nbsp|amp|lt|gt|quot|apos|rsquo|lsquo|ldquo|rdquo|mdash|ndash|hellip|#\d{2,5}|#x[0-9a-fA-F]{2,5});"
)
_TAG = re.compile(
    r"</?(?:p|div|span|br|li|ul|ol|table|tbody|tr|td|th|img|font|center|strong|em|blockquote|h[1-6]|script|style|iframe)"
    r"(?:\s[^<>]{0,200})?\s*/?>|<a\s[^<>]{0,200}>|</a>",
    re.IGNORECASE,
)
_ABOUT_CODE = re.compile(
    r"\b(?:html?|xml|css|svg|javascript|markup|markdown|web ?(?:page|site)s?|tags?|php|react|jsx|vue|django|flask|jinja"
    r"|code|snippet|script|regex|escape|entit(?:y|ies)|parse[rs]?|scrap(?:e|ing))\b|```|<!doctype|<html",
    re.IGNORECASE,
)


class Damaged(Rule):
    about = "damaged texts"
    why = "The model learns to generate the same damage: â€™ instead of ’, &nbsp; and <br> in plain answers."
    fix = "decode UTF-8 that was read as Windows-1252; leave HTML as it is"
    do = "repair the damaged texts"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        sights: list[Sight] = []
        for turn in row.turns:
            text = turn.text
            if not text.isascii():
                if (hit := next(_wrong(text), None)) is not None:
                    sights.append(Sight("read in the wrong encoding", excerpt(text, hit[0], hit[1]), "fix"))
                elif (at := text.find("\ufffd")) >= 0:
                    sights.append(Sight("characters that were lost (�)", excerpt(text, at)))
            # whose bytes are control characters by themselves
            is_wrong = bool(sights) and sights[-1].action == "fix"
            if not is_wrong and not text.isprintable() and (control := _CONTROL.search(text)):
                shown = f"U+{ord(control[0]):04X} in: {excerpt(text, *control.span())}"
                sights.append(Sight("control characters", shown))
        if (left := _html_left(row)) is not None:
            sights.append(left)
        return sights or None

    def fixed(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """Decode again what was read in the wrong encoding."""
        return with_texts(raw, lambda text, role: redecoded(text))


def _html_left(row: Row) -> Sight | None:
    """Return leftover HTML, unless the row is about HTML or code."""
    for turn in row.turns:
        if "<" not in turn.text and "&" not in turn.text:
            continue
        match = _ENTITY.search(turn.text) or _TAG.search(turn.text)
        if match is not None:
            if any(_ABOUT_CODE.search(other.text) for other in row.turns):
                return None
            return Sight("leftover HTML", excerpt(turn.text, *match.span()))
    return None


def _wrong(text: str) -> Any:
    """Yield the parts that were read in the wrong encoding: they decode again to other characters."""
    for match in _WRONG.finditer(text):
        decoded = _decoded(match[0])
        if decoded is not None:
            yield match.start(), match.end(), decoded


def _decoded(wrong: str) -> str | None:
    data = bytearray()
    for character in wrong:
        try:
            data += character.encode("cp1252")
        except UnicodeEncodeError:
            if ord(character) > 255:
                return None
            data.append(ord(character))  # the five bytes that have no character in Windows-1252
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def redecoded(text: str) -> str:
    """Replace the wrong characters with the right ones."""
    parts, at = [], 0
    for start, end, right in _wrong(text):
        parts += [text[at:start], right]
        at = end
    return "".join([*parts, text[at:]])


PLUGIN = Damaged()
