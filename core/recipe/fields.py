"""The settings of a recipe, each with its type in words, default and help, for a form and for suggestions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from finetop.core.errors import NotFound, did_you_mean
from finetop.core.plugins import METHODS, OBJECTIVES, PROTECTIONS
from finetop.core.recipe.schema import Method, Recipe
from finetop.core.recipe.type_words import choices, type_words
from finetop.core.recipe.validate import CHOICES, arms, is_struct, item_of, struct_fields

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: its dotted key, its allowed values in words, its default as plain data, and one line of help.

    `choices` are the words it is limited to, if any; `required` means that it has no default.
    """

    key: str
    type: str
    default: Any
    about: str
    choices: tuple[str, ...]
    required: bool


@cache
def fields(method: str = "lora", objective: str = "sft") -> tuple[Field, ...]:
    """Return every setting of a recipe with this method and objective, in the order of the schema.

    Settings of a list's items (data.train, rules) are `data.train[].path`. Raises NotFound. Kept: it takes 60 ms of
    CPU, and Compare needs it for each run whenever it is drawn.
    """
    return tuple(_walk(Recipe, "", method, objective))


def sections() -> dict[str, str]:
    """Return a recipe's top-level keys, in the order of the schema, with one line of help each."""
    return {
        name: _about(info.type) if not is_struct(info.type) else (info.type.__doc__ or "").partition("\n")[0]
        for name, info in struct_fields(Recipe).items()
    }


def fields_of_section(key: str) -> tuple[Field, ...]:
    """Return the settings at and below a key such as `train`, without those of one method. Raises NotFound."""
    below = ("method.", "objective.")
    known = [field for field in fields() if not field.key.startswith(below) or field.key.endswith(".name")]
    inside = (f"{key}.", f"{key}[")
    if matching := tuple(field for field in known if field.key == key or field.key.startswith(inside)):
        return matching
    if key.startswith(below):
        hint = f"See `finetop {'methods lora' if key.startswith('method.') else 'methods sft'}`, or another name."
        raise NotFound(f"{key} is a setting of one {key.partition('.')[0]}.", hint=hint)
    names = [*sections(), *(field.key for field in known)]
    raise NotFound(f"there is no section or setting {key!r} in a recipe.", hint=did_you_mean(key, names))


def fields_of_plugin(name: str) -> dict[str, tuple[str, tuple[Field, ...]]]:
    """Return, by `method`, `objective` or `protect`, a plugin's line of help and its settings. Raises NotFound."""
    by_kind = {}
    for kind, plugins in (("method", METHODS), ("objective", OBJECTIVES)):
        if name in plugins.names():
            own = [field for field in fields(**{kind: name}) if field.key.startswith(f"{kind}.")]
            by_kind[kind] = plugins.load(name).about, tuple(own[1:])
    if name in PROTECTIONS.names():
        by_kind["protect"] = PROTECTIONS.load(name).about, fields_of_section(f"protect.{name}")
    if not by_kind:
        names = [*METHODS.names(), *OBJECTIVES.names(), *PROTECTIONS.names()]
        message = f"there is no method, objective or protection {name!r}."
        raise NotFound(message, hint=did_you_mean(name, names))
    return by_kind


def _about(annotation: Any) -> str:
    """Return a setting's line of help: a text beside its type, as in schema.py, or a Meta's description."""
    metas = getattr(annotation, "__metadata__", ())
    return next((text for m in metas if (text := m if isinstance(m, str) else m.description)), "")


def _walk(kind: type[msgspec.Struct], key: str, method: str, objective: str) -> Iterator[Field]:
    for name, info in struct_fields(kind).items():
        child = f"{key}.{name}" if key else name
        if info.type in tuple(CHOICES):
            plugins, chosen = CHOICES[info.type], method if info.type is Method else objective
            yield _field(f"{child}.name", struct_fields(info.type)["name"], plugins.names(), default=chosen)
            yield from _walk(plugins.load(chosen).options, child, method, objective)
        else:
            yield from _of_type(child, info, method, objective)


def _of_type(key: str, info: msgspec.structs.FieldInfo, method: str, objective: str) -> Iterator[Field]:
    sections, item = [arm for arm in arms(info.type) if is_struct(arm)], item_of(info.type)
    if not sections or is_struct(item):
        yield _field(key, info, choices(info.type))
    for section in sections:
        yield from _walk(section, key, method, objective)
    if is_struct(item):
        yield from _walk(item, f"{key}[]", method, objective)


def _field(
    key: str, info: msgspec.structs.FieldInfo, allowed: tuple[str, ...], default: Any = msgspec.NODEFAULT
) -> Field:
    if default is msgspec.NODEFAULT:
        default = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
    required = default is msgspec.NODEFAULT
    plain = None if required else msgspec.json.decode(msgspec.json.encode(default))  # tuples become lists
    kind = type_words(Literal[allowed]) if allowed else type_words(info.type)
    return Field(key, kind, plain, _about(info.type), allowed, required)
