"""Base types of requests: each names the type of its answer, so that `ask` returns it."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

Answer = TypeVar("Answer", covariant=True)


class Request(msgspec.Struct, Generic[Answer], tag_field="verb", frozen=True):
    """A request that is answered with an `Answer`; its verb is the subclass's tag."""

    makes_home: ClassVar[bool] = False  # whether a missing home is created for it


class Question(Request[Answer], frozen=True):
    """A read-only request: it may be repeated if the connection broke before the answer came."""


class Order(Request[Answer], frozen=True):
    """A request that changes something: if the connection broke, whether it took effect is unknown."""

    def stored(self) -> Order[Answer]:
        """Return what of it is stored with a run: all, unless it brings what must not be."""
        return self


Ask = Request[Any]


def answer_type(request: type[Ask]) -> Any:
    """Return the type of a request's answer."""
    (base,) = request.__orig_bases__  # type: ignore[attr-defined]
    return base.__args__[0]
