"""Advice on facts that change: which approach answers new ones once it has them, and how fast it takes them in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from finetop.core.features.approaches import statistics
from finetop.core.features.approaches.fair_chance import against_training
from finetop.core.features.approaches.messages import ApproachRow, Gap, News, Score
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.text import listed
from finetop.core.wording.durations import exact_span


@dataclass(frozen=True, slots=True)
class Answered:
    """An approach's scores on the questions about new facts, before and after it had them."""

    row: ApproachRow
    news: News
    before: Score
    after: Score

    @property
    def scores(self) -> str:
        """Both scores: '0.10 to 0.80'."""
        return f"{self.before.mean:.2f} to {self.after.mean:.2f}"

    @property
    def change(self) -> str:
        """Both scores and the proven change: '0.10 to 0.80, by 0.70 [0.60, 0.80]'."""
        return self.scores + ("" if self.news.gain is None else f", by {change_text(self.news.gain)}")

    @property
    def way(self) -> str:
        """How it took the facts in, and how long that took: 'lora, after 5.2 min of training'."""
        work = {"index": "indexing", "train": "training"}.get(self.news.how, "work")
        span = "an unknown time" if self.news.seconds is None else exact_span(self.news.seconds)
        return f"{self.row.name}, after {span} of {work}"


def knowledge(done: Sequence[ApproachRow], metric: str) -> str:
    """Return which approach takes in new facts, and how fast."""
    asked = [(row, row.news, row.news.before, row.news.after) for row in done if row.news is not None]
    asked = [each for each in asked if each[2] is not None]
    if not asked:
        return "Not measured: no new facts arrived. Set approaches.update, with questions about them."
    given = [Answered(row, news, before, after) for row, news, before, after in asked if before and after]
    if not given:
        return "Not measured: no approach here was given the new facts."
    gained = [each for each in given if each.news.gain and statistics.gains(metric, each.news.gain)]
    gained.sort(key=lambda each: math.inf if each.news.seconds is None else each.news.seconds)
    lost = [each for each in given if each.news.gain and _loses(metric, each.news.gain)]
    missed = [each for each in given if each not in gained and each not in lost]
    ways = listed([each.way for each in missed], "; and ", "; ")
    text = _taken_in(gained, metric)
    if missed and gained:
        text += f" Not proven for {ways}.{_higher(missed, gained, metric)}"
    elif missed:
        text = f"No approach is proven to answer new facts better once it has them: {ways}."
    if lost:
        worse = listed([f"{each.row.name} ({each.change})" for each in lost])
        text += f" With them {worse} answered worse than before."
    retrained = [each.row for each in missed if each.news.how == "train"]
    if retrained and (why := against_training(retrained)):
        text += f" That says little about training: {why}."
    if cannot := [row.name for row, _, _, after in asked if after is None]:
        text += f" {listed(cannot)} learned none of them."
    return text.strip()


def _taken_in(gained: Sequence[Answered], metric: str) -> str:
    """Return which approaches are proven to answer new facts, the fastest first, and what that suggests."""
    if not gained:
        return ""
    ways = {each.news.how for each in gained}
    head = "Retrieve" if ways == {"index"} else "Retrain" if ways == {"train"} else "Either way"
    how = "; then ".join(f"{each.way} ({each.change})" for each in gained)
    text = f"{head}: new facts are answered better by {how}."
    best = _best(gained, metric)
    return text if best is gained[0] else f"{text} Best on them is {best.row.name}."


def _higher(missed: Sequence[Answered], gained: Sequence[Answered], metric: str) -> str:
    """Return who scores better on new facts than all that are proven to have taken them in."""
    best = _best(gained, metric).after.mean
    higher = [each for each in missed if statistics.is_better(metric, each.after.mean, best)]
    if not higher:
        return ""
    names = listed([f"{each.row.name} ({each.scores})" for each in higher])
    always = all(statistics.is_better(metric, each.before.mean, best) for each in higher)
    verb = "scores" if len(higher) == 1 else "score"
    return f" Yet {names} {verb} better on them{', and did before having them' if always else ''}."


def _best(answered: Sequence[Answered], metric: str) -> Answered:
    sign = -1 if metric in LOWER_IS_BETTER else 1
    return max(answered, key=lambda each: sign * each.after.mean)


def _loses(metric: str, change: Gap) -> bool:
    """Return True if a change for the worse is proven."""
    return change.low > 0 if metric in LOWER_IS_BETTER else change.high < 0


def change_text(gap: Gap) -> str:
    """Format the size of a difference with its interval."""
    return f"{abs(gap.mean):.2f} [{min(abs(gap.low), abs(gap.high)):.2f}, {max(abs(gap.low), abs(gap.high)):.2f}]"
