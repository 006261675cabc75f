"""What gateways have told, added up by deployment, and what of it is worth writing down. No clock: `now_s` is given."""

from collections.abc import Mapping

import msgspec

from stoker_operator.api.deployment import Demand

SHOWN_EVERY_S = 10.0  # a status that follows every request would be nothing but writes
ADOPT_S = 30.0  # after a start, gateways need so long to be heard again

NONE = Demand()


class DemandBook:
    """One entry per gateway's stream; a stream that is lost takes its entry with it."""

    def __init__(self, now_s: float) -> None:
        self._adopting_until_s = now_s + ADOPT_S
        self._told: dict[int, Mapping[str, Demand]] = {}
        self._shown: dict[str, tuple[Demand, float]] = {}

    def hear(self, stream: int, told: Mapping[str, Demand]) -> None:
        """This is all that a gateway knows now."""
        self._told[stream] = told

    def lost(self, stream: int) -> None:
        """A gateway is gone."""
        self._told.pop(stream, None)

    def total(self, uid: str) -> Demand:
        """Of all gateways together; the oldest request is the oldest of any."""
        parts = [told[uid] for told in self._told.values() if uid in told]
        return Demand(
            held=sum(part.held for part in parts),
            in_flight=sum(part.in_flight for part in parts),
            oldest_ms=max((part.oldest_ms for part in parts), default=0),
        )

    def due(self, now_s: float) -> list[str]:
        """Deployments whose status is to say something else now: at once if waiting begins or ends, else now and then."""
        uids = {uid for told in self._told.values() for uid in told} | self._shown.keys()
        found = []
        for uid in sorted(uids):
            total = self.total(uid)
            shown, at_s = self._shown.get(uid, (NONE, float("-inf")))
            began_or_ended = (total.held > 0) != (shown.held > 0)
            if total != shown and (began_or_ended or now_s - at_s >= SHOWN_EVERY_S):
                self._shown[uid] = total, now_s
                found.append(uid)
        return found

    def shown(self, uid: str, before: Mapping[str, object] | None, now_s: float) -> Demand | None:
        """What the status of a deployment says; `before` is what it says now.

        It is not emptied by a restart of ours, before gateways had time to speak; nothing was ever told: None.
        """
        known = self._shown.get(uid)
        if known is not None:
            return known[0]
        if before is None:
            return None
        return msgspec.convert(before, Demand) if now_s < self._adopting_until_s else NONE
