"""SGR styles: their canonical text, and the shortest sequence from one to another."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

# What turns each attribute off. Bold and dim share one; others exclude those that share theirs (4, 21: underlines).
_OFF = {
    "1": "22", "2": "22", "3": "23", "4": "24", "21": "24", "5": "25", "6": "25",
    "7": "27", "8": "28", "9": "29", "51": "54", "52": "54", "53": "55",
}  # fmt: skip
_OFF_CODES = frozenset(_OFF.values())
# Attributes that show on a space: underlines, reverse, strike, frames, overline.
_SHOWN_ON_BLANK = frozenset({"4", "21", "7", "9", "51", "52", "53"})


class _Parts(NamedTuple):
    attributes: frozenset[str] = frozenset()
    foreground: str = ""
    background: str = ""


@lru_cache(maxsize=4096)
def restyle(style: str, parameters: str, colour: bool = True) -> str:
    """Return the canonical style ("" by default) after SGR parameters; without colour attributes alone (NO_COLOR)."""
    attributes, foreground, background = _applied(_parts(style), parameters)
    colours = [foreground, background] if colour else []
    return ";".join(part for part in [*sorted(attributes), *colours] if part)


def _applied(parts: _Parts, parameters: str) -> _Parts:
    on, foreground, background = set(parts.attributes), parts.foreground, parts.background
    codes = parameters.split(";")
    while codes:
        code = codes.pop(0) or "0"
        head = code.partition(":")[0]
        if head in ("38", "48", "58"):
            if ":" not in code:
                arguments = {"2": 4, "5": 2}.get(codes[0] if codes else "", 0)
                code, codes = ";".join([code, *codes[:arguments]]), codes[arguments:]
            foreground = code if head == "38" else foreground
            background = code if head == "48" else background
        elif code == "0":
            on, foreground, background = set(), "", ""
        elif code == "39":
            foreground = ""
        elif code == "49":
            background = ""
        elif code in _OFF_CODES or code == "4:0":
            off = "24" if code == "4:0" else code
            on = {attribute for attribute in on if _off(attribute) != off}
        elif head in _OFF:
            if _OFF[head] != "22":
                on = {attribute for attribute in on if _off(attribute) != _OFF[head]}
            on.add(code)
        elif code.isdigit() and (30 <= int(code) <= 37 or 90 <= int(code) <= 97):
            foreground = code
        elif code.isdigit() and (40 <= int(code) <= 47 or 100 <= int(code) <= 107):
            background = code
    return _Parts(frozenset(on), foreground, background)


@lru_cache(maxsize=4096)
def change(old: str | None, new: str) -> str:
    """Return the shortest sequence that turns style old (None: unknown) into new."""
    if old == new:
        return ""
    whole = f"\x1b[;{new}m" if new else "\x1b[m"
    if old is None:
        return whole
    if not old:
        return f"\x1b[{new}m"
    before, after = _parts(old), _parts(new)
    off = {_off(attribute) for attribute in before.attributes - after.attributes}
    kept = {attribute for attribute in before.attributes if _off(attribute) not in off}
    codes = [*sorted(off), *sorted(after.attributes - kept)]
    if before.foreground != after.foreground:
        codes.append(after.foreground or "39")
    if before.background != after.background:
        codes.append(after.background or "49")
    step = f"\x1b[{';'.join(codes)}m"
    return step if len(step) < len(whole) else whole


@lru_cache(maxsize=4096)
def blank_style(style: str) -> str:
    """Return the part of a style that is visible on a space: two spaces with the same part look the same."""
    attributes, _, background = _parts(style)
    return style if any(_base(attribute) in _SHOWN_ON_BLANK for attribute in attributes) else background


@lru_cache(maxsize=4096)
def _parts(style: str) -> _Parts:
    return _applied(_Parts(), style)


def _base(attribute: str) -> str:
    return attribute.partition(":")[0]


def _off(attribute: str) -> str:
    return _OFF[_base(attribute)]
