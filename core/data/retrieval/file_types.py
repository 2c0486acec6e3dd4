"""How texts are read from files: plain text, Markdown, HTML, JSON lines, JSON lists and tables."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import msgspec

from finetop.core.data.files.jsonl import decode

OF_ROWS = frozenset((".jsonl", ".json", ".csv", ".tsv"))
SUFFIXES = OF_ROWS | {".txt", ".text", ".md", ".markdown", ".rst", ".html", ".htm"}
SAVE_AS_TEXT = "Save it as text."
HINTS = {".pdf": "Make it text, with pdftotext.", ".docx": "Make it text, with pandoc."}
MAX_LINE = 8 * 2**20  # bytes
MAX_WORD = 10_000  # characters without a space: machine output, not text in any language
TEXT_KEYS = ("text", "content", "body", "passage", "page_content")
TITLE_KEYS = ("title", "heading", "name")

_DATA_URI = re.compile(r"data:[\w/+.;=-]*;base64,[A-Za-z0-9+/=]+")
_BLANK_LINES = re.compile(r"\n\s*\n\s*")
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([\w-]{1,40})", re.IGNORECASE)
# Scripts without spaces between words: Kana, Han, Hangul, Thai.
UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_ENDLESS = re.compile(rf"[^\s{UNSPACED}]{{{MAX_WORD},}}")


class Unusable(Exception):
    """Why a file or row can't be used, to append to its name: ': is empty.' or ':3: is not JSON.'."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text in a file, its first line's number, and its own title, if any."""

    line: int
    title: str
    text: str


def texts(content: bytes, suffix: str, problems: list[str]) -> Iterator[Text]:
    """Yield the texts of a file, and add problems of single rows to `problems`. Raises Unusable for the whole file."""
    if not content.strip():
        raise Unusable(": is empty.")
    if suffix == ".jsonl":
        yield from _checked(_from_rows(_json_lines(content), "row", problems), problems)
        return
    text = _decode(content, suffix)
    match suffix:
        case ".json":
            texts_read = _from_rows(_json_list(text), "entry", problems)
        case ".csv" | ".tsv":
            texts_read = _from_table(text, "," if suffix == ".csv" else "\t")
        case ".html" | ".htm":
            texts_read = iter([_from_html(text)])
        case _:
            texts_read = iter([Text(1, "", text)])
    yield from _checked(texts_read, problems)


def _checked(texts_read: Iterator[Text], problems: list[str]) -> Iterator[Text]:
    """Skip texts that are not text: only white space, or endless machine output."""
    has_text = False
    for text in texts_read:
        has_text = True
        body = _DATA_URI.sub("", text.text).replace("\r\n", "\n")
        if not body.strip():
            raise Unusable(": has no text.")
        if endless := _ENDLESS.search(body):
            line = text.line + body.count("\n", 0, endless.start())
            word = f"a word of {len(endless[0]):,} characters"
            problems.append(f":{line}: has {word}: that is not human-written text.")
            continue
        yield Text(text.line, text.title, body)
    if not has_text and not problems:
        raise Unusable(": has no text.")


def _decode(content: bytes, suffix: str = "") -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(content, "utf-16")
    if content.startswith(b"%PDF"):
        raise Unusable(f": is a PDF. {HINTS['.pdf']}")
    if b"\0" in content:
        raise Unusable(f": is binary. {SAVE_AS_TEXT}")
    for number, line in enumerate(content.split(b"\n"), start=1):
        if len(line) > MAX_LINE:
            most = f"{MAX_LINE >> 20} MiB"
            raise Unusable(f":{number}: the line is longer than {most}. Break it into paragraphs.")
    if suffix in (".html", ".htm") and (named := _CHARSET.search(content[:4096])):
        return _decoded(content, named[1].decode())
    return _decoded(content, "utf-8-sig")


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError:
        raise Unusable(f": declares the encoding {encoding}, which is unknown. Save it as UTF-8.") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        name = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise Unusable(f":{line}: is not {name} text. Save the file as UTF-8.") from None


def _json_lines(content: bytes) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if len(line) > MAX_LINE:
            yield number, Unusable(f"the line is longer than {MAX_LINE >> 20} MiB")
        elif line.strip():
            yield number, _parsed(line)


def _json_list(text: str) -> Iterator[tuple[int, Any]]:
    whole = _parsed(text)
    if isinstance(whole, Unusable):
        raise Unusable(f": {whole}.")
    if isinstance(whole, dict) and _first(whole, TEXT_KEYS) is None:
        whole = [{"title": key, "text": value} for key, value in whole.items() if isinstance(value, str)]
    entries = whole if isinstance(whole, list) else [whole]
    for entry in entries:
        yield 1, {"text": entry} if isinstance(entry, str) else entry


def _parsed(text: bytes | str) -> Any:
    try:
        return decode(text)
    except UnicodeDecodeError:
        return Unusable("is not UTF-8 text")
    except RecursionError:
        return Unusable("is nested too deeply")
    except msgspec.MsgspecError as error:
        return Unusable(f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}")


def _from_rows(rows: Iterator[tuple[int, Any]], what: str, problems: list[str]) -> Iterator[Text]:
    """Yield the rows that have a text; report the first of the others, with their number."""
    count = without = 0
    first = ""
    for line, row in rows:
        count += 1
        if isinstance(row, dict) and (text := _first(row, TEXT_KEYS)) is not None:
            yield Text(line, _first(row, TITLE_KEYS) or "", text)
            continue
        without += 1
        why = str(row) if isinstance(row, Unusable) else f"has no text ({', '.join(TEXT_KEYS)})"
        first = first or f":{line}: {why}"
    if without == 1:
        problems.append(f"{first}.")
    elif without:
        problems.append(f"{first}; {without:,} of {count:,} rows can't be used.")


def _first(row: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((row[key] for key in keys if isinstance(row.get(key), str) and row[key].strip()), None)


def _from_table(text: str, delimiter: str) -> Iterator[Text]:
    """Yield each row of a table: its text column or, without one, all its columns with their names."""
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="")
    try:
        for row in reader:
            texts = ((str(key).strip(), value) for key, value in row.items() if isinstance(value, str))
            cells = {key: value for key, value in texts if value.strip()}
            by_name = {key.lower(): value for key, value in cells.items()}
            body = _first(by_name, TEXT_KEYS) or "\n".join(f"{key}: {value}" for key, value in cells.items())
            if body:
                yield Text(reader.line_num, _first(by_name, TITLE_KEYS) or "", body)
    except csv.Error as error:
        raise Unusable(f":{reader.line_num}: is not a table: {error}.") from None


def _from_html(text: str) -> Text:
    page = _Page()
    page.feed(text)
    page.close()
    return Text(1, " ".join(page.title.split()), _BLANK_LINES.sub("\n\n", "".join(page.parts)).strip())


class _Page(HTMLParser):
    """The text of a page: headings as in Markdown, list items and table rows one per line, without invisible parts."""

    UNSEEN = frozenset(("script", "style", "noscript", "template", "svg"))
    PARTS = frozenset(("p", "div", "section", "article", "header", "footer", "main", "nav", "aside"))
    PARTS |= {"figure", "table", "ul", "ol", "dl", "blockquote", "pre", "form"}
    PARTS |= {f"h{level}" for level in range(1, 7)}
    LINES = frozenset(("li", "tr", "br", "dt", "dd", "caption", "option"))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title = ""
        self._unseen = 0
        self._in_title = False
        self._in_pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.UNSEEN:
            self._unseen += 1
        elif tag == "title":
            self._in_title = True
        self._in_pre += tag == "pre"
        self._break(tag)
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.parts.append("#" * int(tag[1]) + " ")
        elif tag == "li":
            self.parts.append("- ")
        elif tag in ("td", "th"):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag == "title":
            self._in_title = False
        self._in_pre -= tag == "pre"
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._unseen:
            self.parts.append(data if self._in_pre > 0 else re.sub(r"\s+", " ", data))

    def _break(self, tag: str) -> None:
        if tag in self.PARTS:
            self.parts.append("\n\n")
        elif tag in self.LINES and not (self.parts and self.parts[-1].endswith("\n")):
            self.parts.append("\n")
