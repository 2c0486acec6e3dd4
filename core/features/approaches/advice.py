"""Advice on which approach to use, in words, from the measured numbers of one comparison alone.

Nothing counts against training unless all that train had a fair chance: see `_fair_chance`. Prices that overlap are
equal, and on a CPU nothing is compared by wall-clock time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetop.core.features.approaches import approaches, news as _news, statistics, wording as words
from finetop.core.features.approaches.fair_chance import against_training, loss_rose, rows_read
from finetop.core.features.approaches.messages import Advice, ApproachRow, Gap, Score
from finetop.core.features.approaches.news import change_text
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.text import counted, listed
from finetop.core.wording.durations import exact_span
from finetop.core.wording.units import metric_words

FEW_ROWS = 100  # with fewer, intervals are wide, and a difference of ten points may be missed
SHARES = ("rules", "exact_match")  # metrics that count answers as right or wrong
NOTES = 4  # shown, on what an approach could not use


def advice(rows: Sequence[ApproachRow], metric: str) -> list[Advice]:
    """Return the advice that a comparison's rows support; each piece names the numbers it is from."""
    done = [row for row in rows if row.target is not None]
    if len(done) < 2:
        few = "nothing is measured yet" if not done else f"only {done[0].name} is measured yet"
        return [Advice("on this target", f"No advice: {few}.")]
    so_far = "So far: " if any(row.state == "under way" for row in rows) else ""
    pieces = [
        Advice("leaks", _leaks(done)),
        Advice("on this target", so_far + _on_target(done, metric)),
        Advice("what each saw", _saw(done)),
        Advice("changing knowledge", _news.knowledge(done, metric)),
        Advice("style and format", _form(done, metric)),
        Advice("a domain's vocabulary", _vocabulary(done, metric)),
        Advice("price", _price(done, metric)),
        *(Advice("what would change this", text) for text in _changes(rows, done)),
        *(Advice("not measured", text) for text in _not_measured(rows, metric)),
    ]
    return [piece for piece in pieces if piece.text]


def _on_target(done: Sequence[ApproachRow], metric: str) -> str:
    best, name = done[0], metric_words(metric)
    level = [row for row in done[1:] if row.gap is not None and row.gap.is_open]
    head = f"{best.name} scores best, {name} {words.score(best.target)}"
    if not level:
        second = done[1]
        assert second.gap is not None
        behind = f"{second.name}, the next, is {change_text(second.gap)} behind it"
        return f"{head}; {behind}.{_misses(best, metric)}{_forgot(best)}{_yet(best, done)}"
    names = listed([row.name for row in level])
    cheap = min([best, *level], key=_cost)
    alike = listed([row.name for row in [best, *level] if row is not cheap and _costs_the_same(row, cheap)])
    rows = best.target.rows if best.target else 0
    text = f"{head}, but {names} can't be distinguished from it on {rows} rows"
    is_all = len(level) == len(done) - 1 and all(row.gap is not None and not row.gap.mean for row in level)
    if is_all:
        text = f"All score the same on {rows} rows, {name} {words.score(best.target)}"
    if alike:
        text = f"{text}. By price {cheap.name} and {alike} are the same: {_cost_words(cheap)}."
    elif cheap is best and not is_all:
        text = f"{text}; {cheap.name} is also the cheapest of them."
    else:
        text = f"{text}. The cheapest of them is {cheap.name}: {_cost_words(cheap)}."
    beware = "" if cheap is best else _forgot(cheap)
    return f"{text}{_misses(best, metric)}{beware}{_forgot(best)}{_yet(cheap, done)}"


def _leaks(done: Sequence[ApproachRow]) -> str:
    """Return whose training rows contain questions of the test, so that its score is too high."""
    leaky = [row for row in done if row.leaked]
    if not leaky:
        return ""
    worst = max(leaky, key=lambda row: row.leaked)
    many = f"{worst.leaked} of {worst.tested} questions of the test are in the training rows"
    names = listed([row.name for row in leaky])
    fix = "remove them (finetop lint names them, --fix does it) and compare again"
    return f"{many}, {worst.leaked_scored} of them scored: {names} may have seen the answers. First, {fix}."


def _yet(chosen: ApproachRow, done: Sequence[ApproachRow]) -> str:
    """Return a caveat to a choice that does not train: which trained approaches had no fair chance."""
    why = "" if chosen.trains else against_training(done)
    return f" It says little about training: {why}." if why else ""


def _saw(done: Sequence[ApproachRow]) -> str:
    """Return how many rows each approach read or was shown, and whose loss rose."""
    parts = []
    for row in done:
        if row.rows_seen is None:
            continue
        if row.trains:
            rose = (
                ", and its loss rose from {:.2f} to {:.2f}".format(*row.losses or ())
                if loss_rose(row)
                else ""
            )
            parts.append(f"{row.name} read {rows_read(row)}{rose}")
        elif row.rows_seen:
            parts.append(f"{row.name} was shown {counted(row.rows_seen, 'example')} with each question")
        else:
            parts.append(f"{row.name} saw none")
    return f"{'; '.join(parts)}." if parts else ""


