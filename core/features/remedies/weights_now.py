"""What became of the weights that remedies were made of, while they were tried or since."""

from __future__ import annotations

from collections.abc import Mapping

from finetop.core.check.checked_weights import WEIGHTS_NOW
from finetop.core.features.remedies import sql
from finetop.core.protocol.runs import Now, RemedyRow
from finetop.core.supervisor.queue import checks
from finetop.core.supervisor.state import Supervisor


async def weights_now(
    supervisor: Supervisor, run_id: int, rows: Mapping[str, RemedyRow], *, hashes: bool
) -> dict[str, Now]:
    """Return what became of the weights that a checkpoint's remedies were made of, by the remedy's name.

    If the checkpoint itself changed, that holds for all of them: the gain that they keep is a share of its own.
    """
    held = [
        {"step": row.step, "models": {name: {"weights": digest} for name, digest in row.models.items()}}
        for row in rows.values()
    ]
    compared_rows = await checks.compared_with_disk(supervisor, run_id, held, hashes=hashes)
    states: dict[str, Now] = {
        name: result[WEIGHTS_NOW] for name, result in zip(rows, compared_rows, strict=True)
    }
    own = states.get(sql.NOW, "same")
    return states if own == "same" else dict.fromkeys(states, own)
