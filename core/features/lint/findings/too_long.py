"""Rows longer than data.max_tokens: cut, dropped or refused, depending on the recipe's setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from finetop.core.features.lint.findings import Finder, Rule, example
from finetop.core.features.lint.report import EXAMPLES, PLACES, Finding
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.second_pass import Whole


class _Lengths(Finder):
    """Adds up what is lost."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        super().__init__(rule, lens)
        self.rows = 0
        self.of_source: Counter[int] = Counter()
        self.lost = 0  # learned tokens
        self.answers_cut = 0
        self.first: list[tuple[int, int]] = []
        self.longest: list[tuple[int, int]] = []  # tokens, row

    def add(self, at: int, seen: Sequence[int]) -> None:
        source, tokens, learned, kept = seen
        self.rows += 1
        self.of_source[source] += 1
        self.lost += learned - kept
        self.answers_cut += kept < learned
        if len(self.first) < PLACES:
            self.first.append((at, tokens))
        self.longest = sorted([*self.longest, (tokens, at)], reverse=True)[:EXAMPLES]

    def finish(self, whole: Whole) -> list[Finding]:
        """Report what happens to these rows."""
        if not self.rows:
            return []
        allowed = (self.lens.on_long or "").removeprefix("error-over-").removesuffix("%")
        counts = [(whole.reads[source], rows) for source, rows in self.of_source.items()]
        if allowed.isdecimal():
            counts = [(read, rows) for read, rows in counts if 100 * rows > int(allowed) * read.rows]
        refusing = [read.name for read, _ in counts] if allowed.isdecimal() else []
        return [
            self.rule.finding(
                whole,
                self.rows,
                (at for at, _ in self.first),
                about=f"{self.rule.about} ({self.lens.max_tokens:,})",
                severity="error" if refusing else "warning",
                why=self._why(refusing[0] if refusing else ""),
                examples=tuple(example(whole.place(at), f"{tokens:,} tokens") for tokens, at in self.longest),
            )
        ]

    def _why(self, refused: str) -> str:
        """Return what happens to these rows; `refused` names a source that has too many of them."""
        on_long = self.lens.on_long
        if refused:
            fix = "Raise data.max_tokens, or set data.on_long to truncate or drop."
            return f"data.on_long is {on_long}: training refuses {refused}. {fix}"
        if on_long == "truncate":
            lost = f"{self.answers_cut:,} lose part of the answer, {self.lost:,} tokens in all"
            fix = "Raise data.max_tokens, shorten the prompts, or drop such rows."
            return f"They are truncated: {lost}, and the model learns to break off there. {fix}"
        if on_long is None:
            return "Such rows are truncated, dropped or refused, depending on data.on_long."
        lost = "long answers are never learned. Raise data.max_tokens."
        return f"They are dropped, with {self.lost:,} tokens to learn: {lost}"


class TooLong(Rule):
    about = "rows that are longer than data.max_tokens"
    why = ""  # depends on data.on_long
    fix = ""  # only the user knows the right max_tokens and on_long
    do = "raise data.max_tokens, or shorten the rows"
    finder = _Lengths

    def scan(self, row: Row, lens: Lens) -> list[int] | None:
        """Return source, tokens, learned tokens and kept tokens of a row that is too long."""
        if lens.max_tokens is None or row.is_text or row.tokens <= lens.max_tokens:
            return None
        return [row.source, row.tokens, row.learned, row.kept]


PLUGIN = TooLong()
