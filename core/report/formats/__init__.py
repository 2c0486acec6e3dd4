"""Formats of a report: a file a format, which ends with its instance of ReportFormat."""

from __future__ import annotations

from abc import abstractmethod

from finetop.core.plugins import Plugin, PluginKind
from finetop.core.report import Page


class ReportFormat(Plugin):
    """A format of a report."""

    ending: str  # of its files

    @abstractmethod
    def written(self, page: Page) -> str:
        """Write the whole file."""


FORMATS: PluginKind[ReportFormat] = PluginKind("format of a report", __name__, base=ReportFormat)
names, load = FORMATS.names, FORMATS.load
