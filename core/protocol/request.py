"""What a client may ask, as a type: each request names the type of its answer, so that `ask` gives that."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

Answer = TypeVar("Answer", covariant=True)


class Request(msgspec.Struct, Generic[Answer], tag_field="verb", frozen=True):
    """A request that is answered with an `Answer`; its verb is the subclass's tag."""

    makes_home: ClassVar[bool] = False  # it begins something: where there is no home yet, it is made for it


class Question(Request[Answer], frozen=True):
    """It only looks: it may be asked again where a connection broke before the answer came."""


class Order(Request[Answer], frozen=True):
    """It changes something: where a connection broke, whether it was done is not known."""


Ask = Request[Any]


def answer_type(request: type[Ask]) -> Any:
    """Name the type of a request's answer."""
    (base,) = request.__orig_bases__  # type: ignore[attr-defined]
    return base.__args__[0]
