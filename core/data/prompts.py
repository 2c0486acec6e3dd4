"""How a model is asked: what a recipe's `ask:` puts into the prompt of a row, the same in training and in every score.

A system turn, passages of documents that fit the question, and examples before it. Rows to learn from get no
examples: they are what the examples are taken from.
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
NEAREST_OF = 5000  # training rows at most that the nearest examples are looked for among


@dataclass(frozen=True)
class Asker:
    """What is put into prompts, ready to be looked up. `seconds` is what making it ready took."""

    ask: Ask
    index: Index | None = None
    pool: tuple[Conversation, ...] = ()  # examples are taken from these
    nearest: Any = None  # a search among their questions
    seconds: float = 0.0
    spent: list[float] = field(default_factory=list)  # by each prompt that it made, in CPU seconds
    found: list[int] = field(default_factory=list)  # passages in each prompt that it made

    @property
    def passed_over(self) -> list[str]:
        """Say of each document that could not be used why, a line each."""
        return [] if self.index is None else [f"documents: {line}" for line in self.index.passed_over]

    def asked(self, record: Record) -> Record:
        """Return a row with its prompt as the model is asked it; a plain text has no prompt."""
        if isinstance(record, Text):
            return record
        began = time.process_time()
        prompt = self.prompt(record.prompt)
        self.spent.append(time.process_time() - began)
        return replace(record, prompt=prompt)

    def prompt(self, prompt: tuple[Message, ...]) -> tuple[Message, ...]:
        """Put the system turn, the examples and the passages into a prompt, whose last turn asks."""
        own = prompt[0].content if prompt and prompt[0].role == "system" else ""
        turns = prompt[1:] if own or (prompt and prompt[0].role == "system") else prompt
        if not turns:
            return prompt
        system = "\n\n".join(filter(None, (self.ask.system, own)))
        question = turns[-1].content
        passages = (
            [hit.chunk.text for hit in self.index.search(question, self.ask.top_k)] if self.index else []
        )
        self.found.append(len(passages))
        last = replace(turns[-1], content=with_passages(question, passages))
        shots = [turn for shot in self._shots(question) for turn in _as_turns(shot)]
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
        return best[:count][::-1]  # the one most alike stands next to the question


def open_asker(ask: Ask, train: Sequence[Source], home: Home, *, shots: bool = True) -> Asker | None:
    """Make ready what prompts get; None where that is nothing. `shots` is false for rows to learn from.

    Raises BadInput for documents and rows that can't be read.
    """
    if ask.system is None and not ask.documents and not (shots and ask.shots):
        return None
    index, seconds = _index(ask, home) if ask.documents else (None, 0.0)
    began = time.perf_counter()
    pool = _pool(train, home) if shots and ask.shots else ()
    nearest = _searched(pool) if pool and ask.pick == "nearest" else None
    return Asker(ask, index, pool, nearest, seconds + time.perf_counter() - began)


def tell(asker: Asker | None) -> None:
    """Print what of the documents could not be used, into the log of a job."""
    for line in asker.passed_over if asker is not None else ():
        print(line, flush=True)


def _index(ask: Ask, home: Home) -> tuple[Index, float]:
    """Index the documents, or find the index that was made of them; and what making it took, then or now."""
    from finetop.core.data import retrieval

    index = retrieval.build(
        retrieval.Settings(
            documents=ask.documents,
            chunk_words=ask.chunk_words,
            overlap_words=ask.overlap_words,
            search=ask.search,
            model=ask.embedder,
        ),
        home,
    )
    return index, index.seconds


def _pool(train: Sequence[Source], home: Home) -> tuple[Conversation, ...]:
    """Read the rows that examples are taken from: all training rows that are not there against forgetting."""
    from finetop.core.data import sources

    rows = [row.conversation for one in train if one.role == "train" for row in sources.read(one, home)]
    return tuple(rows[:NEAREST_OF])


def _searched(pool: Sequence[Conversation]) -> Any:
    import bm25s

    from finetop.core.data.retrieval.bm25 import BM25, words

    index = bm25s.BM25(backend="numpy")
    index.index([words(_question(one)) for one in pool], show_progress=False)
    return BM25(index)


def _question(conversation: Conversation) -> str:
    return conversation.prompt[-1].content if conversation.prompt else ""


def _as_turns(shot: Conversation) -> tuple[Message, ...]:
    """Return an example as turns; its own system turn is left out, as a conversation has one at most."""
    return tuple(turn for turn in shot.messages if turn.role != "system")


def with_passages(question: str, passages: Sequence[str]) -> str:
    """Put passages before a question; the best stands next to it."""
    if not passages:
        return question
    return "\n\n".join([LEAD, *reversed(passages), question])
