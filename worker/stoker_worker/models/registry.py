"""Which class serves which architecture."""

from collections.abc import Callable, Sequence

from torch import Tensor

from stoker_worker.attention.kv_cache import LayerCache
from stoker_worker.errors import ModelFileError
from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.step import StepInputs
from stoker_worker.models.config import LLAMA_FAMILY, ModelConfig
from stoker_worker.models.llama import LlamaForCausalLM

Model = Callable[[StepInputs, Sequence[LayerCache]], Tensor]

MODELS: dict[str, Callable[[ModelConfig, WeightLoader], Model]] = dict.fromkeys(LLAMA_FAMILY, LlamaForCausalLM)


def build_model(loader: WeightLoader) -> Model:
    """Read the model that `loader.source` holds. Raises ModelFileError if its architecture or activation is not supported."""
    config, path = loader.source.config, loader.source.path
    if config.architecture not in MODELS:
        raise ModelFileError(
            path, f"architecture {config.architecture!r} is not supported; supported are {', '.join(MODELS)}"
        )
    if config.hidden_act != "silu":
        raise ModelFileError(path, f"activation {config.hidden_act!r} is not supported; only silu is")
    return MODELS[config.architecture](config, loader)
