"""Selectable columns of the list of runs, the same in app and command: `tags, age, eval_loss, train.seed`."""

from __future__ import annotations

from finetop.core.errors import BadInput, did_you_mean
from finetop.core.protocol.filter_match import number_of, since, texts_of, verdict
from finetop.core.protocol.run_filter import NUMBERS, TITLES, is_metric, is_setting
from finetop.core.protocol.runs import RunRow, word
from finetop.core.text import number_words

MOST = 12
WORDS = ("model", "method", "objective", "suite", "state", "verdict", "tags", "note")
NAMES = (*WORDS, "id", *(key for key in NUMBERS if key != "id"), "age")


def read_columns(text: str) -> tuple[str, ...]:
    """Parse a list of columns, separated by commas or blanks. Raises BadInput naming an invalid one."""
    keys = tuple(dict.fromkeys(text.replace(",", " ").split()))
    for key in keys:
        if key not in NAMES and not is_setting(key) and not is_metric(key):
            hint = did_you_mean(key[:60], [*NAMES, "loss"])
            raise BadInput(f"{key[:60]}: there is no such column.", hint=hint)
    if len(keys) > MOST:
        raise BadInput(f"{keys[MOST][:60]}: there are at most {MOST} columns.", hint="Leave some out.")
    return keys


def settings_of(columns: tuple[str, ...]) -> list[str]:
    """Return the columns that are settings of the recipe, to be requested with the rows."""
    return [key for key in columns if is_setting(key)]


def asked_for(columns: tuple[str, ...]) -> list[str]:
    """Return the columns that only the store can verify: metrics and settings."""
    return [key for key in columns if key not in NAMES]


def is_word(key: str) -> bool:
    """Return whether a column holds words; the others hold numbers, and a setting's may hold either."""
    return key in WORDS


def cell(row: RunRow, key: str, now: float) -> float | str | None:
    """Return the content of a column: an age in seconds, other numbers, words, None if empty."""
    if key == "age":
        return now - since(row)
    if is_setting(key):
        return row.settings.get(key)
    if key == "state":
        return word(row.state)
    if key == "verdict":
        return verdict(row)
    return " ".join(texts_of(row, TITLES.get(key, key))) if key in WORDS else number_of(row, key)


def word_of(value: float | str) -> str:
    """Return a setting as a word: 16, 1e-4, adamw."""
    return value if isinstance(value, str) else number_words(value, 15)
