"""Parquet files, read in batches. Nulls and NaN are missing values."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from finetop.core.data.files import FileType, Rows, _text
from finetop.core.errors import BadData

BATCH_ROWS = 256


class ParquetFile(FileType):
    about = "a Parquet file"
    endings = (".parquet", ".pq")

    def rows(self, file: BinaryIO, name: str) -> Rows:
        """Yield each row with its number, from 1. Raises BadData for anything but an intact Parquet file."""
        number = 0
        with _table(file, name) as table:
            for batch in table.iter_batches(BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    plain = {key: _plain(value) for key, value in row.items()}
                    size = sum(len(value) for value in plain.values() if isinstance(value, str))
                    is_small = size <= _text.MAX_BYTES
                    yield number, plain if is_small else _text.too_long(f"{name}:{number}", "row")

    def count(self, file: BinaryIO, name: str) -> int:
        """Return the number of rows that a file records. Raises BadData like `rows`."""
        with _table(file, name) as table:
            return int(table.metadata.num_rows)


@contextmanager
def _table(file: BinaryIO, name: str) -> Iterator[Any]:
    """Open a Parquet file; a gzipped one is unpacked to a temporary file, since Parquet is read from the end."""
    from pyarrow import ArrowException, parquet

    with ExitStack() as held:
        if isinstance(file, gzip.GzipFile):
            unpacked = held.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, unpacked, 1 << 20)
            unpacked.seek(0)
            file = unpacked
        try:
            yield parquet.ParquetFile(file)
        except ArrowException as error:
            reason = (str(error).splitlines() or [""])[0][:160].rstrip(".")
            message = f"{name}: is not a Parquet file, or is damaged: {reason}."
            raise BadData(message, hint="Write it again.") from error


def _plain(value: Any) -> Any:
    """Convert a value to a JSON type: times and decimals to text, bytes to text if they are UTF-8."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None  # JSON has no NaN or infinity
    if isinstance(value, list | tuple):  # a tuple is an entry of a map
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None  # an image, for example
    return str(value)


PLUGIN = ParquetFile()
