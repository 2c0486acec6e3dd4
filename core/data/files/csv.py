"""Tables of text: the first row names the columns; quoted cells may contain line ends.

The delimiter of .csv is the most frequent of comma, semicolon, tab and bar in the header; .tsv uses tabs. All values
are text, an empty cell is missing.
"""

from __future__ import annotations

import csv
from itertools import chain
from typing import BinaryIO

from finetop.core.data.files import FileType, Rows, _text
from finetop.core.errors import BadData
from finetop.core.text import quoted

DELIMITERS = ",;\t|"
_NAMED = {"\t": "tabs", ",": "commas", ";": "semicolons"}
LONGEST_NAME = 64  # characters of a column's name
_NAMES = "Add a first row that names the columns, such as prompt,completion."


class CsvFile(FileType):
    about = "a table whose first row names the columns"
    endings = (".csv", ".tsv", ".tab")

    def rows(self, file: BinaryIO, name: str) -> Rows:
        """Yield each row with its first line. Raises BadData for a table without a header, or with an open quote."""
        csv.field_size_limit(_text.MAX_BYTES)
        lines = _text.lines(file, name)
        first = next((line for line in lines if line.strip()), "")
        if not first:
            return
        delimiter = "\t" if name.lower().removesuffix(".gz").endswith((".tsv", ".tab")) else _delimiter(first)
        reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            place = f"{name}:{line}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = _fault(str(error), place)
                if header is None or ("quote" in fault.message and "never" in fault.message):
                    raise fault from error  # the rest of the file is inside the quote
                yield line, fault
                continue
            if not cells:
                continue
            if header is None:
                header = _header(cells, place)
            elif len(cells) > len(header):
                hint = f"Put cells that hold {_NAMED.get(delimiter, delimiter)} in double quotes."
                message = f"has {len(cells)} cells, but there are {len(header)} columns."
                yield line, BadData(f"{place}: {message}", hint=hint)
            elif sum(map(len, cells)) > _text.MAX_BYTES:
                yield line, _text.too_long(place, "row")
            else:
                cells += [""] * (len(header) - len(cells))
                yield line, {key: cell or None for key, cell in zip(header, cells, strict=True) if key}


def _delimiter(header: str) -> str:
    """Return the delimiter of a header: the candidate that occurs most often outside quotes."""
    bare = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=bare.count)


def _header(cells: list[str], place: str) -> list[str]:
    """Return the column names. The first may be empty, as in pandas' index column, which is left out."""
    names = [cell.strip() for cell in cells]
    for number, name in enumerate(names, start=1):
        if not name and number > 1:
            raise BadData(f"{place}: column {number} has no name.", hint="Give every column a name.")
        if name and _is_value(name):
            message = f"the first row is not a header: it has {quoted(name)}."
            raise BadData(f"{place}: {message}", hint=_NAMES)
        if name in names[: number - 1]:
            raise BadData(f"{place}: two columns are called {quoted(name)}.", hint="Rename one.")
    if not any(names):
        raise BadData(f"{place}: no column has a name.", hint=_NAMES)
    return names


def _is_value(name: str) -> bool:
    """Return whether this looks like a value rather than a column name: a number, or a sentence."""
    try:
        float(name)
    except ValueError:
        return len(name) > LONGEST_NAME or (name[-1] in ".?!" and len(name.split()) > 2)
    return True


def _fault(reason: str, place: str) -> BadData:
    if "field larger" in reason or "unexpected end" in reason:
        hint = "Close it; a quote within a quoted cell is written twice."
        return BadData(f"{place}: a quote that opens in this row is never closed.", hint=hint)
    if "expected after" in reason:
        hint = 'Write a quote within one twice: "".'
        return BadData(f"{place}: a quoted cell continues after its closing quote.", hint=hint)
    if "new-line" in reason:
        hint = "Save the file with line feeds."
        return BadData(f"{place}: lines end in a carriage return alone, as on old Macs.", hint=hint)
    return BadData(f"{place}: is not a table row: {reason}.")


PLUGIN = CsvFile()
