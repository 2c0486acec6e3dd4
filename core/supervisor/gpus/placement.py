"""Which waiting jobs may start now, and on which GPUs: pure functions on plain data.

Jobs come in queue order. The first that must wait for our own jobs reserves the GPUs that it will get; those behind it
go elsewhere, so an endless stream of small jobs can't starve a big one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from finetop.core.protocol.runs import Share
from finetop.core.runtime.gpu import Gpu
from finetop.core.text import counted
from finetop.core.wording.units import whole_gib

IDLE_GIB = 0.25  # less than a CUDA context, so a display's memory does not mark a GPU as used
ROUNDING_GIB = 1e-6
LISTED = 4  # GPUs in a sentence

Placement = tuple[Share, ...]
Cards = Sequence[Gpu]
Shares = Sequence[Share]
Kept = Mapping[str, str]  # uuid of a reserved GPU -> name of the run that it is for


@dataclass(frozen=True)
class Want:
    """What a job needs: a number of GPUs and the memory on each; None means a whole GPU alone.

    An estimate above the largest GPU becomes a whole GPU; a number from the recipe stays as it is.
    """

    gpus: int = 1
    gib: float | None = None
    is_estimate: bool = False


@dataclass(frozen=True)
class Rules:
    """The user's settings: may jobs share a GPU, how much of it stays free, how many jobs run without a GPU."""

    share: bool = True
    reserve_gib: float = 1.0
    cpu_jobs: int = 1


@dataclass(frozen=True)
class Waiting:
    """A job that may start as soon as there is room for it."""

    job: int
    name: str
    want: Want


@dataclass(frozen=True)
class Decision:
    """Which jobs start now and on which GPUs, why the others wait, and which GPUs are reserved."""

    starts: Mapping[int, Placement]
    reasons: Mapping[int, str]
    kept: Kept


def decide(
    waiting: Iterable[Waiting], cards: Cards, held: Shares, rules: Rules, *, unfit: int = 0, cpu_live: int = 0
) -> Decision:
    """Go through the queue in order. `held` are live jobs' shares, `unfit` counts GPUs out of service."""
    starts: dict[int, Placement] = {}
    reasons: dict[int, str] = {}
    kept: dict[str, str] = {}
    held = list(held)
    for job in waiting:
        if job.want.gpus == 0:
            if cpu_live < rules.cpu_jobs:
                starts[job.job] = ()
                cpu_live += 1
            else:
                reasons[job.job] = cpu_reason(rules, has_gpus=bool(cards or unfit))
            continue
        placement = place(job.want, cards, held, rules, kept=kept, unfit=unfit)
        if not isinstance(placement, str):
            starts[job.job] = placement
            held += placement
            continue
        reasons[job.job] = placement
        if not kept:
            kept = {card.uuid: job.name for card in to_keep(job.want, cards, held, rules)}
    return Decision(starts, reasons, kept)


def place(
    want: Want, cards: Cards, held: Shares, rules: Rules, *, kept: Kept | None = None, unfit: int = 0
) -> Placement | str:
    """Choose GPUs: idle first, unused before used by others, then the smallest that fit. If too few do, return why."""
    kept = kept or {}
    wanted, able = fitting(want, cards)
    free = [c for c in able if c.uuid not in kept and missing_gib(wanted, c, shares_on(c, held), rules) == 0]
    if len(free) < want.gpus:
        return wait_reason(want, cards, rules, free, kept, unfit)
    free.sort(key=lambda c: (len(shares_on(c, held)), c.others_gib > IDLE_GIB, c.total_gib, c.index))
    free = free[: want.gpus]
    return tuple(Share(c.uuid, c.index, c.name, wanted.gib, round(c.others_gib, 3)) for c in free)


def in_the_way(
    blocked: Iterable[Waiting], cards: Cards, others: Shares, chats: Mapping[int, Shares], rules: Rules
) -> dict[int, str]:
    """Return the chats without which a waiting job could start, with its run's name: as few as that takes.

    `others` are the shares of all other jobs, `chats` those of each chat.
    """
    for job in blocked if chats else ():
        wanted, able = fitting(job.want, cards)
        each = (_going(wanted, card, others, chats, rules) for card in able)
        by_card = [going for going in each if going is not None]
        # of several GPUs those where the fewest chats go; one that has shares on more counts there once more
        by_card.sort(key=lambda going: (len(going), going))
        in_all = {chat for going in by_card[: job.want.gpus] for chat in going}
        if in_all and len(by_card) >= job.want.gpus:
            return dict.fromkeys(sorted(in_all), job.name)
    return {}


def _going(
    want: Want, card: Gpu, others: Shares, chats: Mapping[int, Shares], rules: Rules
) -> list[int] | None:
    """Return the fewest chats whose end makes room on a GPU, the largest first; None if all of them do not."""
    on_it = {chat: shares for chat in chats if (shares := shares_on(card, chats[chat]))}
    sizes = {chat: sum(size_of(share, card) for share in shares) for chat, shares in on_it.items()}
    left, going = sorted(on_it, key=lambda chat: (-sizes[chat], chat)), list[int]()
    while missing_gib(want, card, shares_on(card, others) + [s for chat in left for s in on_it[chat]], rules):
        if not left:
            return None
        going.append(left.pop(0))
    return going


