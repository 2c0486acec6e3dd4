"""The advice: what to use for what, in words, from the measured numbers of one comparison and nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from finetop.core import approaches
from finetop.core.approaches import _statistics as statistics
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.protocol.messages.approaches import Advice
from finetop.core.text import counted
from finetop.core.wording.durations import exact_span
from finetop.core.wording.units import metric_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.messages.approaches import ApproachRow, Gap, Score

FEW_TO_LEARN_FROM = 50  # rows: below, a bad score may be theirs, and says little of training
FEW_ROWS = 100  # below, an interval is wide, and a difference of ten points may go unseen
SHARES = ("rules", "exact_match")  # metrics that say of each answer that it is right or is not
NOTES = 4  # of what an approach could not use


def advice(rows: Sequence[ApproachRow], metric: str) -> list[Advice]:
    """Say what the numbers of a comparison's rows speak for; each piece names the numbers that it is from."""
    done = [row for row in rows if row.target is not None]
    if len(done) < 2:
        few = "nothing is measured yet" if not done else f"only {done[0].name} is measured yet"
        return [Advice("on this target", f"No advice: {few}.")]
    so_far = "So far: " if any(row.state == "under way" for row in rows) else ""
    found = [
        Advice("on this target", so_far + _on_target(done, metric)),
        Advice("what each saw", _saw(done)),
        Advice("changing knowledge", _knowledge(done, metric)),
        Advice("style and format", _form(done, metric)),
        Advice("a domain's vocabulary", _vocabulary(done, metric)),
        Advice("price", _price(done, metric)),
        *(Advice("what would change this", text) for text in _changes(rows, done)),
        *(Advice("not measured", text) for text in _not_measured(rows, metric)),
    ]
    return [one for one in found if one.text]


def _on_target(done: Sequence[ApproachRow], metric: str) -> str:
    best, name = done[0], metric_words(metric)
    level = [row for row in done[1:] if row.gap is not None and row.gap.is_open]
    head = f"{best.name} scores best, {name} {_score(best.target)}"
    if not level:
        second = done[1]
        assert second.gap is not None
        behind = f"{second.name}, the next, is {_change(second.gap)} behind it"
        return f"{head}; {behind}.{_misses(best, metric)}{_forgot(best)}"
    names = _and([row.name for row in level])
    cheap = min([best, *level], key=_cost)
    rows = best.target.rows if best.target else 0
    text = f"{head}, but {names} can't be distinguished from it on {rows} rows"
    if len(level) == len(done) - 1 and all(row.gap is not None and not row.gap.mean for row in level):
        text = f"All score the same on {rows} rows, {name} {_score(best.target)}"
    elif cheap is best:
        return f"{text}; {cheap.name} is also the cheapest of them.{_misses(best, metric)}{_forgot(best)}"
    return (
        f"{text}. The cheapest of them is {cheap.name}: {_cost_words(cheap)}."
        f"{_misses(best, metric)}{_forgot(cheap)}{_forgot(best)}"
    )


def _saw(done: Sequence[ApproachRow]) -> str:
    """Say how many rows each learned from or was shown, and whose loss did not fall."""
    said = []
    for row in done:
        if row.rows_seen is None:
            continue
        if row.trains:
            rose = f", and its loss rose {_moved(row)}" if _rose(row) else ""
            said.append(f"{row.name} trained on {counted(row.rows_seen, 'row')}{rose}")
        elif row.rows_seen:
            said.append(f"{row.name} was shown {counted(row.rows_seen, 'example')} with each question")
        else:
            said.append(f"{row.name} saw none")
    return f"{'; '.join(said)}." if said else ""


def _moved(row: ApproachRow) -> str:
    first, last = row.losses or (math.nan, math.nan)
    return f"from {first:.2f} to {last:.2f}"


def _rose(row: ApproachRow) -> bool:
    return row.losses is not None and row.losses[1] > row.losses[0]


def _learned_little(row: ApproachRow) -> str:
    """Say why a score of this approach says little of training; nothing where it does."""
    few = row.rows_seen is not None and row.rows_seen < FEW_TO_LEARN_FROM
    if not few and not _rose(row):
        return ""
    why = (
        f"{row.name} trained on {counted(row.rows_seen or 0, 'row')}"
        if few
        else f"the loss of {row.name} rose"
    )
    also = " and its loss rose" if few and _rose(row) else ""
    return f"{why}{also}: train it on more, or with a lower train.learning_rate, before you decide"


