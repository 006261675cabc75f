"""Which models can be built."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stoker_worker.errors import ModelFileError
from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.parallel import SingleRank
from stoker_worker.models.config import ModelConfig
from stoker_worker.models.registry import build_model

CONFIG = ModelConfig("llama", 8, 8, 8, 1, 1, 1, 8, 8)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            replace(CONFIG, architecture="gpt2"),
            "some/model: architecture 'gpt2' is not supported; supported are llama, mistral, qwen2",
        ),
        (replace(CONFIG, hidden_act="gelu"), "some/model: activation 'gelu' is not supported; only silu is"),
    ],
)
def test_a_model_that_would_be_computed_wrongly_is_refused(config: ModelConfig, message: str) -> None:
    source = SimpleNamespace(config=config, path=Path("some/model"))
    with pytest.raises(ModelFileError, match=message):
        build_model(WeightLoader(source, SingleRank(), torch.float32))  # type: ignore[arg-type]
