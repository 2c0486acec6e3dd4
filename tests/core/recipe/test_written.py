"""A recipe written as YAML: numbers are spelled as people write them, and read back as they were."""

from pathlib import Path

from finetop.core.recipe.strict_yaml import Origin, parse, to_plain
from finetop.core.recipe.written import as_yaml

ORIGIN = Origin("x.yaml", Path("/recipes"))


def test_a_rate_is_spelled_as_people_write_it_and_everything_reads_back() -> None:
    recipe = {
        "rate": 2e-5,
        "small": -1.5e-7,
        "share": 1.0,
        "big": 1e20,
        "sum": 0.1 + 0.2,
        "text": "2e-5",
        "word": "1e5",
    }
    text = as_yaml(recipe)
    assert "rate: 2e-5\nsmall: -1.5e-7\nshare: 1.0\n" in text
    assert to_plain(parse(text, ORIGIN)) == recipe
