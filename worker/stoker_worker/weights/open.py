"""Opens a model, whatever it is stored as."""

from pathlib import Path

from stoker_worker.errors import ModelFileError
from stoker_worker.weights.gguf_source import GgufSource
from stoker_worker.weights.safetensors_source import PICKLES, SafetensorsSource
from stoker_worker.weights.source import WeightSource


def open_model(path: Path) -> WeightSource:
    """A GGUF file or a Hugging Face folder, checked to be complete: later reads fail only with the disk.

    Raises ModelFileError, which names the file at fault and what is wrong with it.
    """
    if path.is_dir():
        return SafetensorsSource(path)
    if any(path.match(pattern) for pattern in PICKLES):
        raise ModelFileError(path, "only safetensors and GGUF are read; convert pickled weights first")
    if path.suffix == ".safetensors":
        raise ModelFileError(path, "give the folder that holds it together with config.json and tokenizer.json")
    return GgufSource(path)
