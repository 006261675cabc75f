"""Write tiny Hugging Face folders with random weights, and beside each the float32 values that reading it must give.

A process of its own, because transformers warns while it imports and the test run turns warnings into errors.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config
from transformers.models.llama import LlamaForCausalLM
from transformers.models.mistral import MistralForCausalLM
from transformers.models.qwen2 import Qwen2ForCausalLM

SIZES = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CLASSES = {LlamaConfig: LlamaForCausalLM, MistralConfig: MistralForCausalLM, Qwen2Config: Qwen2ForCausalLM}
FOLDERS: dict[str, tuple[PretrainedConfig, torch.dtype]] = {
    "llama-f32": (LlamaConfig(**SIZES, tie_word_embeddings=True), torch.float32),
    "llama3-bf16": (LlamaConfig(**SIZES, rope_parameters=LLAMA3_ROPE, max_position_embeddings=512), torch.bfloat16),
    "llama-biases-f16": (LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, head_dim=32), torch.float16),
    "mistral-bf16": (MistralConfig(**SIZES, sliding_window=48), torch.bfloat16),
    "qwen2-bf16": (Qwen2Config(**SIZES, tie_word_embeddings=True), torch.bfloat16),
}


def main(root: Path) -> None:
    """Make every folder of FOLDERS under `root`, in shards of 60 kB."""
    torch.manual_seed(0)
    for name, (config, dtype) in FOLDERS.items():
        model = CLASSES[type(config)](config).to(dtype)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
        model.save_pretrained(root / name, max_shard_size="60KB")
        values = {key: value.float().numpy() for key, value in model.state_dict().items()}
        np.savez(root / f"{name}.npz", **values)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
