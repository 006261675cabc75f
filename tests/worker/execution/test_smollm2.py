"""The default model on the device, against transformers on the same weights."""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from stoker_worker.execution.device import Device
from stoker_worker.weights.open import open_model
from stoker_worker.weights.source import WeightSource

BLOCK, NEW_TOKENS = 16, 12
# "Question: What is the capital of France? Answer:" and "def fibonacci(n):", as SmolLM2's tokenizer cuts them.
PROMPTS = (
    [17872, 42, 1812, 314, 260, 3575, 282, 4649, 47, 19842, 42],
    [1604, 3987, 46477, 24, 94, 727],
)


@pytest.fixture(scope="module")
def greedy(transformers: ModuleType, smollm2_reference: Path) -> list[list[int]]:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model = transformers.LlamaForCausalLM.from_pretrained(smollm2_reference, dtype=torch.float32)
        outputs = [
            model.generate(
                torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False
            )
            for prompt in PROMPTS
        ]
    return [output[0].tolist() for output in outputs]


def test_greedy_texts_decoded_side_by_side_are_those_of_transformers(
    open_device: Callable[[WeightSource], Device],
    greedy: list[list[int]],
    smollm2_gguf: Path,
    part: Any,
    make_plan: Callable[..., Any],
) -> None:
    device = open_device(open_model(smollm2_gguf))
    device.allocate_kv(8, BLOCK)
    tables = np.array([5, 2]), np.array([7, 0])
    texts = [list(prompt) for prompt in PROMPTS]
    done = [0, 0]
    for _ in range(NEW_TOKENS):
        new = [
            part(np.array(text[start:]), start, table) for text, start, table in zip(texts, done, tables, strict=True)
        ]
        done = [len(text) for text in texts]
        for text, logits in zip(texts, device.execute(make_plan(new, BLOCK, all_logits=False)), strict=True):
            text.append(int(logits.argmax()))
    assert texts == greedy
