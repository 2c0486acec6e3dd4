"""docs/alarms.md: a section for every alarm that there is and none else, and every file that it shows can be read."""

import re
from pathlib import Path

import msgspec

from finetop.core.recipe.home_settings import Settings, load
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home
from finetop.core.train import alarms

PAGE = (Path(__file__).parents[1] / "docs" / "alarms.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def sections() -> dict[str, str]:
    """Sections of alarms by their heading, which is a setting's name; others have more than a word."""
    found = re.findall(r"^## (\w+)\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    return dict(found)


def test_every_alarm_has_its_section_with_all_its_settings() -> None:
    found = sections()
    assert set(found) == set(alarms.names())
    for name, text in found.items():
        options = {field.name for field in msgspec.structs.fields(alarms.load(name).options)} - {"on"}
        assert options <= set(re.findall(r"`(\w+)`", text)), name
        assert "**Over**" in text
        assert "**Try**" in text


def test_what_it_shows_can_be_read(tmp_path: Path) -> None:
    kinds = {"recipe": 0, "settings": 0}
    for block in BLOCKS:
        kind = block.partition(":")[0]
        kinds[kind] += 1
        if kind == "recipe":
            recipe = resolve_text(block).recipe
            assert (recipe.alarms.spike.rise, recipe.alarms.plateau.on) == (1.0, False)
        else:
            (tmp_path / "settings.yaml").write_text(block)
            settings = load(Home(tmp_path))
            assert settings.tell.command
            assert settings.tell.quiet
            assert settings != Settings()
    assert kinds == {"recipe": 1, "settings": 1}


def test_the_settings_that_it_names_are_some() -> None:
    fields = re.findall(r"`((?:train|model|method|data|drift)\.\w+)`", PAGE)
    assert fields
    recipe = msgspec.to_builtins(resolve_text("recipe: 1\nextends: lora\nname: x\n").recipe)
    for field in fields:
        section, key = field.split(".")
        assert key in recipe[section] or key in recipe[section]["options"], field
