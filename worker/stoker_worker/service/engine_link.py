"""One engine process and the front's end of the socket to it."""

import asyncio
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from contextlib import suppress

from stoker_worker.engine.messages import FromEngine, Shutdown, ToEngine
from stoker_worker.engine.wire import FrameSplitter, from_engine_decoder, pack
from stoker_worker.errors import EngineFailure

EXIT_GRACE_S = 5.0  # from the end of the conversation to the end of the process


class EngineLink(asyncio.Protocol):
    """Messages arrive by `on_message`, in the event loop, as they come. Made by `spawn`, ended by `close`."""

    def __init__(self, process: Process, on_message: Callable[[FromEngine], None]) -> None:
        self._process = process
        self._on_message = on_message
        self._splitter = FrameSplitter()
        self._transport: asyncio.Transport
        self._hung_up = asyncio.Event()

    @classmethod
    async def spawn(cls, command: Sequence[str], on_message: Callable[[FromEngine], None]) -> "EngineLink":
        """Start an engine; `--fd N`, its end of the socket, is added to the command. Raises EngineFailure."""
        ours, theirs = socket.socketpair()
        process: Process | None = None
        try:
            with theirs:
                process = await _start([*command, "--fd", str(theirs.fileno())], theirs)
            link = cls(process, on_message)
            await asyncio.get_running_loop().create_connection(lambda: link, sock=ours)
        except BaseException:
            ours.close()
            if process:
                await _kill(process)
            raise
        return link

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    def send(self, message: ToEngine) -> None:
        """Queue a message. Nothing happens if the engine is gone: `ended` tells."""
        if not self._transport.is_closing():
            self._transport.write(pack(message))

    async def ended(self) -> str:
        """Wait until the engine is gone and everything it said has arrived; returns how it ended, in words."""
        gone = asyncio.create_task(self._process.wait())
        said_all = asyncio.create_task(self._hung_up.wait())
        try:
            await asyncio.wait((gone, said_all), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((gone, said_all), timeout=EXIT_GRACE_S)
        finally:
            gone.cancel()
            said_all.cancel()
        await self.close()
        return exit_in_words(self._process.returncode)

    async def close(self, grace_s: float = EXIT_GRACE_S) -> None:
        """Have the engine shut down after its step, or kill it if that takes longer than `grace_s`; wait until it is gone."""
        self.send(Shutdown())
        self._transport.close()  # after what was sent
        # Not asyncio.timeout: before Python 3.11.3 it lets a task that is being cancelled leave here without the kill.
        exited = asyncio.create_task(self._process.wait())
        await asyncio.wait((exited,), timeout=grace_s)
        if not exited.done():
            await _kill(self._process)
        await exited
        self._transport.abort()  # a process that the engine left behind could hold the other end
        await self._hung_up.wait()

    # ---------------------------------------------------------------------------------- asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        for body in self._splitter.feed(data):
            self._on_message(from_engine_decoder.decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._hung_up.set()


async def _start(command: Sequence[str], inherited: socket.socket) -> Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            pass_fds=(inherited.fileno(),),
            stdin=DEVNULL,
            process_group=0,  # Ctrl-C is for the front, which lets requests finish
        )
    )
    try:
        return await asyncio.shield(starting)
    except OSError as error:
        raise EngineFailure(f"the engine process cannot be started: {error}") from error
    except asyncio.CancelledError:
        await _kill(await starting)  # Python before 3.11.4 would lose a process whose start is cancelled
        raise


async def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def exit_in_words(code: int | None) -> str:
    """An exit code as a sentence."""
    if code is None or code >= 0:
        return f"the engine process ended with exit code {code}"
    return f"the engine process was killed by {signal.Signals(-code).name}"
