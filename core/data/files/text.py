"""Plain text and Markdown: a file is one row of {"text"}; a long one is split between paragraphs, at about 1 MiB."""

from __future__ import annotations

from typing import BinaryIO

from finetop.core.data.files import FileType, Rows, _text, jsonl
from finetop.core.errors import BadData

ROW_CHARACTERS = 1 << 20


class TextFile(FileType):
    about = "plain text or Markdown: a file is one row of text"
    endings = (".txt", ".text", ".md", ".markdown")

    def rows(self, file: BinaryIO, name: str) -> Rows:
        """Yield the text with the number of its first line. Raises BadData for anything else, and for JSON lines."""
        part: list[str] = []
        begin, size = 1, 0
        for number, line in enumerate(_text.lines(file, name), start=1):
            is_object = number == 1 and line.startswith("{")
            if is_object and isinstance(jsonl.row_of(line.encode(), name, 1), dict):
                raise BadData(f"{name}: holds JSON lines, not text.", hint="Rename it to .jsonl.")
            part.append(line)
            size += len(line)
            if size >= ROW_CHARACTERS and not line.strip():
                yield begin, {"text": "".join(part).replace("\r\n", "\n").strip("\n")}
                part, begin, size = [], number + 1, 0
            elif size > _text.MAX_BYTES:
                said = f"{name}:{begin}: has no blank line within {_text.MAX_BYTES >> 20} MiB."
                raise BadData(said, hint="Put blank lines between paragraphs, or split the file.")
        if text := "".join(part).replace("\r\n", "\n").strip("\n"):
            yield begin, {"text": text}


PLUGIN = TextFile()
