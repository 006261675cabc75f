"""The Llama family: Llama 2 and 3.x, SmolLM2, Mistral, Qwen2 and Qwen2.5."""

from collections.abc import Sequence

from torch import Tensor

from stoker_worker.attention.kv_cache import LayerCache
from stoker_worker.layers.attention import DecoderAttention
from stoker_worker.layers.embedding import ParallelHead, VocabParallelEmbedding
from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.mlp import SwiGLU
from stoker_worker.layers.norm import RMSNorm
from stoker_worker.layers.rope import RotaryEmbedding, Rotation
from stoker_worker.layers.step import StepInputs
from stoker_worker.models.config import ModelConfig


class LlamaLayer:
    """Attention and feed-forward, each on the normalised residual stream and added to it."""

    def __init__(self, config: ModelConfig, loader: WeightLoader, name: str) -> None:
        self._attention_norm = RMSNorm(loader, f"{name}.input_layernorm", config.rms_norm_eps)
        self._attention = DecoderAttention(config, loader, f"{name}.self_attn")
        self._mlp_norm = RMSNorm(loader, f"{name}.post_attention_layernorm", config.rms_norm_eps)
        self._mlp = SwiGLU(loader, f"{name}.mlp", bias=config.mlp_bias)

    def __call__(self, residual: Tensor, rotation: Rotation, step: StepInputs, cache: LayerCache) -> None:
        """Update `residual` [T, hidden] in place."""
        attended = self._attention(self._attention_norm(residual), rotation, step, cache)
        residual.add_(self._mlp(self._mlp_norm.add(residual, attended)))


class LlamaForCausalLM:
    """A decoder that predicts the next token. Building it reads all weights."""

    def __init__(self, config: ModelConfig, loader: WeightLoader) -> None:
        self._embedding = VocabParallelEmbedding(loader, "model.embed_tokens")
        self._rotary = RotaryEmbedding(config, loader.dtype, loader.rope_divisors())
        self._layers = [LlamaLayer(config, loader, f"model.layers.{index}") for index in range(config.num_layers)]
        self._norm = RMSNorm(loader, "model.norm", config.rms_norm_eps)
        self._head = ParallelHead(loader, "lm_head", tied_to=self._embedding if config.tie_embeddings else None)

    def __call__(self, step: StepInputs, caches: Sequence[LayerCache]) -> Tensor:
        """Run one step and return logits [L, vocab] of `step.logits_rows`; `caches` has one entry per layer."""
        residual = self._embedding(step.token_ids)
        rotation = self._rotary(step.positions)
        for layer, cache in zip(self._layers, caches, strict=True):
            layer(residual, rotation, step, cache)
        return self._head(self._norm(residual[step.logits_rows]))
