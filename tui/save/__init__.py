"""What the key e writes: what a screen shows, as tables and charts, in the format of the file's extension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetop.core.features.report.page import Chart, Table


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a screen shows. `name` is the file's, without extension; without tables and charts the screen is saved."""

    name: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
