"""The service `WorkerAdmin`: the operator's side, or that of `stoker up`."""

from typing import Any, NoReturn

import grpc

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerAdminServicer
from stoker_worker.service.front import Front
from stoker_worker.service.identity import Guard, Role
from stoker_worker.service.servicer import Context, let_in


class AdminService(WorkerAdminServicer):
    """Draining is real; adapters and sleep are not part of this version."""

    def __init__(self, front: Front, guard: Guard) -> None:
        self._front = front
        self._guard = guard

    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.DrainResponse:  # noqa: N802
        """Answered when every request has ended, at the latest a moment after the deadline."""
        await let_in(self._guard, context, Role.OPERATOR)
        result = await self._front.drain(request.deadline_ms / 1000)
        return pb.DrainResponse(finished=result.finished, ended=result.ended)

    async def LoadAdapter(self, request: pb.LoadAdapterRequest, context: Context) -> NoReturn:  # noqa: N802
        """Not supported."""
        await self._unsupported(context, "this worker does not load adapters; serve the merged weights as a model")

    async def UnloadAdapter(self, request: pb.UnloadAdapterRequest, context: Context) -> NoReturn:  # noqa: N802
        """Not supported."""
        await self._unsupported(context, "this worker has no adapters")

    async def Sleep(self, request: pb.SleepRequest, context: Context) -> NoReturn:  # noqa: N802
        """Not supported."""
        await self._unsupported(context, "this worker cannot sleep; drain it and end its process")

    async def Wake(self, request: pb.WakeRequest, context: Context) -> NoReturn:  # noqa: N802
        """Not supported."""
        await self._unsupported(context, "this worker cannot sleep, so there is nothing to wake")

    async def _unsupported(self, context: grpc.aio.ServicerContext[Any, Any], sentence: str) -> NoReturn:
        await let_in(self._guard, context, Role.OPERATOR)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, sentence)
        raise AssertionError("abort raises")
