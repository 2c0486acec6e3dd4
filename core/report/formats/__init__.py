"""Formats of a report: a file a format, found by listing this folder.

A format module has `ENDING` (of its files) and `written(page)`, which gives the text of the whole file.
"""

from __future__ import annotations

from typing import Any

from finetop.core.plugins import PluginKind

FORMATS: PluginKind[Any] = PluginKind("format of a report", __name__)
names, load = FORMATS.names, FORMATS.load
