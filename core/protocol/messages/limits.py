"""What requests share: numbers that the store and every reader of JSON hold, and the answer that is a sentence."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Whole = Annotated[int, Meta(ge=-(2**31), lt=2**31)]  # what the store's columns hold
Large = Annotated[int, Meta(ge=-(2**53), le=2**53)]  # what every reader of JSON holds: bytes, revisions
Place = Annotated[float, Meta(ge=-(2.0**53), le=2.0**53)]  # on a chart's axis
Priority = Annotated[int, Meta(ge=0, le=100)]  # the smaller starts first


class Done(msgspec.Struct, frozen=True):
    message: str
