"""Every plug-in has what its kind's class declares, so that a new file can be written from that class alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from finetop.core import plugins
from finetop.core.data import files, formats
from finetop.core.features.approaches import approaches
from finetop.core.features.lint import findings
from finetop.core.features.remedies import remedies
from finetop.core.features.select import selectors as select
from finetop.core.train import alarms, methods, objectives, protections, rewards

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = [
    room.KIND
    for room in (
        *(methods, objectives, protections, alarms, rewards),
        *(formats, files, findings, select, remedies, approaches),
    )
]


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
