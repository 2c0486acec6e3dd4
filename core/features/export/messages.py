"""Exports: a run's checkpoint as a whole model, GGUF files, or its adapter alone."""

from __future__ import annotations

import msgspec

from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Order


class ExportAnswer(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    step: int
    warning: str = ""  # that the step regressed, or changed since its check


class Export(Order[ExportAnswer], tag="export", frozen=True):
    """Queue the export of a run's checkpoint as one whole model, as GGUF files, or of its adapter alone."""

    run: str
    to: str  # absolute, must not exist yet
    step: Whole | None = None  # None: the run's best, else the newest
    dtype: str = "auto"
    remedy: str = ""  # export this remedy's model instead of the checkpoint's
    adapter: bool = False  # the adapter alone, in its own dtype
    quants: str = ""  # GGUF files of these formats: `q8_0,q4_k_m`
    unchecked: bool = False  # GGUF files are not asked the items of the run's check
    anyway: bool = False  # and written even if REGRESSED
