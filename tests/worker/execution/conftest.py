"""Tiny random models as transformers computes them, and texts run through the device in every possible mixture."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from stoker_core.text import TextBundle
from stoker_worker.execution.device import Device
from stoker_worker.execution.native_device import NativeDevice
from stoker_worker.execution.torch_device import TorchDevice
from stoker_worker.kernels.native.build import library_path
from stoker_worker.models.config import ModelConfig
from stoker_worker.scheduling.plan import StepPlan
from stoker_worker.weights.source import WeightSource

VOCAB, CONTEXT = 71, 96


class MemorySource:
    """A WeightSource over tensors in memory."""

    path = Path("memory")
    revision = "0" * 12

    def __init__(self, config: ModelConfig, tensors: dict[str, np.ndarray]) -> None:
        self.config = config
        self.tensors = tensors
        self.total_bytes = sum(tensor.nbytes for tensor in tensors.values())

    def names(self) -> Iterator[str]:
        return iter(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def read(self, name: str, rows: slice | None = None) -> np.ndarray:
        return self.tensors[name][rows or slice(None)].copy()

    def text(self) -> TextBundle:
        raise NotImplementedError


@dataclass(frozen=True)
class Part:
    """`tokens` new tokens of a sequence that has `start` already; its KV lies in `blocks`."""

    tokens: np.ndarray
    start: int
    blocks: np.ndarray


def torch_device(source: WeightSource) -> Device:
    return TorchDevice(source)


def native_device(source: WeightSource) -> Device:
    return NativeDevice(source, library_path(), threads=2)


@pytest.fixture(params=[torch_device, native_device], ids=["torch", "native"])
def open_device(request: pytest.FixtureRequest) -> Callable[[WeightSource], Device]:
    """Each of the devices that compute in fp32 here, as a way to load a model onto it."""
    opened: Callable[[WeightSource], Device] = request.param
    return opened


@pytest.fixture(scope="session")
def part() -> type[Part]:
    return Part


@pytest.fixture(scope="session")
def memory_source() -> type[MemorySource]:
    return MemorySource


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., StepPlan]:
    return build_step


@pytest.fixture(scope="session")
def run_mixed() -> Callable[[Device, list[np.ndarray], int, int], list[np.ndarray]]:
    return run_in_random_steps


def build_step(parts: list[Part], block_size: int, *, all_logits: bool = True) -> StepPlan:
    """One step over `parts`, with the logits of all tokens or of each part's last."""
    counts = np.array([len(part.tokens) for part in parts])
    query_starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    positions = np.concatenate([np.arange(len(part.tokens)) + part.start for part in parts])
    tables = np.full((len(parts), max(len(part.blocks) for part in parts)), -1, np.int32)
    for row, part in enumerate(parts):
        tables[row, : len(part.blocks)] = part.blocks
    blocks = tables[np.repeat(np.arange(len(parts)), counts), positions // block_size]
    return StepPlan(
        token_ids=np.concatenate([part.tokens for part in parts]).astype(np.int32),
        positions=positions.astype(np.int32),
        slots=blocks.astype(np.int64) * block_size + positions % block_size,
        query_starts=query_starts,
        context_lens=np.array([part.start + len(part.tokens) for part in parts], np.int32),
        block_tables=tables,
        logits_rows=(np.arange(counts.sum()) if all_logits else query_starts[1:] - 1).astype(np.int32),
    )


def run_in_random_steps(device: Device, texts: list[np.ndarray], block_size: int, seed: int) -> list[np.ndarray]:
    """Logits [len(text), vocab] of each text, all of them computed side by side in random chunks over scattered blocks."""
    rng = np.random.default_rng(seed)
    needed = [-(-len(text) // block_size) for text in texts]
    device.allocate_kv(sum(needed) + 3, block_size)
    scattered = np.split(rng.permutation(sum(needed) + 3), np.cumsum(needed))
    done = [0] * len(texts)
    logits: list[list[np.ndarray]] = [[] for _ in texts]
    while any(count < len(text) for count, text in zip(done, texts, strict=True)):
        waiting = [row for row, text in enumerate(texts) if done[row] < len(text)]
        rows = rng.permutation(waiting)[: rng.integers(1, len(waiting) + 1)]
        sizes = [int(rng.choice([1, 1, 1, 2, 5, 13, 30])) for _ in rows]
        parts = [
            Part(texts[row][done[row] : done[row] + size], done[row], scattered[row])
            for row, size in zip(rows, sizes, strict=True)
        ]
        result = device.execute(build_step(parts, block_size))
        for row, part, chunk in zip(
            rows, parts, np.split(result, np.cumsum([len(p.tokens) for p in parts])[:-1]), strict=True
        ):
            logits[row].append(chunk.copy())
            done[row] += len(part.tokens)
    return [np.concatenate(chunks) for chunks in logits]


@pytest.fixture(scope="session")
def transformers() -> ModuleType:
    """The reference; it warns while it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        _ = transformers.LlamaForCausalLM, transformers.MistralForCausalLM, transformers.Qwen2ForCausalLM
    return transformers


@pytest.fixture
def reference(transformers: ModuleType) -> Callable[..., tuple[MemorySource, Callable[[np.ndarray], np.ndarray]]]:
    """For a decoder as we and as transformers describe it: random weights, and transformers' logits [len(text), vocab] of a text."""

    def make(
        config: ModelConfig, family: str, theirs: dict[str, object]
    ) -> tuple[MemorySource, Callable[[np.ndarray], np.ndarray]]:
        settings: dict[str, object] = {
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.num_kv_heads,
            "head_dim": config.head_dim,
            "max_position_embeddings": config.context_length,
            "rms_norm_eps": config.rms_norm_eps,
            "tie_word_embeddings": config.tie_embeddings,
            "sliding_window": config.sliding_window or None,
            "attn_implementation": "eager",
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            their_config = getattr(transformers, f"{family}Config")(**settings | theirs)
            model = getattr(transformers, f"{family}ForCausalLM")(their_config).float().eval()
        generator = torch.Generator().manual_seed(7)
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.data.copy_(values + 1 if "norm" in name else values)
        tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        if config.tie_embeddings:
            del tensors["lm_head.weight"]

        def logits(text: np.ndarray) -> np.ndarray:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result: np.ndarray = model(torch.from_numpy(text)[None].long(), use_cache=False).logits[0].numpy()
            return result

        return MemorySource(config, tensors), logits

    return make


@pytest.fixture(scope="session")
def tiny() -> Callable[..., ModelConfig]:
    """A small decoder; keywords change fields."""

    def make(**changes: object) -> ModelConfig:
        shape: dict[str, object] = {
            "architecture": "llama",
            "vocab_size": VOCAB,
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_layers": 3,
            "num_heads": 6,
            "num_kv_heads": 2,
            "head_dim": 8,
            "context_length": CONTEXT,
        }
        return ModelConfig(**shape | changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def texts() -> list[np.ndarray]:
    """Of a token, of a block, of nearly all of the context."""
    rng = np.random.default_rng(3)
    return [rng.integers(0, VOCAB, length) for length in (1, 16, 23, 40, 57, CONTEXT)]
