"""Every plug-in has what its kind's protocol lists, so that a new file can be written from that list alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from finetop.core import plugins
from finetop.core.train import alarms, methods, objectives, protections, rewards

if TYPE_CHECKING:
    from pathlib import Path

KINDS = [
    (plugins.FORMATS, plugins.Format),
    (plugins.APPROACHES, plugins.Approach),
]
CLASSES = [methods.KIND, objectives.KIND, protections.KIND, alarms.KIND, rewards.KIND]


def members(protocol: type) -> set[str]:
    return {name for base in protocol.__mro__ for name in vars(base) if name[0] != "_"}


@pytest.mark.parametrize(("kind", "protocol"), KINDS, ids=[kind.word for kind, _ in KINDS])
def test_each_has_what_its_kind_must_have(kind: plugins.PluginKind[Any], protocol: type) -> None:
    assert len(kind.names()) > 3 and "ABOUT" in members(protocol)
    for name in kind.names():
        assert not [member for member in members(protocol) if not hasattr(kind.load(name), member)], name


def test_each_remedy_has_what_one_without_training_must_have_or_one_that_trains() -> None:
    for name in plugins.REMEDIES.names():
        module = plugins.REMEDIES.load(name)
        protocol = plugins.Retraining if hasattr(module, "settings") else plugins.Remedy
        assert not [member for member in members(protocol) if not hasattr(module, member)], name


@pytest.mark.parametrize("kind", CLASSES, ids=[kind.word for kind in CLASSES])
def test_each_is_an_instance_that_has_what_its_class_only_declares(kind: plugins.PluginKind[Any]) -> None:
    assert len(kind.names()) > 4
    for name in kind.names():
        plugin = kind.load(name)
        assert isinstance(plugin, kind.base) and plugin.name == name
        declared = {word for base in type(plugin).__mro__ for word in vars(base).get("__annotations__", ())}
        assert "about" in declared and not [word for word in declared if not hasattr(plugin, word)], name


def test_what_is_no_instance_of_the_class_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_alarms").mkdir()
    (tmp_path / "some_alarms" / "__init__.py").touch()
    (tmp_path / "some_alarms" / "loud.py").write_text("PLUGIN = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    kind: plugins.PluginKind[Any] = plugins.PluginKind("alarm", "some_alarms", base=alarms.Alarm)
    with pytest.raises(TypeError, match="alarm loud: PLUGIN is no Alarm"):
        kind.load("loud")
    for name in [name for name in sys.modules if name.startswith("some_alarms")]:
        monkeypatch.delitem(sys.modules, name)
