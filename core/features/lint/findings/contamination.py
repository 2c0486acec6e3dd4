"""Training rows that contain items of benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finetop.core.check.tasks.suite import find_suite
from finetop.core.data.files import stream_rows
from finetop.core.data.similarity.containment import Items
from finetop.core.data.similarity.word_codes import codes_of
from finetop.core.errors import BadInput
from finetop.core.features.lint import pair_index
from finetop.core.features.lint.pair_findings import Like, PairRule
from finetop.core.features.lint.pair_index import Gathered
from finetop.core.features.lint.second_pass import Whole
from finetop.core.recipe.schema import General
from finetop.core.runtime.files import given_path

QUESTIONS = (
    "question", "prompt", "goal", "query", "question_stem", "problem", "sentence_good", "good",
    "context", "ctx", "sentence", "instruction", "passage", "text", "page", "input",
)  # fmt: skip
LISTS = ("turns", "messages", "conversations")
Item = tuple[str, str, str]  # benchmark, item, question


class Contamination(PairRule):
    about = "training rows that contain items of a benchmark"
    why = (
        "A model that has memorised a benchmark scores well on it whatever else it has forgotten."
        " A check leaves such items out, so its verdict rests on fewer."
    )
    fix = "remove the rows"
    do = "remove the rows that contain items of a benchmark"
    roles = pair_index.SIDES[0]

    def find(self, seen: Gathered, whole: Whole) -> list[Like]:
        """Find the rows. Raises BadInput for a benchmark file without questions."""
        items = list(read(whole))
        wanted = Items([codes_of(text) for *_, text in items])
        is_trained = np.zeros(len(seen), bool)
        is_trained[seen.members(whole, pair_index.SIDES[0])] = True
        found: dict[int, Like] = {}
        for first, texts in seen.blocks():
            whole.say("benchmarks", first, len(seen))
            for hit in wanted.search(texts, 2 * first):
                number = hit.text // 2
                if is_trained[number]:
                    name, item, _ = items[hit.item]
                    how = "" if hit.is_verbatim else ", lightly edited"
                    found.setdefault(number, Like(number, name, f"{name} {item}{how}"))
        for which, text in wanted.in_pieces():
            if is_trained[text // 2]:
                name, item, _ = items[which]
                found.setdefault(text // 2, Like(text // 2, name, f"{name} {item}, in part"))
        return list(found.values())


def read(whole: Whole) -> Iterator[Item]:
    """Read the items of the recipe's suite (of quick, without one) and of `--against` files. Raises BadInput."""
    for path in whole.asked.against:
        file = given_path(path)
        is_named = file.stem not in ("open", "test", "train")
        yield from _of_file(file, file.stem if is_named else file.parent.name)
    general = ((whole.asked.recipe or {}).get("check") or {}).get("general") or {}
    suite = find_suite(str(general.get("suite") or General().suite), whole.home)
    for task in suite.tasks:
        if task.data is not None:
            yield from _of_file(Path(task.data), task.name)
    others = [task.name for task in suite.tasks if task.data is None]
    if others:
        not_searched = f"not searched for items of {', '.join(others)} of the suite {suite.name}"
        here = "a check searches for them; to do it here, give their files with --against"
        whole.notes.append(f"{not_searched}, which the harness reads: {here}")


def _of_file(file: Path, name: str) -> Iterator[Item]:
    has_any = False
    for place, row in stream_rows(file):
        for text in questions(row):
            has_any = True
            yield name, str(row.get("id", f"line {place.number}"))[:60], text
    if not has_any:
        keys = ", ".join(QUESTIONS[:5])
        raise BadInput(f"{file}: no row has a question.", hint=f"A benchmark's rows have one of {keys} …")


def questions(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the question of a benchmark's row, or all questions of a row with several turns."""
    for key in QUESTIONS:
        for spelled in (key, key.upper()):
            if isinstance(row.get(spelled), str) and row[spelled].strip():
                yield row[spelled]
                return
    if isinstance(row.get("choices"), list) and isinstance(row.get("gold"), int):
        right = row["choices"][row["gold"]] if 0 <= row["gold"] < len(row["choices"]) else None
        if isinstance(right, str):
            yield right
            return
    for key in LISTS:
        for turn in row.get(key) or () if isinstance(row.get(key), list) else ():
            text = turn if isinstance(turn, str) else _question_of(turn)
            if text:
                yield text


def _question_of(turn: Any) -> str:
    if not isinstance(turn, dict) or turn.get("role", turn.get("from")) not in ("user", "human"):
        return ""
    text = turn.get("content", turn.get("value"))
    return text if isinstance(text, str) else ""


PLUGIN = Contamination()
