"""Print the settings of a recipe as text, as JSON, and as the page docs/reference.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from finetop.core.plugins import METHODS, OBJECTIVES
from finetop.core.recipe.fields import Field, fields_of_plugin, fields_of_section, sections
from finetop.core.recipe.type_words import value_words

WIDTH = 80
# settings that may be left out, though the schema has no default for them
FILLED = {"name": "the file's name"}
HEAD = """# Reference: every setting

`finetop recipe train` prints a section, `finetop methods lora` the settings of a method, an objective or a protection;
`--json` gives both as data. How a recipe is written: [recipes](recipe.md). This page is printed by
`finetop recipe --markdown`.

`[]` stands for each item of a list. *needed*: no default; it must be set where its section is used. `null` unsets a
setting; a section can be null only where this page says so (`general: null`).
"""


def print_settings(fields: Iterable[Field]) -> None:
    """Print each setting as in a recipe, with its type, and its description below."""
    for field in fields:
        first = f"{field.key}: {default_words(field)}  ({field.type})"
        print(textwrap.fill(first, WIDTH, subsequent_indent="        ", break_on_hyphens=False))
        print(textwrap.indent(textwrap.fill(field.about, WIDTH - 4, break_on_hyphens=False), "    "))


def default_words(field: Field) -> str:
    """Return a default as written in a recipe, or `needed`."""
    if field.key in FILLED:
        return FILLED[field.key]
    return "needed" if field.required else value_words(field.default) or '""'


def page() -> str:
    """Return docs/reference.md, which a test compares with that file."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield HEAD
    yield "## The recipe\n"
    top_level = [field for key in sections() for field in fields_of_section(key) if field.key == key]
    yield from _table(top_level, "")
    for key, about in sections().items():
        below = [field for field in fields_of_section(key) if field.key != key]
        if below:
            yield f"## {key}\n\n{about}\n"
            yield from _table(below, f"{key}.")
    for kind, plugins in (("method", METHODS), ("objective", OBJECTIVES)):
        yield f"## {kind.capitalize()}s\n\nSettings of `{kind}`, besides its name.\n"
        for name in plugins.names():
            about, own = fields_of_plugin(name)[kind]
            yield f"### {name}\n\n{about[0].upper()}{about[1:]}.\n"
            yield from _table(own, f"{kind}.") if own else ["No settings of its own.\n"]


def _table(fields: Iterable[Field], prefix: str) -> Iterator[str]:
    yield "| setting | default | values | meaning |\n|---|---|---|---|"
    for field in fields:
        default = default_words(field)
        default = f"*{default}*" if field.required else f"`{default}`"
        cells = (f"`{field.key.removeprefix(prefix)}`", default, field.type, field.about)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
