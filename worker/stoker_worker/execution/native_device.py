"""The device that runs a decoder's step as native code, on CPUs, without torch."""

from pathlib import Path

import numpy as np

from stoker_worker.errors import OutOfMemory
from stoker_worker.execution.device import DeviceSpec, Float32
from stoker_worker.kernels.native.library import NativeDecoder, Shape, Step, Tensor
from stoker_worker.models.config import LLAMA_FAMILY, ModelConfig
from stoker_worker.models.rotary import Rotary
from stoker_worker.scheduling.plan import StepPlan
from stoker_worker.weights.expected import ROPE_FREQS, expected_tensors
from stoker_worker.weights.source import WeightSource

KEYS_PER_BLOCK = 16  # a block's keys fill whole panels
FLOAT32_BYTES = 4

_WHOLE = {
    "model.embed_tokens.weight": Tensor.EMBEDDING,
    "lm_head.weight": Tensor.HEAD,
    "model.norm.weight": Tensor.FINAL_NORM,
}
_OF_A_LAYER = {
    "input_layernorm": Tensor.ATTENTION_NORM,
    "post_attention_layernorm": Tensor.MLP_NORM,
    "self_attn.q_proj": Tensor.Q,
    "self_attn.k_proj": Tensor.K,
    "self_attn.v_proj": Tensor.V,
    "self_attn.o_proj": Tensor.OUT,
    "mlp.gate_proj": Tensor.GATE,
    "mlp.up_proj": Tensor.UP,
    "mlp.down_proj": Tensor.DOWN,
}
_BIAS_AFTER_WEIGHT = Tensor.Q_BIAS - Tensor.Q


def refusal(config: ModelConfig, precision: str, block_size: int) -> str:
    """Why the native step cannot serve a model so; empty if it can."""
    if config.architecture not in LLAMA_FAMILY or config.hidden_act != "silu":
        return f"it has no {config.architecture} with {config.hidden_act}"
    if precision not in ("auto", "fp32"):
        return f"it computes in fp32, not in {precision}"
    if block_size % KEYS_PER_BLOCK:
        return f"its blocks hold a multiple of {KEYS_PER_BLOCK} tokens, not {block_size}"
    return ""


class NativeDevice:
    """Implements `execution.device.Device` for what `refusal` lets pass. Reads all weights when it is made.

    library  the compiled library
    threads  that compute
    Raises ModelFileError, OutOfMemory.
    """

    def __init__(self, source: WeightSource, library: Path, threads: int) -> None:
        config = source.config
        self._rotary = Rotary(config, source.read(ROPE_FREQS) if ROPE_FREQS in source.names() else None)
        try:
            self._decoder = NativeDecoder(library, _shape(config), threads)
            for name, _ in expected_tensors(config):
                self._decoder.set_tensor(*_place(name, config), source.read(name))
        except MemoryError as error:
            raise OutOfMemory(f"the weights of {source.path} do not fit: give the process more memory") from error
        self._logits = np.empty((0, self._decoder.logits_stride), np.float32)
        self.spec = DeviceSpec(
            vocab_size=config.vocab_size,
            context_length=config.context_length,
            kv_bytes_per_token=2 * config.num_layers * config.num_kv_heads * config.head_dim * FLOAT32_BYTES,
            precision="fp32",
        )

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """See Device."""
        try:
            self._decoder.allocate_kv(num_blocks, block_size)
        except MemoryError as error:
            raise self.spec.too_little_memory(num_blocks * block_size) from error

    def execute(self, plan: StepPlan) -> Float32:
        """See Device."""
        cos, sin = self._rotary(plan.positions)
        rows = len(plan.logits_rows)
        if len(self._logits) < rows:
            self._logits = np.empty((rows, self._decoder.logits_stride), np.float32)
        step = Step(
            tokens=plan.tokens,
            sequences=plan.sequences,
            logits=rows,
            token_ids=plan.token_ids.ctypes.data,
            slots=plan.slots.ctypes.data,
            cos=cos.ctypes.data,
            sin=sin.ctypes.data,
            query_starts=plan.query_starts.ctypes.data,
            context_lens=plan.context_lens.ctypes.data,
            block_tables=plan.block_tables.ctypes.data,
            table_width=plan.block_tables.shape[1],
            logits_rows=plan.logits_rows.ctypes.data,
        )
        self._decoder.run(step, self._logits)
        return self._logits[:rows, : self.spec.vocab_size]


def _shape(config: ModelConfig) -> Shape:
    return Shape(
        vocab=config.vocab_size,
        hidden=config.hidden_size,
        inner=config.intermediate_size,
        layers=config.num_layers,
        heads=config.num_heads,
        kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        rope_dim=config.rope_dim or config.head_dim,
        window=config.sliding_window,
        norm_eps=config.rms_norm_eps,
    )


def _place(name: str, config: ModelConfig) -> tuple[Tensor, int]:
    """Which of the decoder's tensors has this name, and of which layer."""
    if name in _WHOLE:
        is_head = name == "model.embed_tokens.weight" and config.tie_embeddings
        return (Tensor.HEAD if is_head else _WHOLE[name]), 0
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    module, _, kind = rest.rpartition(".")
    tensor = _OF_A_LAYER[module]
    return (tensor if kind == "weight" else Tensor(tensor + _BIAS_AFTER_WEIGHT)), int(layer)
