"""The advice: what to use for what, in words, from the measured numbers of one comparison and nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from finetop.core.approaches import _statistics as statistics
from finetop.core.check.telling.result import LOWER_IS_BETTER
from finetop.core.protocol.approaching import Advice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.approaching import ApproachRow, Gap, Score

FEW_ROWS = 100  # below, an interval is wide, and a difference of ten points may go unseen
CONTENT = ("token_f1", "exact_match")  # metrics that compare an answer with the right one


def advice(rows: Sequence[ApproachRow], metric: str) -> list[Advice]:
    """Say what the numbers of a comparison's rows speak for; each piece names the numbers that it is from."""
    done = [row for row in rows if row.target is not None]
    if len(done) < 2:
        few = "nothing is measured yet" if not done else f"only {done[0].name} is measured yet"
        return [Advice("on this target", f"No advice: {few}.")]
    so_far = "So far: " if any(row.state == "under way" for row in rows) else ""
    found = [
        Advice("on this target", so_far + _on_target(done, metric)),
        Advice("changing knowledge", _knowledge(done, metric)),
        Advice("style and format", _form(done, metric)),
        Advice("a domain's vocabulary", _vocabulary(done, metric)),
        Advice("price", _price(done, metric)),
        *(Advice("what would change this", text) for text in _changes(done)),
        *(Advice("not measured", text) for text in _not_measured(rows, metric)),
    ]
    return [one for one in found if one.text]


