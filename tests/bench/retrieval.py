"""Retrieval: how often the right chunk is among the first five, beside `bm25s` with its defaults, and what it costs.

    FINETOP_TEST_DATA=… python tests/bench/retrieval.py [--chunk-words 150] [--overlap-words 20] [--model FOLDER]

- kb_contoso: 168 rows of manuals, 103 questions of the test, 350 of the training rows; k1 and b were chosen on both.
  A chunk is right if it is about the question's product, has 80 % of the words of the answer and half of those of the
  question, without stop words and the product's name. Questions without such a chunk, whose answers use other words,
  are not counted.
- medquad: each question's own answer among 700, cut into chunks; any chunk of it is right.

`bm25s` gets the same chunks, and, as `rows`, the uncut rows; tokenizer, stop words, k1 and b are its defaults.
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench

from finetop.core.data import retrieval
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

K = 5


@dataclass(frozen=True)
class Texts:
    """What is searched: texts, and the row number of each, from 0."""

    texts: Sequence[str]
    rows: Sequence[int]


@dataclass(frozen=True)
class Question:
    text: str
    is_right: Callable[[Texts], set[int]]


def main() -> None:
    given = bench.options(
        __doc__,
        chunk_words=150,
        overlap_words=20,
        model=(str, "a static model's folder, to measure dense search too"),
    )
    bench.require_packages("bm25s")
    data = bench.data_folder()
    for name, documents, questions in (contoso(data, "qa_test"), contoso(data, "qa_train"), medquad(data)):
        compare(name, documents, questions, given)


def compare(name: str, documents: Path, questions: list[Question], given: argparse.Namespace) -> None:
    home = Home(bench.folder_of_its_own())
    settings = retrieval.Settings((str(documents),), given.chunk_words, given.overlap_words)
    index, ours = indexed(settings, home)
    rows = bench.read_rows(documents)
    whole = Texts([row["text"] for row in rows], range(len(rows)))
    print(f"\n{name}: {len(rows)} rows, {len(index.chunks)} chunks, {len(questions)} questions")
    report("finetop bm25", ours, questions, lambda text: ranked_rows(index, text), index.seconds)
    began = time.perf_counter()
    search = bm25s_alone(ours.texts)
    report("bm25s alone", ours, questions, search, time.perf_counter() - began)
    began = time.perf_counter()
    search = bm25s_alone(whole.texts)
    report("bm25s alone, rows", whole, questions, search, time.perf_counter() - began)
    if given.model is not None:
        dense = retrieval.Settings(
            settings.documents, given.chunk_words, given.overlap_words, "dense", given.model
        )
        index, ours = indexed(dense, home)
        report("finetop dense", ours, questions, lambda text: ranked_rows(index, text), index.seconds)


def indexed(settings: retrieval.Settings, home: Home) -> tuple[retrieval.Index, Texts]:
    index = retrieval.build(settings, home)
    rows = [int(chunk.place.rsplit(":", 1)[1]) - 1 for chunk in index.chunks]
    return index, Texts([chunk.text for chunk in index.chunks], rows)


def ranked_rows(index: retrieval.Index, text: str) -> list[int]:
    places = {id(chunk): number for number, chunk in enumerate(index.chunks)}
    return [places[id(hit.chunk)] for hit in index.search(text, K)]


def bm25s_alone(texts: Sequence[str]) -> Callable[[str], Sequence[int]]:
    import bm25s

    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(texts), show_progress=False), show_progress=False)

    def search(text: str) -> Sequence[int]:
        words = bm25s.tokenize(text, return_ids=False, show_progress=False)
        numbers, _ = index.retrieve(words, k=K, show_progress=False)
        return [int(number) for number in numbers[0]]

    return search


def report(name: str, texts: Texts, questions: list[Question], search: Any, seconds: float) -> None:
    first = among = counted = 0
    spent = words = 0.0
    for question in questions:
        right = question.is_right(texts)
        began = time.perf_counter()
        numbers = search(question.text)
        spent += time.perf_counter() - began
        words += sum(len(texts.texts[number].split()) for number in numbers)
        counted += bool(right)
        first += bool(right) and numbers[:1] and numbers[0] in right
        among += bool(right & set(numbers))
    print(
        f"  {name:18} recall at {K} {among / counted:.3f}   at 1 {first / counted:.3f}   of {counted}"
        f"   indexed in {seconds:.2f} s"
        f"   {spent / len(questions) * 1e3:.2f} ms and {words / len(questions):.0f} words a question"
    )


def contoso(data: Path, split: str) -> tuple[str, Path, list[Question]]:
    documents = data / "kb_contoso" / "kb.jsonl"
    products = [row["product"] for row in bench.read_rows(documents)]

    def question(row: dict[str, str]) -> Question:
        name = set(tokens(row["product"]))
        words = content(row["question"]) - name
        answer = content(row["answer"]) - name or set(tokens(row["answer"]))

        def is_right(texts: Texts) -> set[int]:
            right = set()
            for number, (text, of) in enumerate(zip(texts.texts, texts.rows, strict=True)):
                has = set(tokens(text)) if products[of] == row["product"] else set()
                if len(answer & has) >= 0.8 * len(answer) and len(words & has) >= 0.5 * len(words) and has:
                    right.add(number)
            return right

        return Question(row["question"], is_right)

    return (
        f"kb_contoso {split}",
        documents,
        [question(row) for row in bench.read_rows(data / "kb_contoso" / f"{split}.jsonl")],
    )


def medquad(data: Path) -> tuple[str, Path, list[Question]]:
    documents = bench.folder_of_its_own() / "answers.jsonl"
    rows = bench.read_rows(data / "medquad" / "train.jsonl")
    bench.write_rows(documents, ({"text": row["answer"]} for row in rows))

    def question(number: int, row: dict[str, str]) -> Question:
        return Question(
            row["question"], lambda texts: {at for at, of in enumerate(texts.rows) if of == number}
        )

    return "medquad", documents, [question(number, row) for number, row in enumerate(rows)]


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def content(text: str) -> set[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return set(tokens(text)) - set(STOPWORDS_EN_PLUS)


if __name__ == "__main__":
    main()
