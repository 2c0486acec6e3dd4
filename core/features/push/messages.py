"""Publishing a run on the Hugging Face hub: the card, and the request that writes the folder and uploads it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Order

Kind = Literal["adapter", "merged", "gguf"]
PICTURE = "curves.png"  # a card's, beside it


class PublicScore(msgspec.Struct, frozen=True):
    """The score of a public benchmark of which every item was scored: a line of `.eval_results`."""

    task: str
    dataset: str  # its id on the hub
    part: str  # its task id there
    value: float
    notes: str = ""


class Card(msgspec.Struct, frozen=True):
    """A model card, without what only the machine with the files knows: licences, sizes, how well outputs agree."""

    metadata: dict[str, Any]  # of huggingface_hub's ModelCardData
    body: str  # Markdown
    picture: bytes = b""  # of the curves: PICTURE
    scores: list[PublicScore] = []
    datasets: list[str] = []  # on the hub, of which the licences are looked up


class PushAnswer(msgspec.Struct, frozen=True):
    job_id: int | None  # None: the folder does not exist yet, so export there first
    run: str
    step: int


class Push(Order[PushAnswer], tag="push", frozen=True):
    """Queue the upload of an exported folder, with a card; a dry run writes the card and lists the files."""

    run: str
    folder: str  # absolute: an export of this run
    repo: str  # ORG/NAME
    kind: Kind
    card: Card
    step: Whole | None = None  # None: the run's best, else the newest
    remedy: str = ""
    quants: str = ""  # of GGUF files, separated by commas
    public: bool = False
    dry_run: bool = False
