"""How prompts are built: what a recipe's `ask:` adds to a row's prompt, the same in training and in every score.

A system turn, passages of documents that match the question, and examples before it. Training rows get no examples,
since the examples are taken from them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from finetop.core.data.formats import Conversation, Message, Record, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.data.retrieval import Index
    from finetop.core.recipe.schema import Ask, Source
    from finetop.core.runtime.home import Home

LEAD = "Use these passages to answer:"
NEAREST_OF = 5000  # maximum training rows searched for the nearest examples


@dataclass(frozen=True)
class Asker:
    """The additions to prompts, ready for look-ups. `seconds` is the time that preparing them took."""

    ask: Ask
    index: Index | None = None
    pool: tuple[Conversation, ...] = ()  # where examples are taken from
    nearest: Any = None  # a search among their questions
    seconds: float = 0.0
    spent: list[float] = field(default_factory=list)  # CPU seconds per prompt built
    passage_counts: list[int] = field(default_factory=list)  # passages per prompt built

    @property
    def passed_over(self) -> list[str]:
        """Return why documents could not be used, one line each."""
        return [] if self.index is None else [f"documents: {line}" for line in self.index.passed_over]

    def asked(self, record: Record) -> Record:
        """Return a row with its prompt as the model gets it; a plain text has none and stays."""
        if isinstance(record, Text):
            return record
        began = time.process_time()
        prompt = self.prompt(record.prompt)
        self.spent.append(time.process_time() - began)
        return replace(record, prompt=prompt)

    def prompt(self, prompt: tuple[Message, ...]) -> tuple[Message, ...]:
        """Add the system turn, the examples and the passages to a prompt, whose last turn is the question."""
        own = prompt[0].content if prompt and prompt[0].role == "system" else ""
        turns = prompt[1:] if own or (prompt and prompt[0].role == "system") else prompt
        if not turns:
            return prompt
        system = "\n\n".join(filter(None, (self.ask.system, own)))
        question = turns[-1].content
        hits = self.index.search(question, self.ask.top_k) if self.index else []
        passages = [hit.chunk.text for hit in hits]
        self.passage_counts.append(len(passages))
        last = replace(turns[-1], content=with_passages(question, passages))
        examples = [turn for shot in self._shots(question) for turn in shot.messages]
        shots = [turn for turn in examples if turn.role != "system"]  # a conversation may have only one
        return (*([Message("system", system)] if system else []), *shots, *turns[:-1], last)

    def _shots(self, question: str) -> Sequence[Conversation]:
        count = min(self.ask.shots, len(self.pool))
        if not count:
            return ()
        if self.nearest is None:
            return [self.pool[at * len(self.pool) // count] for at in range(count)]
        scores = self.nearest.scores(question)
        order = sorted(range(len(self.pool)), key=lambda at: (-float(scores[at]), at))
        best = [self.pool[at] for at in order[: count + 1] if _question(self.pool[at]) != question]
        return best[:count][::-1]  # the most similar one comes right before the question


def open_asker(ask: Ask, train: Sequence[Source], home: Home, *, shots: bool = True) -> Asker | None:
    """Prepare the additions to prompts, or return None; `shots` is false for training rows. Raises BadInput."""
    if ask.system is None and not ask.documents and not (shots and ask.shots):
        return None
    index = _index(ask, home) if ask.documents else None
    began = time.perf_counter()
    pool = _pool(train, home) if shots and ask.shots else ()
    nearest = _searched(pool) if pool and ask.pick == "nearest" else None
    building_s = 0.0 if index is None else index.seconds  # now or, of an existing index, then
    return Asker(ask, index, pool, nearest, building_s + time.perf_counter() - began)


def print_skipped(asker: Asker | None) -> None:
    """Print which documents could not be used, into a job's log."""
    for line in asker.passed_over if asker is not None else ():
        print(line, flush=True)


def _index(ask: Ask, home: Home) -> Index:
    """Index the documents, or load their existing index."""
    from finetop.core.data import retrieval

    settings = retrieval.Settings(ask.documents, ask.chunk_words, ask.overlap_words, ask.search, ask.embedder)
    return retrieval.build(settings, home)


def _pool(train: Sequence[Source], home: Home) -> tuple[Conversation, ...]:
    """Read the rows that examples are taken from: all training rows except replayed ones."""
    from finetop.core.data import sources

    rows_by_source = [sources.read(source, home) for source in train if source.role == "train"]
    return tuple([row.conversation for rows in rows_by_source for row in rows][:NEAREST_OF])


def _searched(pool: Sequence[Conversation]) -> Any:
    import bm25s

    from finetop.core.data.retrieval.bm25 import BM25, words

    index = bm25s.BM25(backend="numpy")
    index.index([words(_question(shot)) for shot in pool], show_progress=False)
    return BM25(index)


def _question(conversation: Conversation) -> str:
    return conversation.prompt[-1].content if conversation.prompt else ""


def with_passages(question: str, passages: Sequence[str]) -> str:
    """Put passages before a question, the best one last."""
    if not passages:
        return question
    return "\n\n".join([LEAD, *reversed(passages), question])
