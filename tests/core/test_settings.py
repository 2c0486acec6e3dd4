"""settings.yaml: strict, one line an error."""

import pytest

from finetop.core.errors import BadInput
from finetop.core.home import Home
from finetop.core.settings import Settings, load


def test_without_the_file_the_defaults_hold(tmp_path):
    assert load(Home(tmp_path)) == Settings()


def test_what_is_set_is_read(tmp_path):
    (tmp_path / "settings.yaml").write_text("settings: 1\nkeep: {last: 7, days: null, total_gib: 20.5}\n")
    keep = load(Home(tmp_path)).keep
    assert (keep.last, keep.days, keep.total_gib) == (7, None, 20.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("settings: 1\nkeep: {lasst: 3}\n", r"settings.yaml:2: .*Did you mean last\?"),
        ("settings: 1\nkeep: {last: 0}\n", r"settings.yaml:2: keep.last is 0"),
        ("settings: 1\nkeep: {last: soon}\n", r"settings.yaml:2: keep.last is 'soon'"),
        ("settings: 2\n", r"settings.yaml:1: settings is 2"),
        ("keep: {last: 3}\n", r"Begin with `settings: 1`"),
        ("- 1\n", r"Begin with `settings: 1`"),
        ("settings: 1\nkeep: !!python/object/apply:os.system [ls]\n", r"settings.yaml:2"),
        ("settings: 1\nsettings: 1\n", r"settings.yaml:2"),
        ("settings: 1\nkeep: {days: .nan}\n", r"settings.yaml:2"),
    ],
)
def test_a_fault_is_one_line_with_place_value_and_fix(tmp_path, text, says):
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(BadInput, match=says) as caught:
        load(Home(tmp_path))
    assert "\n" not in str(caught.value)
