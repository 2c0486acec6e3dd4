"""Writes a recipe as YAML, with numbers as people write them."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from finetop.core.text import float_words


def as_yaml(recipe: Any, width: int = 80) -> str:
    """Return the YAML of a recipe; a rate is 2e-5, as in the recipes that come with finetop."""
    import yaml

    text: str = yaml.dump(recipe, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=width)
    return text


@cache
def _dumper() -> Any:
    """Return PyYAML's safe dumper with that spelling; by itself, it writes 2.0e-05 and quotes no text like 2e-5."""
    from yaml import SafeDumper

    class Dumper(SafeDumper):
        pass

    tag = "tag:yaml.org,2002:float"
    Dumper.add_implicit_resolver(tag, re.compile(r"-?[0-9]+(\.[0-9]+)?e[-+]?[0-9]+$"), list("-0123456789"))
    Dumper.add_representer(float, _represented)
    return Dumper


def _represented(dumper: Any, number: float) -> Any:
    words = float_words(number)
    if re.search("[0-9]e", words):
        return dumper.represent_scalar("tag:yaml.org,2002:float", words)
    return dumper.represent_float(number)