def _on_target(done: Sequence[ApproachRow], metric: str) -> str:
    best, name = done[0], metric.replace("_", " ")
    level = [row for row in done[1:] if row.gap is not None and row.gap.is_open]
    head = f"{best.name} scores best, {name} {_score(best.target)}"
    if not level:
        second = done[1]
        assert second.gap is not None
        return f"{head}; {second.name}, the next, is {_change(second.gap)} behind it.{_forgot(best)}"
    names = _and([row.name for row in level])
    cheap = min([best, *level], key=_cost)
    text = f"{head}, but {names} can't be told from it on {best.target.rows if best.target else 0} rows"
    if cheap is best:
        return f"{text}; it is also the cheapest of them.{_forgot(best)}"
    return (
        f"{text}. The cheapest of them is {cheap.name}: {_cost_words(cheap)}.{_forgot(cheap)}{_forgot(best)}"
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
    took = [
        (row, row.news)
        for row in asked
        if row.news and row.news.gain and statistics.gains(metric, row.news.gain)
    ]
    tried = [row for row in asked if row.news is not None and row.news.after is not None]
    if not tried:
        return "Not measured: no approach here was given the new facts."
    if not took:
        names = _and([row.name for row in tried])
        return f"No approach is proven to answer the new facts better once it has them; tried: {names}."
    took.sort(key=lambda pair: pair[1].seconds if pair[1].seconds is not None else math.inf)
    words = [
        f"{row.name} in {_span(news.seconds)} ({_score(news.before)} to {_score(news.after)})"
        for row, news in took
    ]
    best = max(
        took,
        key=lambda pair: (
            (1 if metric not in LOWER_IS_BETTER else -1) * (pair[1].after.mean if pair[1].after else 0)
        ),
    )[0]
    text = f"Answers new facts soonest: {'; then '.join(words)}."
    if best is not took[0][0]:
        text += f" Best on them is {best.name}."
    worse = [row.name for row in tried if row.news and row.news.gain and _loses(metric, row.news.gain)]
    missed = [row.name for row in tried if row not in [one for one, _ in took] and row.name not in worse]
    if worse:
        text += f" With them {_and(worse)} answered worse than before."
    if missed:
        text += f" Not proven for {_and(missed)}."
    cannot = [row.name for row in asked if row not in tried]
    return f"{text} {_and(cannot)} took none in." if cannot else text


def _loses(metric: str, change: Gap) -> bool:
    """Say if a change for the worse is proven."""
    return change.low > 0 if metric in LOWER_IS_BETTER else change.high < 0


def _form(done: Sequence[ApproachRow], metric: str) -> str:
    """Does training hold a form better than asking for it? Rules alone measure that."""
    if metric == "rules":
        return _trained_against_asked(done, "keeps the rules")
    pair = _best_pair(done, "rules")
    if pair is None:
        name = metric.replace("_", " ")
        return f"Not measured: {name} is no score of form. Add rules to check.target, beside it or to compare by."
    return _of_other_metric(
        *pair,
        "rules",
        " of the rules kept",
        "Train: the form is kept better after it",
        "No need to train: asked with more before it, the base keeps the form better",
    )


def _vocabulary(done: Sequence[ApproachRow], metric: str) -> str:
    """Nats a token of right answers: how expected a domain's wording is to the model."""
    if metric == "nats_per_token":
        return _trained_against_asked(done, "expects the wording of right answers")
    pair = _best_pair(done, "nats_per_token")
    if pair is None:
        return (
            "Not measured: add nats_per_token to check.target.metric, which says how expected the wording is."
        )
    return _of_other_metric(
        *pair,
        "nats_per_token",
        " nats a token",
        "Train: the wording of right answers is more expected after it",
        "No need to train: asked with more before it, the base expects the wording better",
    )


def _best_pair(done: Sequence[ApproachRow], metric: str) -> tuple[ApproachRow, ApproachRow] | None:
    """Give the best that trains and the best that does not, by a metric beside the one that is compared by."""
    known = [row for row in done if metric in row.others]
    trained = [row for row in known if row.trains]
    asked = [row for row in known if not row.trains]
    if not trained or not asked:
        return None
    best = min if metric in LOWER_IS_BETTER else max
    return best(trained, key=lambda row: row.others[metric].mean), best(
        asked, key=lambda row: row.others[metric].mean
    )


def _of_other_metric(
    trained: ApproachRow, asked: ApproachRow, metric: str, unit: str, for_it: str, against: str
) -> str:
    """Say which of two is better by a metric beside the one compared by; its differences are to the best by it."""
    score, its = trained.others[metric], asked.others[metric]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    is_better = sign * score.mean > sign * its.mean
    gap = (asked if is_better else trained).other_gaps.get(metric)
    words = f"{trained.name} {_score(score)}{unit}, {asked.name} {_score(its)}"
    if gap is None or gap.is_open:
        return f"Not told apart: {words}."
    words = f"{words}; paired difference {_change(gap)}"
    return f"{for_it} ({words}).{_forgot(trained)}" if is_better else f"{against} ({words})."


def _trained_against_asked(done: Sequence[ApproachRow], does: str) -> str:
    """Compare the best that trains with the best that does not: both have a paired difference to the best of all."""
    trained = next((row for row in done if row.trains and row.name != "from-scratch"), None)
    asked = next((row for row in done if not row.trains), None)
    if trained is None or asked is None:
        return "Not measured: it takes one approach that trains and one that does not."
    better, other = (trained, asked) if done.index(trained) < done.index(asked) else (asked, trained)
    gap = other.gap if better.is_best else None
    numbers = f"{better.name} {_score(better.target)}, {other.name} {_score(other.target)}"
    if gap is None or gap.is_open:
        return f"Not told apart: the best that trains and the best that does not ({numbers})."
    verb = "Train" if better is trained else "Don't train"
    head = f"{verb}: {better.name} {does} better than {other.name}"
    return f"{head} ({numbers}; paired difference {_change(gap)}).{_forgot(better)}"


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
    parts = [f"{_span(row.setup_s)} once"] if row.setup_s else ["nothing once"]
    if row.latency_s is not None:
        parts.append(f"{row.latency_s:.2f} s a query")
    if row.prompt_tokens is not None:
        parts.append(f"{row.prompt_tokens:,.0f} tokens of prompt")
    return ", ".join(parts)


def _changes(done: Sequence[ApproachRow]) -> list[str]:
    found = []
    best = done[0].target
    level = [row.name for row in done[1:] if row.gap is not None and row.gap.is_open]
    if best is not None and (level or best.rows < FEW_ROWS):
        wide = f"More rows to ask: {best.rows} were"
        near = min(
            (row.gap for row in done[1:] if row.gap is not None and row.gap.is_open),
            key=_nearness,
            default=None,
        )
        needed = "" if near is None else _needed(near)
        found.append(
            f"{wide}, and {_and(level)} can't be told from the best.{needed}" if level else f"{wide}."
        )
    single = [row.name for row in done if row.trains and row.target is not None and row.target.seeds == 1]
    if single:
        found.append(f"Other seeds: {_and(single)} had one each, and training differs by its seed.")
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


def _needed(gap: Gap) -> str:
    """Say about how many rows would tell a difference as large as this one, were it real."""
    half = (gap.high - gap.low) / 2
    if not gap.mean:
        return ""
    rows = math.ceil(gap.rows * (half / abs(gap.mean)) ** 2)
    return f" Were the nearest difference real, about {rows:,} rows would show it." if rows < 100_000 else ""


def _is_wide(score: Score) -> bool:
    return score.spread is not None and score.spread > (score.high - score.low) / 2


def _not_measured(rows: Sequence[ApproachRow], metric: str) -> list[str]:
    found = [f"{row.name}: {row.said}." for row in rows if row.target is None]
    found += [f"{row.name}, in part: {row.said}." for row in rows if row.target is not None and row.said]
    done = [row for row in rows if row.target is not None]
    unchecked = [row.name for row in done if row.retained is None]
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
        found.append("Energy: the GPUs did not tell their power.")
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


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    if seconds < 1:
        return f"{seconds:.2f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