def fitting(need: Want, cards: Cards) -> tuple[Want, Cards]:
    """Return what a job really needs of these GPUs, and which of them are large enough."""
    cards = usable(need, cards)
    if need.gib is None:
        return need, cards
    large = [card for card in cards if need.gib <= card.total_gib + ROUNDING_GIB]
    if len(large) >= need.gpus or not need.is_estimate:
        return need, large
    sizes = sorted((card.total_gib for card in cards), reverse=True)[: need.gpus]
    return replace(need, gib=None), [card for card in cards if sizes and card.total_gib >= sizes[-1]]


def usable(want: Want, cards: Cards) -> Cards:
    """Leave out instances of a divided GPU for jobs with several GPUs: a process can use only one instance."""
    return cards if want.gpus == 1 else [card for card in cards if not card.is_part]


def missing_gib(want: Want, card: Gpu, mine: Shares, rules: Rules) -> float:
    """Return how many GiB must be freed on a GPU before a job fits there; 0 if it fits now."""
    others_gib = card.others_gib if card.others_gib > IDLE_GIB else 0.0
    ours_gib = sum(size_of(share, card) for share in mine)
    if want.gib is None or not rules.share:
        return ours_gib + others_gib
    if not mine and not others_gib:
        return 0.0
    if any(share.gib is None for share in mine):
        return ours_gib + others_gib
    spare = rules.reserve_gib if mine or others_gib else 0.0
    return max(0.0, ours_gib + card.others_gib + want.gib + spare - card.total_gib - ROUNDING_GIB)


def size_of(share: Share, card: Gpu) -> float:
    """Return the memory of a share; a whole GPU counts with all of its memory."""
    return card.total_gib if share.gib is None else share.gib


def shares_on(card: Gpu, held: Iterable[Share]) -> list[Share]:
    return [share for share in held if share.uuid == card.uuid]


def to_keep(want: Want, cards: Cards, held: Shares, rules: Rules) -> list[Gpu]:
    """Choose the GPUs to reserve for a waiting job; none if it waits for processes that aren't ours.

    Prefers those where least must be freed: free ones first, then those that drain soonest. As nothing new is placed on
    them, what is missing only shrinks, until the job fits.
    """
    wanted, able = fitting(want, cards)
    able = [card for card in able if missing_gib(wanted, card, (), rules) == 0]
    if len(able) < want.gpus:
        return []
    able.sort(key=lambda card: (missing_gib(wanted, card, shares_on(card, held), rules), card.index))
    return able[: want.gpus]


def wait_reason(want: Want, cards: Cards, rules: Rules, free: Cards, kept: Kept, unfit: int) -> str:
    """Explain why a job can't be placed on these GPUs now; `free` are those that would do."""
    wanted, able = fitting(want, cards)
    if len(able) < want.gpus:
        return _never(want, cards, able, unfit)
    size = "" if wanted.gib is None else f" with {whole_gib(wanted.gib)} GiB"
    others = [card for card in able if missing_gib(wanted, card, (), rules) > 0]
    if len(able) - len(others) < want.gpus:
        least = min(others, key=lambda card: (card.others_gib, card.index))
        of_all = f"{whole_gib(least.others_gib)} of {whole_gib(least.total_gib)} GiB"
        waits = "waits for GPU memory" if want.gpus == 1 else f"wants {want.gpus} GPUs{size}, {count(free)}"
        return f"{waits}: {of_all} are used by others on GPU {least.index}"
    behind = sorted({kept[card.uuid] for card in able if card.uuid in kept})
    if behind:
        return f"waits behind {behind[0]}, for which {indices(c for c in able if c.uuid in kept)} is reserved"
    if want.gpus > 1:
        return f"wants {want.gpus} GPUs{size}, {count(free)}"
    if wanted.gib is None or not rules.share:
        return "waits for a free GPU"
    return f"waits for {whole_gib(wanted.gib)} GiB on a GPU"


def _never(want: Want, cards: Cards, able: Cards, unfit: int) -> str:
    """Return why this job can never fit on this machine's GPUs."""
    out = f" and {unfit} {'is' if unfit == 1 else 'are'} out of service" if unfit else ""
    whole = usable(want, cards)
    if len(whole) < want.gpus or want.gib is None:
        number = len(whole)
        working = f"{number} works{out}" if unfit else f"{number} {'is' if number == 1 else 'are'} here"
        divided = " (a process can use one instance of a divided GPU)" if number < len(cards) else ""
        return f"wants {counted(want.gpus, 'GPU')}, {working}{divided}"
    largest = max(card.total_gib for card in whole)
    if not able:
        wants = f"wants {whole_gib(want.gib)} GiB of GPU memory"
        return f"{wants}, the largest here has {whole_gib(largest)}{out}"
    return f"wants {want.gpus} GPUs with {whole_gib(want.gib)} GiB, {len(able)} large enough{out}"


def cpu_reason(rules: Rules, *, has_gpus: bool) -> str:
    """Explain why a job without a GPU waits; empty if one job at a time runs anyway."""
    if rules.cpu_jobs == 1 and not has_gpus:
        return ""
    jobs = "the one job" if rules.cpu_jobs == 1 else f"one of {rules.cpu_jobs} jobs"
    return f"waits for {jobs} on the CPU to end" if has_gpus else f"waits for {jobs} to end"


def count(free: Cards) -> str:
    return f"{len(free)} {'is' if len(free) == 1 else 'are'} free"


def indices(cards: Iterable[Gpu]) -> str:
    """Name GPUs, as in 'GPU 0, 1'."""
    numbers = [str(card.index) for card in cards]
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    return f"GPU {', '.join(numbers[:LISTED])}{more}"
