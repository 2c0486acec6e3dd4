"""What the supervisor is asked for to queue a comparison on a recipe: the same from the command line and the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core import approaches, protocol
from finetop.core.fingerprints import fingerprint
from finetop.core.remote.files import by_name
from finetop.core.words.queue import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.home import Home
    from finetop.core.protocol import Priority
    from finetop.core.recipe.load import Loaded


def request(
    loaded: Loaded,
    home: Home,
    *,
    source: str,
    only: Sequence[str] = (),
    seeds: int | None = None,
    held: bool = False,
    priority: Priority = PRIORITIES["normal"],
) -> protocol.SubmitApproaches:
    """Make the runs of a comparison. Reads the files that the recipe names, to know whether it was measured before.

    Raises BadInput for a recipe that can't be compared, NotFound for an approach that there is not.
    """
    recipe = loaded.recipe
    made, left_out = approaches.points(recipe, only, seeds)
    runs = [
        protocol.ApproachRun(
            point.name,
            point.approach,
            point.seed,
            point.recipe if home.link is None else by_name(point.recipe),
            fingerprint(point.recipe, home),
            point.learns_news,
        )
        for point in made
    ]
    return protocol.SubmitApproaches(
        name=recipe.name,
        subject=fingerprint(approaches.subject(recipe), home),
        metric=approaches.metric_of(recipe),
        runs=runs,
        left_out={one.approach: one.why for one in left_out},
        source=source,
        held=held,
        priority=priority,
    )
