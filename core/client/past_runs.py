"""The speed that earlier runs of a home reached, for plans."""

from __future__ import annotations

import json

from finetop.core.client.connection import ask_once
from finetop.core.errors import FinetopError
from finetop.core.plan.schedule import PastRun
from finetop.core.protocol.messages.runs import Sql
from finetop.core.runtime.home import Home

FEWEST_STEPS = 3  # behind the first one, which warms up: a run of fewer says too little of the speed
# By its verb: the question goes to a supervisor as `finetop sql` asks it, and SQL knows no facts of kinds.
PAST_RUNS_SQL = f"""
WITH steps AS (
  SELECT run_id, value, row_number() OVER (PARTITION BY run_id ORDER BY step) AS place
  FROM metrics WHERE key = 'tokens_per_s'
)
SELECT r.name, r.model, r.method, r.objective, j.device, j.planned, median(m.value)
FROM runs r
JOIN jobs j ON j.run_id = r.id AND j.verb = 'train'
JOIN steps m ON m.run_id = r.id AND m.place > 1
GROUP BY r.id, r.name, r.model, r.method, r.objective, j.device, j.planned
HAVING count(DISTINCT m.place) >= {FEWEST_STEPS}
ORDER BY r.id DESC
"""


def past_runs(home: Home) -> list[PastRun]:
    """Return what earlier runs of a home reached, newest first; empty without a store or an answer."""
    if not home.database.exists():
        return []
    try:
        answer = ask_once(home, Sql(PAST_RUNS_SQL, limit=200))
    except FinetopError:
        return []  # a plan works without them
    runs = []
    for name, model, method, objective, device, planned, rate in answer.rows:
        if rate is None:
            continue
        counts = json.loads(planned or "{}")
        sizes = [float(counts.get(key, 0)) for key in ("parameters", "trainable_parameters")]
        on_gpu = not str(device).startswith("cpu")
        runs.append(PastRun(str(name), str(model), str(method), str(objective), on_gpu, float(rate), *sizes))
    return runs
