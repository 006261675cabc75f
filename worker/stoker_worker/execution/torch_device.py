"""The device that runs models with torch, on CPUs."""

import torch

from stoker_worker.attention.base import AttentionBackend
from stoker_worker.attention.kv_cache import LayerCache
from stoker_worker.attention.torch_backend import TorchAttention
from stoker_worker.errors import SettingsError
from stoker_worker.execution.batch import step_inputs
from stoker_worker.execution.device import DeviceSpec, Float32
from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.parallel import SingleRank, TensorParallelGroup, share
from stoker_worker.models.registry import build_model
from stoker_worker.scheduling.plan import StepPlan
from stoker_worker.weights.source import WeightSource

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TorchDevice:
    """Implements `execution.device.Device`. Reads all weights when it is made; thread counts are the process's business.

    precision  of weights, activations and KV: fp32, bf16 or auto, which is fp32
    Raises ModelFileError, SettingsError.
    """

    def __init__(self, source: WeightSource, precision: str = "auto", group: TensorParallelGroup | None = None) -> None:
        precision = "fp32" if precision == "auto" else precision
        if precision not in DTYPES:
            raise SettingsError(f"precision {precision!r} is not supported; choose one of auto, {', '.join(DTYPES)}")
        group = group or SingleRank()
        config = self._config = source.config
        self._dtype = DTYPES[precision]
        self._kv_heads = share(config.num_kv_heads, group, "KV heads")
        self._attention: AttentionBackend = TorchAttention()
        self._caches: list[LayerCache] = []
        self.spec = DeviceSpec(
            vocab_size=config.vocab_size,
            context_length=config.context_length,
            kv_bytes_per_token=2 * config.num_layers * self._kv_heads * config.head_dim * self._dtype.itemsize,
            precision=precision,
        )
        with torch.inference_mode():
            self._model = build_model(WeightLoader(source, group, self._dtype))

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """See Device."""
        shape = (num_blocks, block_size, self._kv_heads, self._config.head_dim)
        try:
            self._caches = [LayerCache.allocate(shape, self._dtype) for _ in range(self._config.num_layers)]
        except MemoryError as error:
            raise self.spec.too_little_memory(num_blocks * block_size) from error

    def execute(self, plan: StepPlan) -> Float32:
        """See Device."""
        with torch.inference_mode():
            step = step_inputs(plan, self._caches[0].block_size, self._attention)
            logits: Float32 = self._model(step, self._caches).float().numpy()
        return logits
