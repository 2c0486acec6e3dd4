"""SQL that reads one field of a JSON column, row by row.

DuckDB's JSON functions keep what they parsed of a whole chunk (2,048 rows, per expression and thread): with 100 metrics
per run, two terms of a filter needed more than the store's 64 MB. A regular expression needs the same few bytes for any
number of rows. It is exact because the texts are our own: a quote inside a string or a name has a backslash before it,
so that no value looks like a field; and lists that hold further objects come after the fields that are read.
"""

from __future__ import annotations

import re

_QUOTED = r'"((?:[^"\\]|\\.)*)"'


def text(column: str, key: str) -> str:
    """Return a text field as SQL: '' if the JSON lacks it, NULL if the column is NULL."""
    return _unescaped(f"regexp_extract({column}, '\"{key}\":{_QUOTED}', 1)")


def is_filled(column: str, key: str) -> str:
    """Return as SQL whether a text field is there and not empty: false if the column is NULL."""
    return f'coalesce(regexp_matches({column}, \'"{key}":"[^"]\'), false)'


def equals(column: str, key: str, value: str) -> str:
    """Return as SQL whether a text field has this value, which needs no escaping: false if the column is NULL."""
    return f'coalesce(contains({column}, \'"{key}":"{value}"\'), false)'


def number(column: str, pattern: str) -> str:
    """Return a number as SQL, NULL if there is none. `pattern` is the SQL of its `number_pattern`."""
    return f"TRY_CAST(regexp_extract({column}, {pattern}, 1) AS DOUBLE)"


def number_pattern(key: str) -> str:
    """Return the regular expression that finds a number by its name."""
    return rf'[{{,]"{re.escape(key)}":([^,}}]+)'


def texts(column: str) -> str:
    """Return a list of texts as SQL."""
    found = f"regexp_extract_all({column}, '{_QUOTED}', 1)"
    return f"list_transform({found}, lambda piece: {_unescaped('piece')})"


def _unescaped(found: str) -> str:
    whole = f"json_extract_string('\"' || {found} || '\"', '$')"
    return f"CASE WHEN contains({found}, '\\') THEN {whole} ELSE {found} END"
