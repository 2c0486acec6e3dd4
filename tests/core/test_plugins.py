"""Every plug-in has what its kind's protocol lists, so that a new file can be written from that list alone."""

from __future__ import annotations

from typing import Any

import pytest

from finetop.core import plugins

KINDS = [
    (plugins.METHODS, plugins.Method),
    (plugins.OBJECTIVES, plugins.Objective),
    (plugins.PROTECTIONS, plugins.Protection),
    (plugins.ALARMS, plugins.Alarm),
]


def members(protocol: type) -> set[str]:
    return {name for base in protocol.__mro__ for name in vars(base) if name[0] != "_"}


@pytest.mark.parametrize(("kind", "protocol"), KINDS, ids=[kind.word for kind, _ in KINDS])
def test_each_has_what_its_kind_must_have(kind: plugins.PluginKind[Any], protocol: type) -> None:
    assert len(kind.names()) > 3 and "ABOUT" in members(protocol)
    for name in kind.names():
        assert not [member for member in members(protocol) if not hasattr(kind.load(name), member)], name
