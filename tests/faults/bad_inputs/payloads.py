"""20 texts that would control a terminal, and what is shown of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Payload:
    """A text from outside: in a log, a sample, a name."""

    what: str
    text: str
    shown: str  # on one line


EXAMPLES = [
    Payload("a title", "a\x1b]0;owned\x07b", "ab"),
    Payload("the clipboard", "a\x1b]52;c;cm0gLXJm\x07b", "ab"),
    Payload("a clear screen", "a\x1b[2Jb", "ab"),
    Payload("the other screen", "a\x1b[?1049h\x1b[?1049lb", "ab"),
    Payload("CSI in one character", "a\x9b2Jb", "ab"),
    Payload("OSC in one character", "a\x9d0;owned\x9cb", "ab"),
    Payload("a title that never ends", "a\x1b]0;blank the screen", "a"),
    Payload("a device control string", "a\x1bP+q544e\x1b\\b", "ab"),
    Payload("an application's command", "a\x1b_payload\x1b\\b", "ab"),
    Payload("a reset", "a\x1bcb", "ab"),
    Payload("right to left", "photo\u202egpj.exe", "photo<202E>gpj.exe"),
    Payload("an isolate", "a\u2066hidden\u2069b", "a<2066>hidden<2069>b"),
    Payload("a lone carriage return", "good\rbad", "bad"),
    Payload("backspaces", "secret\b\b\b\b\b\bpublic", "secretpublic"),
    Payload("a bell", "a\x07\x07b", "ab"),
    Payload("another character set", "a\x0e\x0fb", "ab"),
    Payload("a NUL", "a\0b", "ab"),
    Payload("a line of 1,000,000 characters", "x" * 1_000_000 + "\x1b[31m", "x" * 4093 + "…"),
    Payload("joins of no width", "a\u200db" * 50, "a<200D>b" * 50),
    Payload("wide and combining", "漢字é\u0301\u0301" * 40, "漢字é\u0301\u0301" * 40),
]
