"""The gRPC health protocol: `engine` for the startup probe, `routable` for the readiness probe."""

from dataclasses import dataclass

from grpc_health.v1 import health, health_pb2

# A rollout waits for `routable`: gateways that reconnect must not make the worker look gone.
ROUTABLE_LINGER_S = 30.0

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True, slots=True)
class Attachment:
    """Gateways' streams. `last_left_s`: when the last one dropped, None if there was none or one is there."""

    streams: int = 0
    last_left_s: float | None = None

    def changed(self, streams: int, now_s: float) -> "Attachment":
        """The attachment after the number of streams was found to be `streams`."""
        if streams:
            return Attachment(streams)
        return Attachment(0, now_s if self.streams else self.last_left_s)


def is_routable(*, engine_ready: bool, attachment: Attachment, now_s: float) -> bool:
    """The engine is ready, and a gateway is attached or was until a moment ago."""
    if not engine_ready:
        return False
    left = attachment.last_left_s
    return attachment.streams > 0 or (left is not None and now_s - left < ROUTABLE_LINGER_S)


class HealthReport:
    """Publishes the decisions through the health servicer, which may sit on several ports."""

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        self._attachment = Attachment()

    async def update(self, *, engine_ready: bool, draining: bool, streams: int, now_s: float) -> None:
        """Observe; to be called each second and on any change."""
        self._attachment = self._attachment.changed(streams, now_s)
        routable = is_routable(engine_ready=engine_ready and not draining, attachment=self._attachment, now_s=now_s)
        await self.servicer.set("engine", SERVING if engine_ready else NOT_SERVING)
        await self.servicer.set("routable", SERVING if routable else NOT_SERVING)