def _misses(best: ApproachRow, metric: str) -> str:
    """Say that not even the best does the task, where its score is a share of answers and surely below a half."""
    if metric not in SHARES or best.target is None or best.target.high >= 0.5:
        return ""
    return (
        f" None does it yet: of the answers of {best.name} at most {100 * best.target.high:.0f} % are right."
    )


def _cost(row: ApproachRow) -> tuple[bool, float, float]:
    """Order by what is paid: training at all, then a query's time, then the set-up."""
    return row.trains, row.latency_s or math.inf, row.setup_s or 0.0


def _forgot(row: ApproachRow) -> str:
    retained = row.retained
    if retained is None or retained.same_weights or "regressed" not in retained.verdicts:
        return ""
    count = f"{retained.verdicts.count('regressed')} of {len(retained.verdicts)} runs"
    return f" Beware: {row.name} REGRESSED in {count}, by {retained.drop or 0.0:.1f} points."


def _knowledge(done: Sequence[ApproachRow], metric: str) -> str:
    """Which approach takes new facts in, and how soon."""
    asked = [row for row in done if row.news is not None and row.news.before is not None]
    if not asked:
        return "Not measured: no new facts arrived. Set approaches.update, with questions about them."
    tried = [row for row in asked if row.news is not None and row.news.after is not None]
    if not tried:
        return "Not measured: no approach here was given the new facts."
    took = [row for row in tried if row.news and row.news.gain and statistics.gains(metric, row.news.gain)]
    took.sort(key=_until_known)
    lost = [row for row in tried if row.news and row.news.gain and _loses(metric, row.news.gain)]
    missed = [row for row in tried if row not in took and row not in lost]
    text = _taken_in(took, metric)
    if missed and took:
        text += f" Not proven for {_and([f'{row.name}, {_by(row)}' for row in missed], '; ')}."
        text += _higher(missed, took, metric)
    elif missed:
        ways = _and([f"{row.name}, {_by(row)}" for row in missed], "; ")
        text = f"No approach is proven to answer new facts better once it has them: {ways}."
    if lost:
        text += f" With them {_and([f'{row.name} ({_by_score(row)})' for row in lost])} answered worse than before."
    cannot = [row.name for row in asked if row not in tried]
    return f"{text} {_and(cannot)} took none in.".strip() if cannot else text.strip()


def _taken_in(took: Sequence[ApproachRow], metric: str) -> str:
    """Say which approaches are proven to answer new facts, the soonest first, and what that speaks for."""
    if not took:
        return ""
    ways = {row.news.how for row in took if row.news is not None}
    head = "Look it up" if ways == {"index"} else "Train anew" if ways == {"train"} else "Either way"
    words = "; then ".join(f"{row.name}, {_by(row)} ({_by_score(row)})" for row in took)
    text = f"{head}: new facts are answered better by {words}."
    sign = -1 if metric in LOWER_IS_BETTER else 1
    best = max(took, key=lambda row: sign * (row.news.after.mean if row.news and row.news.after else 0))
    return text if best is took[0] else f"{text} Best on them is {best.name}."


def _higher(missed: Sequence[ApproachRow], took: Sequence[ApproachRow], metric: str) -> str:
    """Name who scores better on new facts than all that are proven to have taken them in."""
    means = [row.news.after.mean for row in took if row.news is not None and row.news.after is not None]
    best = min(means) if metric in LOWER_IS_BETTER else max(means)
    news = [(row.name, row.news.before, row.news.after) for row in missed if row.news is not None]
    pairs = [(name, one, two) for name, one, two in news if one is not None and two is not None]
    higher = [pair for pair in pairs if statistics.is_better(metric, pair[2].mean, best)]
    if not higher:
        return ""
    names = _and([f"{name} ({before.mean:.2f} to {after.mean:.2f})" for name, before, after in higher])
    always = all(statistics.is_better(metric, before.mean, best) for _, before, _ in higher)
    verb = "scores" if len(higher) == 1 else "score"
    return f" Yet {names} {verb} better on them{', and did before having them' if always else ''}."


def _until_known(row: ApproachRow) -> float:
    return row.news.seconds if row.news is not None and row.news.seconds is not None else math.inf


def _by(row: ApproachRow) -> str:
    """Say how an approach took new facts in, and how long that took: 'after 0.08 s of indexing'."""
    assert row.news is not None
    what = {"index": "indexing", "train": "training"}.get(row.news.how, "work")
    return f"after {exact_span(row.news.seconds) if row.news.seconds is not None else 'an unknown time'} of {what}"


