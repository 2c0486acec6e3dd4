"""Answers that refuse, or speak of themselves as a language model: left over from the model that wrote the data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from finetop.core.lint.tally import Sight, excerpt

if TYPE_CHECKING:
    from finetop.core.lint.row import Lens, Row

ABOUT = "answers that refuse, or speak as an AI"
WHY = (
    "A model learns to refuse from few such rows, and then refuses what it could do. Keep those that should refuse;"
    " answer or remove the rest."
)
FIX = ""
SEVERITY = "warning"
HEAD = 300  # characters in which a refusal stands

_PREFACES = ("sorry", "apolog", "afraid", "unfortunately", "regrettably", "as an ai", "as ai")
_BEGINS = ("i ", "i'm ", "i’m ", "we ")
_NAMES = (
    " ai", "als ki", "language model", "artificial", "openai", "my training data", "my knowledge cut", "künstliche",
    "sprachmodell", "modèle", "modelo", "作为", "我",
)  # fmt: skip
_CANNOT = r"""
    (?: i | we ) (?:
        [ ] (?: (?: simply | just | really | currently | also ) [ ] )?
        (?: can['’]?t | cannot | can[ ]not | could(?:n['’]t|[ ]not) | won['’]?t | will[ ]not
          | am[ ](?:not[ ]able|unable)
          | do(?:n['’]t|[ ]not)[ ]have[ ](?:the[ ])?(?:ability|capabilit(?:y|ies)|access|permission)
          | must[ ](?:decline|refuse) )
      | ['’]m[ ](?:not[ ]able|unable) )
    (?: [ ]to )? [ ] (?: be[ ]able[ ]to[ ] )? (?: directly[ ] )?
"""
_REFUSES = re.compile(
    rf"""
    (?: ^ | [.!?]\s+ | \n\s* )
    (?: (?: oh | well | hi | hello | no ) [,!.]? [ ]+ )?
    (?: (?: (?: i['’]?m | i[ ]am | we['’]?re | we[ ]are ) [ ] (?: (?: really | very | so | truly ) [ ] )?
            (?: sorry | afraid ) \b [^.!?\n]{{0,40}}?
          | (?: sorry | my[ ]apologies | i[ ]apologi[sz]e | apologies ) \b [^.!?\n]{{0,60}}?
          | unfortunately | regrettably
        ) [,;:.]? \s* (?: (?: but | however,? ) [ ] )? (?: as[ ] (?: an?[ ] )? ai \b [^.!?\n]{{0,40}}? ,?[ ] )?
      | as[ ] (?: an?[ ] )? ai \b [^.!?\n]{{0,40}}? ,?[ ]
    )
    {_CANNOT}
    | ^ {_CANNOT}
    (?: help[ ](?:you[ ])?with | assist | provide | fulfil | comply | do[ ]th | generate | engage[ ]in | support
      | (?: answer | complete | respond[ ]to | discuss )[ ](?:th[ai]|your) | participate | offer[ ](?:medical|legal) )
    """,
    re.VERBOSE,
)
_SELF = re.compile(
    r"""
    \b as[ ]an?[ ] (?: ai | artificial[ ]intelligence | (?: large[ ] | ai[ ] )? language[ ]model ) \b
    | \b i (?: ['’]m | [ ]am ) [ ] (?: just[ ] | only[ ] | merely[ ] )? an?[ ]
      (?: ai | artificial[ ]intelligence | (?: large[ ] | ai[ ] )? language[ ]model ) \b
    | \b (?: trained | developed | created ) [ ] by[ ]openai \b
    | \b my[ ] (?: training[ ]data | knowledge[ ]cut-?off ) \b
    | \b als[ ] (?: ki | künstliche[ ]intelligenz | sprachmodell )
    | \b en[ ]tant[ ]qu (?: ['’]ia | e[ ]modèle[ ]de[ ]langage )
    | \b como[ ] (?: (?: un[ ] )? modelo[ ]de[ ](?:lenguaje|linguagem) | (?: una[ ] )? inteligencia[ ]artificial )
    | 作为(?:一个|一名)?(?:ai|人工智能|语言模型) | 我是一个(?:ai|人工智能) | 我无法(?:提供|回答|协助)
    """,
    re.VERBOSE,
)


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See whether the answer refuses."""
    if row.record is None or row.is_text or not row.answer:
        return None
    head = row.answer[:HEAD].lower()
    if _may_refuse(head) and (found := _REFUSES.search(head)):
        return [Sight("refuses", excerpt(row.answer, *found.span()))]
    if any(name in head for name in _NAMES) and (found := _SELF.search(head)):
        return [Sight("speaks of itself as a model", excerpt(row.answer, *found.span()))]
    return None


def _may_refuse(head: str) -> bool:
    """Ask in a microsecond what the pattern asks in twenty."""
    return head.startswith(_BEGINS) or any(word in head for word in _PREFACES)
