"""Answers that say nothing of their own: the question again, turns of a whole dialogue, one answer to everything."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

import numpy as np

from finetop.core.data.similarity.word_codes import codes_of, fingerprint, words_in
from finetop.core.features.lint.findings import Finder, Rule, Sight, Tally, excerpt
from finetop.core.features.lint.report import Finding
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.second_pass import Whole

LEAST_WORDS = 6  # of an answer: a shorter one may be a label, or a greeting
OFTEN = 10  # questions with one answer,
SHARE = 0.01  # and of all rows
_ANSWER = "answer"  # a sight that only names the answer and the question by their fingerprints
_TURNS = re.compile(
    r"(?:^|[\n.!?。！？]\s*)(?:user|human|usuario|utilisateur|benutzer|nutzer|用户|用戶|问)\s*[:：]\s*\S"
    r"(?:.|\n){1,400}?(?:\n|[.!?。！？]\s*)(?:assistant|ai|bot|asistente|assistent|助手|答)\s*[:：]",
    re.IGNORECASE,
)
_DIALOGUE = re.compile(
    r"dialog|conversation|chat|script|transcript|interview|user:|对话|gespräch|conversaci", re.I
)


class _Echoes(Finder):
    """Counts the answers of all rows, to tell one that many questions have."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        super().__init__(rule, lens)
        self.own = Tally(rule, lens)
        self.at, self.answers, self.questions = array("Q"), array("Q"), array("Q")

    def add(self, at: int, seen: Sequence[Sequence[str]]) -> None:
        for kind, text, *_ in seen:
            if kind == _ANSWER:
                answer, question = text.split()
                self.at.append(at)
                self.answers.append(int(answer, 16))
                self.questions.append(int(question, 16))
            else:
                self.own.add(at, [(kind, text)])

    def finish(self, whole: Whole) -> list[Finding]:
        answers, questions = (np.frombuffer(part, np.uint64) for part in (self.answers, self.questions))
        values, counts = np.unique(answers, return_counts=True)
        for value in values[counts >= max(OFTEN, SHARE * whole.rows)]:
            rows = np.flatnonzero(answers == value)
            if len(np.unique(questions[rows])) < OFTEN:
                continue  # copies of rows, which are another finding
            shown = excerpt(next(iter(whole.again([self.at[rows[0]]]))).answer)
            for row in rows.tolist():
                self.own.add(self.at[row], [(f"one answer to {len(rows)} questions", shown)])
        return self.own.finish(whole)


class Echoes(Rule):
    about = "answers that say nothing of their own"
    why = (
        "The model learns to give one answer whatever it is asked, to repeat the question, or to go on with turns of"
        " the user after its answer."
    )
    fix = ""  # what the answer should be is not in the data
    do = "write answers of their own for these rows, or remove them"
    severity = "warning"
    finder = _Echoes

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        if row.record is None or row.is_text or not row.answer or len(row.turns) < 2:
            return None
        sights = []
        before = row.turns[-2].text
        question, answer = fingerprint(before), fingerprint(row.answer)
        if question == answer and words_in(codes_of(before)) >= LEAST_WORDS:
            sights.append(Sight("the question itself", excerpt(row.answer)))
        if (match := _TURNS.search(row.answer)) and not _DIALOGUE.search(row.asked):
            sights.append(Sight("turns of a dialogue in one answer", excerpt(row.answer, *match.span())))
        if len(row.answer) > LEAST_WORDS and words_in(codes_of(row.answer[:200])) >= LEAST_WORDS:
            sights.append(Sight(_ANSWER, f"{answer:x} {fingerprint(row.asked):x}"))
        return sights or None


PLUGIN = Echoes()