def _misses(best: ApproachRow, metric: str) -> str:
    """Return that not even the best solves the task, if its score is a share of answers and surely below a half."""
    if metric not in SHARES or best.target is None or best.target.high >= 0.5:
        return ""
    most = 100 * best.target.high
    return f" None solves this: of the answers of {best.name} at most {most:.0f} % are right."


def _cost(row: ApproachRow) -> tuple[bool, float]:
    """Return the sort key by cost: training at all, then a query's price."""
    return row.trains, math.inf if row.query is None else row.query.median


def _costs_the_same(row: ApproachRow, other: ApproachRow) -> bool:
    if row.trains or other.trains or row.query is None or other.query is None:
        return False
    return statistics.is_same_price(row.query, other.query)


def _forgot(row: ApproachRow) -> str:
    retained = row.retained
    if retained is None or retained.same_weights or "regressed" not in retained.verdicts:
        return ""
    count = f"{retained.verdicts.count('regressed')} of {len(retained.verdicts)} runs"
    return f" Beware: {row.name} REGRESSED in {count}, by {retained.drop or 0.0:.1f} points."


def _form(done: Sequence[ApproachRow], metric: str) -> str:
    """Return whether training keeps a format better than prompting; only rules measure that."""
    if not any(_by_metric(row, "rules", metric)[0] for row in done):
        name = metric_words(metric)
        return f"Not measured: {name} is not a score of form. Add rules to check.target, and to its metric."
    return _trained_against_untrained(done, "rules", metric, "keeps the rules")


def _vocabulary(done: Sequence[ApproachRow], metric: str) -> str:
    """Return the advice by nats per token of right answers: how expected a domain's wording is to the model."""
    if not any(_by_metric(row, "nats_per_token", metric)[0] for row in done):
        return "Not measured: add nats_per_token to check.target.metric, which measures how expected the wording is."
    return _trained_against_untrained(done, "nats_per_token", metric, "expects the wording of right answers")


def _by_metric(row: ApproachRow, wanted: str, metric: str) -> tuple[Score | None, Gap | None]:
    """Return a row's score by a metric, and its paired difference from the best by that metric."""
    if wanted == metric:
        return row.target, row.gap
    return row.others.get(wanted), row.other_gaps.get(wanted)


def _trained_against_untrained(done: Sequence[ApproachRow], wanted: str, metric: str, does: str) -> str:
    """Compare the best trained with the best untrained approach: one of them has its difference from the best."""
    scored = [(row, *_by_metric(row, wanted, metric)) for row in done if row.name != "from-scratch"]
    known = [(row, score, gap) for row, score, gap in scored if score is not None]
    sign = 1 if wanted in LOWER_IS_BETTER else -1
    known.sort(key=lambda scored_row: sign * scored_row[1].mean)
    sides = [next((each for each in known if each[0].trains is trains), None) for trains in (True, False)]
    trained, untrained = sides
    if trained is None or untrained is None:
        which = "that trains" if trained is None else "that does not train"
        return f"Not measured: no approach {which} has such a score."
    is_trained = known.index(trained) < known.index(untrained)
    better, other = (trained, untrained) if is_trained else (untrained, trained)
    unit = " nats/token, fewer are better" if wanted == "nats_per_token" else ""
    numbers = f"{better[0].name} {words.score(better[1])}, {other[0].name} {words.score(other[1])}{unit}"
    gap = other[2] if better[2] is None else None  # the best has no difference from itself
    if gap is None or gap.is_open:
        return f"No proven difference: the best that trains and the best that does not ({numbers})."
    if better is untrained and (why := against_training(done)):
        return f"Not proven: {better[0].name} {does} better than {other[0].name} ({numbers}), but {why}."
    verb = "Train" if better is trained else "Don't train"
    head = f"{verb}: {better[0].name} {does} better than {other[0].name}"
    return f"{head} ({numbers}; paired difference {change_text(gap)}).{_forgot(better[0])}"


def _price(done: Sequence[ApproachRow], metric: str) -> str:
    """Compare a query's price with and without training; in GPU time, also when training pays off."""
    trained = [row for row in done if row.trains and row.name != "from-scratch" and row.query]
    untrained = [row for row in done if not row.trains and row.query]
    if not trained or not untrained:
        return ""
    row, other = trained[0], untrained[0]
    assert row.query is not None and other.query is not None
    text = f"{row.name}: {_cost_words(row)}; {other.name}: {_cost_words(other)}."
    if statistics.is_same_price(row.query, other.query):
        text += f" A query costs the same with both; {row.name} is trained first."
    elif row.query.median > other.query.median:
        text += f" {row.name} costs more once and no less a query."
    elif row.query.of == other.query.of == "GPU" and row.gpu_s is not None:
        saved = other.query.median - row.query.median
        text += f" In GPU time, {row.name} pays off after {math.ceil(row.gpu_s / saved):,} queries."
    else:
        text += f" A query of {row.name} costs less; the CPU time of its training is not measured."
    busy = [side.name for side in (row, other) if side.query is not None and words.is_busy(side.query)]
    return (
        f"{text} {listed(busy)}: priced on a busy machine, so price again on an idle one." if busy else text
    )


