"""The engine process: load, warm up, then step whenever there is work. Its only peer is the front that started it."""

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stoker_worker.engine.device import open_device
from stoker_worker.engine.engine import Engine
from stoker_worker.engine.memory import TooLittleMemory, plan_kv
from stoker_worker.engine.messages import (
    AbortRequest,
    EngineFailed,
    EngineReady,
    LoadProgress,
    Shutdown,
    SubmitRequest,
    ToEngine,
)
from stoker_worker.engine.wire import EngineEnd
from stoker_worker.errors import ModelFileError, OutOfMemory, SettingsError, WorkerError
from stoker_worker.sampling.params import SamplingParams
from stoker_worker.scheduling.blocks import BlockPool
from stoker_worker.scheduling.pacing import PrefillPacer
from stoker_worker.scheduling.scheduler import SchedulerLimits
from stoker_worker.settings import EngineSettings

logger = logging.getLogger(__name__)


def main(sock: socket.socket, settings: EngineSettings) -> int:
    """Serve the front at the other end of `sock` until it goes away or says so; returns the exit code."""
    end = EngineEnd(sock)
    try:
        engine, ready = load(settings, end.send)
        end.send(ready)
        serve(engine, end)
    except (BrokenPipeError, ConnectionResetError, EOFError):
        return 0  # the front is gone: nobody is left to answer
    except WorkerError as error:
        _say_last(end, EngineFailed(str(error), fatal=isinstance(error, (ModelFileError, OutOfMemory, SettingsError))))
        return 2
    except Exception as error:
        logger.exception("the engine failed")
        _say_last(end, EngineFailed(f"{type(error).__name__} in the engine; its log has the details", fatal=False))
        return 1
    return 0


def load(
    settings: EngineSettings, tell: Callable[[LoadProgress], None] = lambda _progress: None
) -> tuple[Engine, EngineReady]:
    """Read the model, size and allocate the KV blocks, warm up. Raises WorkerError."""
    started = time.monotonic()
    device = open_device(settings, tell)
    spec = device.spec
    try:
        kv = plan_kv(
            spec.kv_bytes_per_token,
            spec.context_length,
            available_memory(),
            block_size=settings.block_size,
            kv_tokens=settings.kv_tokens,
            max_context=settings.max_context,
        )
    except TooLittleMemory as error:
        raise OutOfMemory(str(error)) from error
    device.allocate_kv(kv.num_blocks, kv.block_size)
    engine = Engine(
        device,
        BlockPool(kv.num_blocks),
        SchedulerLimits(kv.block_size, settings.max_batch_sequences),
        PrefillPacer(settings.max_batch_tokens),
        time.monotonic,
        prefix_cache=settings.prefix_cache,
    )
    _warm_up(engine, min(kv.context_length - 4, 64))
    ready = EngineReady(
        vocab_size=spec.vocab_size,
        context_length=kv.context_length,
        precision=spec.precision,
        block_size=kv.block_size,
        total_blocks=kv.num_blocks,
        load_s=time.monotonic() - started,
    )
    return engine, ready


def serve(engine: Engine, end: EngineEnd) -> None:
    """Alternate between commands and steps. Returns on Shutdown; raises EOFError when the front is gone."""
    while True:
        if not engine.has_work:
            engine.check()
        for command in end.receive(0 if engine.has_work else None):
            if isinstance(command, Shutdown):
                return
            _obey(engine, command)
        if engine.has_work:
            end.send(engine.step())


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, or of its control group if that is less."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        if Path(limit).exists() and (text := Path(limit).read_text().strip()).isdigit():
            available = min(available, int(text) - int(Path(used).read_text()))
    return max(available, 0)


def _say_last(end: EngineEnd, message: EngineFailed) -> None:
    with suppress(OSError):  # the front may have found the same fault and be gone
        end.send(message)


def _obey(engine: Engine, command: ToEngine) -> None:
    match command:
        case SubmitRequest():
            engine.submit(command)
        case AbortRequest(key):
            engine.abort(key)


def _warm_up(engine: Engine, prompt_tokens: int) -> None:
    """Run a prompt and a few decodes, so that the first request does not pay for first-time allocations."""
    greedy = SamplingParams(temperature=0.0)
    for key in (1, 2):
        engine.submit(SubmitRequest(key, "warm-up", [1] * max(prompt_tokens, 1), greedy, 3, cache_salt=b"warm-up"))
    while engine.has_work:
        engine.step()
    engine.check()
