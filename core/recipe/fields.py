"""What settings there are: each with its type in words, default and help, for a form and for suggestions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from finetop.core.plugins import METHODS, OBJECTIVES
from finetop.core.recipe.schema import Method, Objective, Recipe
from finetop.core.recipe.type_words import choices, type_words
from finetop.core.recipe.validate import arms, is_struct, struct_fields

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: its dotted key, what it may be in words, its default as plain data, and one line of help.

    `choices` are the words it is limited to, if it is; `required` says that it has no default.
    """

    key: str
    type: str
    default: Any
    about: str
    choices: tuple[str, ...]
    required: bool


def fields(method: str = "lora", objective: str = "sft") -> tuple[Field, ...]:
    """List every setting of a recipe with this method and objective, in the order of the schema.

    Settings of a list's items (data.train, rules) are `data.train[].path`. Raises NotFound.
    """
    return tuple(_walk(Recipe, "", method, objective))


def _walk(kind: type[msgspec.Struct], key: str, method: str, objective: str) -> Iterator[Field]:
    for name, info in struct_fields(kind).items():
        child = f"{key}.{name}" if key else name
        if info.type is Method:
            yield _field(f"{child}.name", struct_fields(Method)["name"], METHODS.names(), default=method)
            yield from _walk(METHODS.load(method).Options, child, method, objective)
        elif info.type is Objective:
            yield _field(
                f"{child}.name", struct_fields(Objective)["name"], OBJECTIVES.names(), default=objective
            )
            yield from _walk(OBJECTIVES.load(objective).Options, child, method, objective)
        else:
            yield from _of_type(child, info, method, objective)


def _of_type(key: str, info: msgspec.structs.FieldInfo, method: str, objective: str) -> Iterator[Field]:
    kinds = arms(info.type)
    sections = [arm for arm in kinds if is_struct(arm)]
    lists = [arm.__args__[0] for arm in kinds if getattr(arm, "__origin__", None) is tuple]
    items = [item for item in lists if is_struct(item)]
    if not sections or items:
        yield _field(key, info, choices(info.type))
    for section in sections:
        yield from _walk(section, key, method, objective)
    for item in items:
        yield from _walk(item, f"{key}[]", method, objective)


def _field(
    key: str, info: msgspec.structs.FieldInfo, words: tuple[str, ...], default: Any = msgspec.NODEFAULT
) -> Field:
    if default is msgspec.NODEFAULT:
        default = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
    required = default is msgspec.NODEFAULT
    metas = getattr(info.type, "__metadata__", ())
    about = next((m.description for m in metas if isinstance(m, msgspec.Meta) and m.description), "")
    plain = None if required else msgspec.json.decode(msgspec.json.encode(default))  # tuples become lists
    kind = type_words(Literal[words]) if words else type_words(info.type)
    return Field(key, kind, plain, about, words, required)
