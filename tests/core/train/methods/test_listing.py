"""Methods and objectives are what their folders contain; an unknown name is never imported."""

import sys

import msgspec
import pytest

from finetop.core.errors import NotFound
from finetop.core.plugins import PluginKind
from finetop.core.train import methods, objectives


@pytest.mark.parametrize("package", [methods, objectives])
def test_each_has_a_line_and_options_with_defaults(package):
    assert package.names()
    for name in package.names():
        plugin = package.load(name)
        assert plugin.about and "\n" not in plugin.about
        options = plugin.options()
        assert msgspec.convert(msgspec.to_builtins(options), plugin.options) == options
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"no_such_option": 1}, plugin.options)


def test_unknown_names_are_suggested_and_never_imported():
    with pytest.raises(NotFound, match=r"there is no method 'lroa'. Did you mean lora\?"):
        methods.load("lroa")
    for hostile in ("os", "..errors", "__init__", "lora.Options", "", "../lora"):
        with pytest.raises(NotFound):
            methods.load(hostile)


def test_a_new_file_is_a_new_name(tmp_path, monkeypatch):
    package = tmp_path / "some_methods"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "lora_plus.py").write_text("PLUGIN = 'x'\n")
    (package / "_shared.py").write_text("raise ValueError\n")
    (package / "broken.py").write_text("raise ValueError\n")
    monkeypatch.syspath_prepend(tmp_path)
    kind = PluginKind("method", "some_methods")
    assert kind.names() == ("broken", "lora-plus")
    assert kind.load("lora-plus") == "x"
    with pytest.raises(NotFound):
        kind.load("-shared")
    for name in [name for name in sys.modules if name.startswith("some_methods")]:
        monkeypatch.delitem(sys.modules, name)
