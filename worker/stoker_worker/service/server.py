"""The front process: builds the parts, runs them, and stops them in order."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from stoker.worker.v1.worker_pb2_grpc import add_WorkerAdminServicer_to_server, add_WorkerServicer_to_server
from stoker_worker.errors import WorkerError
from stoker_worker.service.admin import AdminService
from stoker_worker.service.front import Front
from stoker_worker.service.health import HealthReport
from stoker_worker.service.identity import Guard
from stoker_worker.service.listeners import Listeners
from stoker_worker.service.metrics import WorkerMetrics
from stoker_worker.service.model import ServedModel, read_model
from stoker_worker.service.servicer import WorkerService
from stoker_worker.service.supervisor import BackOff, EngineState, Supervisor
from stoker_worker.settings import WorkerSettings

if TYPE_CHECKING:
    from stoker_worker.service.tracing import RequestTracer

HEARTBEAT_S = 1.0
LAST_FRAMES_S = 2.0  # for gateways to take what is due when the worker stops

logger = logging.getLogger(__name__)


async def serve_until_signalled(settings: WorkerSettings, model_path: Path, engine_command: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT, then drain and stop. Raises WorkerError if that cannot work."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    supervisor = Supervisor(engine_command, BackOff())
    await serve(
        settings,
        Listeners(settings),
        supervisor,
        lambda: read_model(model_path, settings.model_id, settings.aliases),
        stop,
    )


async def serve(
    settings: WorkerSettings,
    listeners: Listeners,
    supervisor: Supervisor,
    load_model: Callable[[], ServedModel],
    stop: asyncio.Event,
) -> None:
    """Serve until `stop`, then drain and stop. Raises WorkerError if the model cannot be served.

    The engine starts at once; `load_model` runs beside it, in a thread.
    """
    try:
        async with asyncio.TaskGroup() as tasks, contextlib.AsyncExitStack() as stack:
            engine = tasks.create_task(supervisor.run())
            model = await asyncio.to_thread(load_model)
            front = await stack.enter_async_context(_front(settings, supervisor, model))
            health = HealthReport()
            _register(listeners, settings, front, health)
            beat = tasks.create_task(_beat(front, health))
            await listeners.start()
            logger.info("serving %s on %s", model.ref, settings.listen)
            await stop.wait()
            await _drain(settings, front, engine)
            await listeners.stop(LAST_FRAMES_S)
            beat.cancel()
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        await listeners.stop(0)


@contextlib.asynccontextmanager
async def _front(settings: WorkerSettings, supervisor: Supervisor, model: ServedModel) -> AsyncIterator[Front]:
    """The front with what watches it."""
    metrics = WorkerMetrics()
    tracer = _tracer(settings, model)
    front = Front(model, supervisor, settings.max_queue, metrics, tracer)
    supervisor.attach(front)
    try:
        with _metrics_server(settings, front, supervisor, metrics):
            yield front
    finally:
        if tracer:
            await asyncio.to_thread(tracer.close)


def _tracer(settings: WorkerSettings, model: ServedModel) -> "RequestTracer | None":
    if not settings.otlp_endpoint:
        return None
    from stoker_worker.service.tracing import RequestTracer

    return RequestTracer(settings.otlp_endpoint, settings.instance, str(model.ref))


@contextlib.contextmanager
def _metrics_server(
    settings: WorkerSettings, front: Front, supervisor: Supervisor, metrics: WorkerMetrics
) -> Iterator[None]:
    if not settings.metrics_listen:
        yield
        return
    from stoker_worker.service.exposition import Gauges, serve_metrics

    def gauges() -> Gauges:
        return Gauges(front.last_load, front.num_open, front.num_streams, supervisor.restarts)

    server = serve_metrics(settings.metrics_listen, metrics, gauges)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _register(listeners: Listeners, settings: WorkerSettings, front: Front, health: HealthReport) -> None:
    guard = Guard(enforced=settings.tls is not None)
    add_WorkerServicer_to_server(WorkerService(front, settings, guard), listeners.main)
    add_WorkerAdminServicer_to_server(AdminService(front, guard), listeners.main)
    for server in listeners.all:
        add_HealthServicer_to_server(health.servicer, server)


async def _beat(front: Front, health: HealthReport) -> None:
    """Each second and on any change, tell gateways and probes how things are."""
    loop = asyncio.get_running_loop()
    while True:
        front.changed.clear()
        front.wake()
        await health.update(
            engine_ready=front.engine.state is EngineState.READY,
            draining=front.draining,
            streams=front.num_streams,
            now_s=loop.time(),
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await front.changed.wait()


async def _drain(settings: WorkerSettings, front: Front, engine: "asyncio.Task[None]") -> None:
    """Withdraw, let requests finish, end the rest, end the engine."""
    logger.info("stopping; %d open requests may finish within %g s", front.num_open, settings.drain_timeout_s)
    await front.drain(settings.drain_timeout_s)
    engine.cancel()
    await asyncio.wait([engine])
    front.on_lost("the worker has stopped")
    front.close()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception that counts: what a person should read, if there is one."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, WorkerError)), leaves[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