def _by_score(row: ApproachRow) -> str:
    assert row.news is not None and row.news.before is not None and row.news.after is not None
    gain = "" if row.news.gain is None else f", by {_change(row.news.gain)}"
    return f"{row.news.before.mean:.2f} to {row.news.after.mean:.2f}{gain}"


def _loses(metric: str, change: Gap) -> bool:
    """Say if a change for the worse is proven."""
    return change.low > 0 if metric in LOWER_IS_BETTER else change.high < 0


def _form(done: Sequence[ApproachRow], metric: str) -> str:
    """Does training hold a form better than asking for it? Rules alone measure that."""
    if not any(_by_metric(row, "rules", metric)[0] for row in done):
        name = metric_words(metric)
        return f"Not measured: {name} is no score of form. Add rules to check.target, and to its metric."
    return _trained_against_asked(done, "rules", metric, "keeps the rules")


def _vocabulary(done: Sequence[ApproachRow], metric: str) -> str:
    """Nats a token of right answers: how expected a domain's wording is to the model."""
    if not any(_by_metric(row, "nats_per_token", metric)[0] for row in done):
        return (
            "Not measured: add nats_per_token to check.target.metric, which says how expected the wording is."
        )
    return _trained_against_asked(done, "nats_per_token", metric, "expects the wording of right answers")


def _by_metric(row: ApproachRow, wanted: str, metric: str) -> tuple[Score | None, Gap | None]:
    """Return a row's score by a metric, and its paired difference to the one that is best by it."""
    if wanted == metric:
        return row.target, row.gap
    return row.others.get(wanted), row.other_gaps.get(wanted)


def _trained_against_asked(done: Sequence[ApproachRow], wanted: str, metric: str, does: str) -> str:
    """Compare the best that trains with the best that does not: one of them has its paired difference to the best."""
    scored = [(row, *_by_metric(row, wanted, metric)) for row in done if row.name != "from-scratch"]
    known = [(row, score, gap) for row, score, gap in scored if score is not None]
    sign = 1 if wanted in LOWER_IS_BETTER else -1
    known.sort(key=lambda one: sign * one[1].mean)
    sides = [next((one for one in known if one[0].trains is trains), None) for trains in (True, False)]
    trained, asked = sides
    if trained is None or asked is None:
        which = "that trains" if trained is None else "that does not train"
        return f"Not measured: no approach {which} has such a score."
    better, other = (trained, asked) if known.index(trained) < known.index(asked) else (asked, trained)
    unit = " nats/token, fewer are better" if wanted == "nats_per_token" else ""
    numbers = f"{better[0].name} {_score(better[1])}, {other[0].name} {_score(other[1])}{unit}"
    gap = other[2] if better[2] is None else None  # the best by it has no difference to itself
    if gap is None or gap.is_open:
        return f"No proven difference: the best that trains and the best that does not ({numbers})."
    if better is asked and (why := _learned_little(trained[0])):
        return f"Not proven: {better[0].name} {does} better than {other[0].name} ({numbers}), but {why}."
    verb = "Train" if better is trained else "Don't train"
    head = f"{verb}: {better[0].name} {does} better than {other[0].name}"
    return f"{head} ({numbers}; paired difference {_change(gap)}).{_forgot(better[0])}"


def _price(done: Sequence[ApproachRow], metric: str) -> str:
    """After how many queries the time that training took is paid back by shorter prompts, where it is."""
    trained = [
        row for row in done if row.trains and row.name != "from-scratch" and row.latency_s and row.setup_s
    ]
    asked = [row for row in done if not row.trains and row.latency_s]
    if not trained or not asked:
        return ""
    row, other = trained[0], asked[0]
    assert row.latency_s is not None and other.latency_s is not None and row.setup_s is not None
    saved = other.latency_s - row.latency_s
    once = row.setup_s - (other.setup_s or 0.0)
    text = f"{row.name}: {_cost_words(row)}; {other.name}: {_cost_words(other)}."
    if saved > 0 and once > 0:
        return f"{text} In time, {row.name} is paid back after {math.ceil(once / saved):,} queries."
    return text if saved > 0 else f"{text} {row.name} costs more once and no less a query."


def _cost_words(row: ApproachRow) -> str:
    parts = [f"{exact_span(row.setup_s)} once" if row.setup_s and row.setup_s >= 0.005 else "nothing once"]
    if row.latency_s is not None:
        parts.append(f"{row.latency_s:.2f} s a query")
    if row.prompt_tokens is not None:
        parts.append(f"{row.prompt_tokens:,.0f} tokens of prompt")
    return ", ".join(parts)


