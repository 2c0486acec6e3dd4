"""Formats of a report: a file a format, which ends with its instance of ReportFormat."""

from __future__ import annotations

from abc import ABC, abstractmethod

from finetop.core.features.report.page import Page
from finetop.core.plugins import PluginKind


class ReportFormat(ABC):
    """A format of a report."""

    ending: str  # of its files

    @abstractmethod
    def written(self, page: Page) -> str:
        """Return the text of the whole file."""


KIND: PluginKind[ReportFormat] = PluginKind("format of a report", __name__, base=ReportFormat)
names, load = KIND.names, KIND.load
