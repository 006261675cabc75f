"""How long Deployments take from a changed spec to each rung."""

import time
from collections.abc import Sequence

from stoker_operator.api.conditions import Condition, ConditionStatus
from stoker_operator.inbox import Spell
from stoker_operator.metrics import Metrics


def time_rungs(metrics: Metrics, spell: Spell | None, now: Sequence[Condition]) -> None:
    """Observe the rungs that a spec reaches for the first time."""
    if spell is None or spell.told_already:
        return
    for one in now:
        if one.status is ConditionStatus.TRUE and one.type not in spell.reached:
            spell.reached.add(one.type)
            metrics.rung_seconds.labels(one.type).observe(time.monotonic() - spell.since_s)