def _changes(rows: Sequence[ApproachRow], done: Sequence[ApproachRow]) -> list[str]:
    found = []
    best = done[0].target
    level = [(row, row.gap) for row in done[1:] if row.gap is not None and row.gap.is_open]
    if best is not None and (level or best.rows < FEW_ROWS):
        text = f"More rows to ask: {best.rows} were"
        if level:
            text += f", and {_and([row.name for row, _ in level])} can't be distinguished from the best"
        nearest = min(level, key=lambda one: _nearness(one[1]), default=None)
        found.append(f"{text}.{'' if nearest is None else _needed(*nearest)}")
    missing = [row.name for row in rows if row.state in ("under way", "failed") and row.target is None]
    if missing:
        found.append(f"What {_and(missing)} score{'s' * (len(missing) == 1)}: not measured yet.")
    single = [row.name for row in done if row.trains and row.target is not None and row.target.seeds == 1]
    if single:
        found.append(
            f"Other seeds: {_and(single)} had one{' each' * (len(single) > 1)}, and training differs by its seed."
        )
    spread = [row for row in done if row.target is not None and row.target.spread is not None]
    wide_ones = [row.name for row in spread if row.target and row.target.spread and _is_wide(row.target)]
    if wide_ones:
        found.append(f"The seed: for {_and(wide_ones)} it moves the score more than the rows do.")
    found += [
        f"A gentler setting of {row.name}: it REGRESSED, so what it gains costs what the base could."
        for row in done
        if _forgot(row)
    ]
    return found


def _nearness(gap: Gap) -> float:
    return -abs(gap.mean) / (gap.high - gap.low or 1.0)


def _needed(row: ApproachRow, gap: Gap) -> str:
    """Say about how many rows would tell a difference as large as this one, were it real."""
    half = (gap.high - gap.low) / 2
    if not gap.mean:
        return ""
    rows = math.ceil(gap.rows * (half / abs(gap.mean)) ** 2)
    said = f" Were the difference of {row.name} real, about {rows:,} rows would show it."
    return said if rows < 100_000 else ""


def _is_wide(score: Score) -> bool:
    return score.spread is not None and score.spread > (score.high - score.low) / 2


def _not_measured(rows: Sequence[ApproachRow], metric: str) -> list[str]:
    found = [f"{row.name}: {row.said}." for row in rows if row.target is None]
    found += [f"{row.name}, in part: {row.said}." for row in rows if row.target is not None and row.said]
    done = [row for row in rows if row.target is not None]
    absent = [name for name in approaches.names() if name not in {row.name for row in rows}]
    if absent:
        found.append(
            f"{_and(absent)}: no run of this comparison is of {'it' if len(absent) == 1 else 'them'}."
        )
    for row in done:
        more = [f"and {len(row.notes) - NOTES} more"] if len(row.notes) > NOTES else []
        found += [f"{row.name}: {' '.join([*row.notes[:NOTES], *more])}"] if row.notes else []
    unchecked = [row.name for row in done if row.retained is None and row.name != "from-scratch"]
    if unchecked:
        found.append(f"Whether {_and(unchecked)} forgot: no check, or no base to compare with.")
    open_ones = [row.name for row in done if row.retained and "no_verdict" in row.retained.verdicts]
    if open_ones:
        found.append(f"Whether {_and(open_ones)} forgot: the check came to no verdict.")
    if all(row.gpu_s is None for row in done):
        found.append(
            "GPU time and energy: no GPU was used; seconds are of this machine's CPU, with all else that ran on it."
        )
    elif all(row.energy_wh is None for row in done):
        found.append("Energy: the GPUs report no power.")
    asked = f"{metric.replace('_', ' ')} is all that they were compared by"
    found.append(
        f"Other models, other settings (each had one), and whether people like the answers: {asked}."
    )
    return found


def _score(score: Score | None) -> str:
    if score is None:
        return "-"
    return f"{score.mean:.2f} [{score.low:.2f}, {score.high:.2f}]"


def _change(gap: Gap) -> str:
    return f"{abs(gap.mean):.2f} [{min(abs(gap.low), abs(gap.high)):.2f}, {max(abs(gap.low), abs(gap.high)):.2f}]"


def _and(names: Sequence[str], apart: str = ", ") -> str:
    if len(names) < 2:
        return names[0] if names else ""
    return f"{apart.join(names[:-1])}{apart.rstrip() if apart != ', ' else ''} and {names[-1]}"
