"""Opens a model, whatever it is stored as."""

from pathlib import Path

from stoker_worker.errors import ModelFileError
from stoker_worker.weights.gguf_source import GgufSource
from stoker_worker.weights.safetensors_source import INDEX, PICKLES, SINGLE, SafetensorsSource
from stoker_worker.weights.source import WeightSource


def open_model(path: Path) -> WeightSource:
    """A GGUF file, a folder with one, or a Hugging Face folder, checked to be complete: later reads fail only with the disk.

    Raises ModelFileError, which names the file at fault and what is wrong with it.
    """
    if path.is_dir():
        alone = _only_gguf(path)
        return GgufSource(alone) if alone else SafetensorsSource(path)
    if any(path.match(pattern) for pattern in PICKLES):
        raise ModelFileError(path, "only safetensors and GGUF are read; convert pickled weights first")
    if path.suffix == ".safetensors":
        raise ModelFileError(path, "give the folder that holds it together with config.json and tokenizer.json")
    return GgufSource(path)


def _only_gguf(folder: Path) -> Path | None:
    """The GGUF file of a folder that holds one and no safetensors. Raises ModelFileError if there are several."""
    if (folder / SINGLE).exists() or (folder / INDEX).exists():
        return None
    found = sorted(folder.glob("*.gguf"))
    if len(found) > 1:
        raise ModelFileError(folder, f"holds several GGUF files ({', '.join(path.name for path in found)}); give one")
    return found[0] if found else None