def _cost_words(row: ApproachRow) -> str:
    parts = [f"{exact_span(row.setup_s)} of set-up" if row.setup_s and row.setup_s >= 0.005 else "no set-up"]
    if row.query is not None:
        price = words.query(row.query).rstrip("!").replace(" [", f" {row.query.of} s [")
        parts.append(f"{price} a query")
    if row.prompt_tokens is not None:
        parts.append(f"{row.prompt_tokens:,.0f} tokens of prompt")
    return ", ".join(parts)


def _changes(rows: Sequence[ApproachRow], done: Sequence[ApproachRow]) -> list[str]:
    lines = []
    best = done[0].target
    level = [(row, row.gap) for row in done[1:] if row.gap is not None and row.gap.is_open]
    if best is not None and (level or best.rows < FEW_ROWS):
        text = f"More target rows: {best.rows} were scored"
        if level:
            text += f", and {listed([row.name for row, _ in level])} can't be distinguished from the best"
        nearest = min(level, key=lambda level_row: _nearness(level_row[1]), default=None)
        lines.append(f"{text}.{'' if nearest is None else _needed(*nearest)}")
    missing = [row.name for row in rows if row.state in ("under way", "failed") and row.target is None]
    if missing:
        lines.append(f"What {listed(missing)} score{'s' * (len(missing) == 1)}: not measured yet.")
    single = [row.name for row in done if row.trains and row.target is not None and row.target.seeds == 1]
    if single:
        had = f"{listed(single)} had one{' each' * (len(single) > 1)}"
        lines.append(f"Other seeds: {had}, and training differs by its seed.")
    spread = [row for row in done if row.target is not None and row.target.spread is not None]
    wide_ones = [row.name for row in spread if row.target and row.target.spread and _is_wide(row.target)]
    if wide_ones:
        lines.append(f"The seed: for {listed(wide_ones)} it moves the score more than the rows do.")
    gentler = "it REGRESSED, so what it gains costs what the base could."
    lines += [f"A gentler setting of {row.name}: {gentler}" for row in done if _forgot(row)]
    return lines


def _nearness(gap: Gap) -> float:
    return -abs(gap.mean) / (gap.high - gap.low or 1.0)


def _needed(row: ApproachRow, gap: Gap) -> str:
    """Return about how many rows would prove a difference of this size, if it is real."""
    half = (gap.high - gap.low) / 2
    if not gap.mean:
        return ""
    rows = math.ceil(gap.rows * (half / abs(gap.mean)) ** 2)
    text = f" Were the difference of {row.name} real, about {rows:,} rows would show it."
    return text if rows < 100_000 else ""


def _is_wide(score: Score) -> bool:
    return score.spread is not None and score.spread > (score.high - score.low) / 2


def _not_measured(rows: Sequence[ApproachRow], metric: str) -> list[str]:
    lines = [f"{row.name}: {row.message}." for row in rows if row.target is None]
    lines += [
        f"{row.name}, in part: {row.message}." for row in rows if row.target is not None and row.message
    ]
    done = [row for row in rows if row.target is not None]
    absent = [name for name in approaches.names() if name not in {row.name for row in rows}]
    if absent:
        them = "it" if len(absent) == 1 else "them"
        lines.append(f"{listed(absent)}: no run of this comparison is of {them}.")
    for row in done:
        more = [f"and {len(row.notes) - NOTES} more"] if len(row.notes) > NOTES else []
        lines += [f"{row.name}: {' '.join([*row.notes[:NOTES], *more])}"] if row.notes else []
    unchecked = [row.name for row in done if row.retained is None and row.name != "from-scratch"]
    if unchecked:
        lines.append(f"Whether {listed(unchecked)} forgot: no check, or no base to compare with.")
    open_ones = [row.name for row in done if row.retained and "no_verdict" in row.retained.verdicts]
    if open_ones:
        lines.append(f"Whether {listed(open_ones)} forgot: the check came to no verdict.")
    if all(row.gpu_s is None for row in done):
        lines.append(
            "GPU time and energy: n/a (no GPU). Set-up is wall-clock time, measured while other work ran."
        )
    elif all(row.energy_wh is None for row in done):
        lines.append("Energy: the GPUs report no power.")
    metric_text = f"{metric.replace('_', ' ')} is all that they were compared by"
    lines.append(
        f"Other models, other settings (each had one), and whether people like the answers: {metric_text}."
    )
    return lines
