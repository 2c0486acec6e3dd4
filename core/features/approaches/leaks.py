"""Questions of the target's test that the training rows contain: what an approach reads of them, it need not learn."""

from __future__ import annotations

from finetop.core.check.context import contaminated, training_texts
from finetop.core.check.scoring.target import ROWS
from finetop.core.data import target_rows
from finetop.core.data.formats import Conversation, Text
from finetop.core.errors import FinetopError
from finetop.core.recipe.schema import Recipe, Target
from finetop.core.runtime.home import Home


def leaked(recipe: Recipe, target: Target, home: Home) -> tuple[int, list[str]]:
    """Return how many questions of the test were searched for in the training rows, and the numbers of those found.

    Verbatim or lightly edited, as a check finds items of its suite. (0, []) if the training rows can't be read.
    """
    questions: dict[tuple[str, str], str] = {}
    for number, row in enumerate(target_rows.read(target, target.source, home)[:ROWS]):
        match row.record:
            case Conversation(prompt):
                questions["target", str(number)] = prompt[-1].content
            case Text(text):
                questions["target", str(number)] = text
    try:
        found = contaminated(questions, training_texts(recipe, home))
    except FinetopError as error:
        print(f"not searched for questions of the test: {error.message}", flush=True)
        return 0, []
    return len(questions), [item for _, item in found]
