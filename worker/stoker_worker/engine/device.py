"""Which device computes, and its threads."""

import logging
import os
from collections.abc import Callable

from stoker_worker.engine.messages import LoadProgress
from stoker_worker.errors import NativeUnavailable, SettingsError
from stoker_worker.execution.device import Device
from stoker_worker.settings import EngineSettings
from stoker_worker.weights.open import open_model
from stoker_worker.weights.progress import ProgressSource
from stoker_worker.weights.source import WeightSource

logger = logging.getLogger(__name__)


def open_device(settings: EngineSettings, tell: Callable[[LoadProgress], None]) -> Device:
    """Load the model onto the device that `settings` ask for; by default native code, or torch where that cannot serve.

    Raises WorkerError.
    """
    source = ProgressSource(open_model(settings.model_path), lambda done, total: tell(LoadProgress(done, total)))
    if settings.device == "torch":
        return _torch_device(source, settings)
    try:
        return _native_device(source, settings)
    except NativeUnavailable as error:
        if settings.device == "native":
            raise SettingsError(f"--device native cannot be used: {error}; use --device torch, or auto") from error
        logger.warning("native code cannot serve: %s; torch computes instead, at a half to a third of the speed", error)
        return _torch_device(source, settings, f"native code cannot serve: {error}; ")


def _native_device(source: WeightSource, settings: EngineSettings) -> Device:
    from stoker_worker.execution.native_device import NativeDevice, refusal
    from stoker_worker.kernels.native.build import library_path

    if reason := refusal(source.config, settings.precision, settings.block_size):
        raise NativeUnavailable(reason)
    return NativeDevice(source, library_path(), _threads(settings))


def _torch_device(source: WeightSource, settings: EngineSettings, why: str = "") -> Device:
    try:
        limit_torch(_threads(settings))
    except ModuleNotFoundError:
        raise SettingsError(
            f"{why}torch is not installed here: use a worker with torch, such as the image worker-cuda"
        ) from None
    from stoker_worker.execution.torch_device import TorchDevice

    return TorchDevice(source, settings.precision)


def limit_torch(threads: int) -> None:
    """Give torch its threads. Once, before anything imports it."""
    # Read when torch is imported. Without a bound, a thread that spins at a barrier keeps the gateway (or the very thread it
    # waits for) off its core, and steps take seconds; sleeping at once costs a third of a quiet machine's speed.
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "20000"}

    import torch

    torch.set_num_threads(threads)


def _threads(settings: EngineSettings) -> int:
    return settings.threads or len(os.sched_getaffinity(0))
