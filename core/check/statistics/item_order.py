"""Which items a check asks, and in which order: seeded caps and samples, one permutation of clusters, looks, a hash.

Every choice is an order by SHA-256 of (purpose, seed, task, cluster), not a random generator: the same on
every platform and numpy version, whatever order the items come in. So caps are nested (the 100 items of a
small cap are among the 500 of a large one, and their scores are reused), and removing an item or task does not
move the others. Cap, sample and permutation hash under different purposes. Under one purpose, a task cut from 67,000
items to 100 would keep only its smallest hashes and come first; and the sample's base scores would tell
something about the items at the front of the order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Key = tuple[str, str]
PLAN_VERSION = 1


class Item(msgspec.Struct, frozen=True, order=True):
    """One question of one task; items that belong together (a passage, mirrored pairs) name one cluster."""

    task: str
    item: str
    cluster: str = ""

    @property
    def key(self) -> Key:
        return (self.task, self.item)

    @property
    def group(self) -> Key:
        """Return the cluster's key; an item without one is a cluster of its own, distinct from any named one."""
        return (self.task, f"cluster {self.cluster}" if self.cluster else f"item {self.item}")


Cluster = tuple[Item, ...]
# of each task: the parts of its sample, in the order they are used
Stages = Mapping[str, Sequence[Sequence[Item]]]


def cap_items(items: Iterable[Item], cap: int | None, seed: int) -> tuple[Item, ...]:
    """Choose at most `cap` items of every task, in whole clusters, by the seed; None keeps all.

    A task's clusters are taken in seeded order until the next would exceed the cap, and at least one is taken.
    Raises BadInput if an item comes twice or the cap is below 1.
    """
    if cap is not None and cap < 1:
        raise BadInput(f"cap is {cap}.", hint="Give at least 1 item a task, or no cap.")
    chosen: list[Item] = []
    counts: dict[str, int] = {}
    closed: set[str] = set()
    for cluster in _seeded(items, seed, "cap"):
        task = cluster[0].task
        already = counts.get(task, 0)
        if cap is not None and (task in closed or (already and already + len(cluster) > cap)):
            closed.add(task)
            continue
        counts[task] = already + len(cluster)
        chosen.extend(cluster)
    return tuple(sorted(chosen))


def sample_stages(items: Iterable[Item], first: int, seed: int) -> dict[str, tuple[Cluster, ...]]:
    """Cut every task's items into the parts of a sample that doubles: `first` items, as many again, and so on.

    Clusters stay whole, so a part may hold a few more; a rest of at most half of what precedes it joins the last
    part (317 items: 100, 100, 117; 150: all at once). Raises BadInput if an item comes twice.
    """
    clusters: dict[str, list[Cluster]] = {}
    for cluster in _seeded(items, seed, "sample"):
        clusters.setdefault(cluster[0].task, []).append(cluster)
    return {task: _doubling(of_task, first) for task, of_task in sorted(clusters.items())}


def _doubling(clusters: Sequence[Cluster], first: int) -> tuple[Cluster, ...]:
    rest: Iterator[Cluster] = iter(clusters)
    taken, left = 0, sum(map(len, clusters))
    parts: list[Cluster] = []
    while part := first_look(rest, taken or first):
        taken, left = taken + len(part), left - len(part)
        if 2 * left <= taken:
            part += tuple(item for cluster in rest for item in cluster)
        parts.append(part)
    return tuple(parts)


def permute(items: Iterable[Item], seed: int) -> tuple[Item, ...]:
    """Return all items of all tasks in one uniform seeded order in which a cluster's items stay together."""
    return tuple(item for cluster in _seeded(items, seed, "order") for item in cluster)


def clusters_of(order: Iterable[Item]) -> tuple[Cluster, ...]:
    """Cut a permuted order into its clusters."""
    return tuple(tuple(cluster) for _, cluster in groupby(order, key=lambda item: item.group))


def first_look(clusters: Iterable[Cluster], size: int) -> tuple[Item, ...]:
    """Take at least `size` items from the front, in whole clusters; the rest of the iterator stays unread."""
    look: list[Item] = []
    for cluster in clusters:
        look.extend(cluster)
        if len(look) >= size:
            break
    return tuple(look)


def looks_of(clusters: Iterable[Cluster], size: int) -> tuple[tuple[Item, ...], ...]:
    """Cut an order of clusters into looks of at least `size` items, never through a cluster."""
    left = iter(clusters)
    return tuple(iter(lambda: first_look(left, size), ()))


def hash_plan(
    *,
    margin: float,
    alpha: float,
    metrics: Sequence[tuple[str, str, float]],
    cap: int | None,
    seed: int,
    look_items: int,
    order: Sequence[Item],
    excluded: Sequence[Key],
    weights: Mapping[str, int] | None = None,
    claim: int = 0,
    watch: bool = False,
    sample: Stages | None = None,
) -> str:
    """Hash (SHA-256, hex) everything that is fixed before looking.

    metrics are (task, metric, chance); weights are the smallest whole numbers in their ratio, alpha is the
    whole one. Equal weights, a run's only claim and no sample add nothing, so plans without them keep the hash
    they always had. Of a sample only the sizes of its parts are hashed; the seed determines their items.
    """
    fixed: dict[str, object] = {
        "version": PLAN_VERSION,
        "margin": repr(float(margin)),
        "alpha": repr(float(alpha)),
        "metrics": sorted([task, metric, repr(float(chance))] for task, metric, chance in metrics),
        "cap": cap,
        "seed": seed,
        "look_items": look_items,
        "order": [[item.task, item.item, item.cluster] for item in order],
        "excluded": sorted(list(key) for key in set(excluded)),
    }
    if weights and len(set(weights.values())) > 1:
        fixed["weights"] = sorted([task, str(weight)] for task, weight in weights.items())
    if claim or watch:
        fixed["standing"] = "watch" if watch else claim
    if sample is not None:
        fixed["sample"] = sorted([task, [len(part) for part in parts]] for task, parts in sample.items())
    canonical = json.dumps(fixed, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(canonical.encode("ascii")).hexdigest()


def _seeded(items: Iterable[Item], seed: int, purpose: str) -> list[Cluster]:
    """Group items into clusters and order the clusters by hash."""
    groups: dict[Key, list[Item]] = {}
    seen: set[Key] = set()
    for item in items:
        if item.key in seen:
            hint = "Give every item of a task an id of its own."
            raise BadInput(f"{item.task}: item {item.item} comes twice.", hint=hint)
        seen.add(item.key)
        groups.setdefault(item.group, []).append(item)

    def place(group: Key) -> bytes:
        return sha256(json.dumps([purpose, seed, *group]).encode("ascii")).digest()

    return [tuple(sorted(groups[group])) for group in sorted(groups, key=place)]
