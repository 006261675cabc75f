"""Weights from a Hugging Face folder: config.json and safetensors files, in one piece or in shards."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from stoker_core.text import TextBundle
from stoker_worker.errors import ModelFileError
from stoker_worker.weights.expected import check_tensors
from stoker_worker.weights.fields import Fields
from stoker_worker.weights.fingerprint import data_samples, fingerprint
from stoker_worker.weights.hf_config import read_config
from stoker_worker.weights.hf_text import read_text, text_files
from stoker_worker.weights.json_files import read_bytes, read_json
from stoker_worker.weights.safetensors_file import SafetensorsFile
from stoker_worker.weights.source import Float32

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class SafetensorsSource:
    """A WeightSource over a folder. Raises ModelFileError if a file is missing, broken or not supported."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._files = [SafetensorsFile(path) for path in _weight_files(folder)]
        self.config = read_config(folder / "config.json")
        self._holders = {name: file for file in self._files for name in file.tensors}
        _check_index(folder, self._holders)
        check_tensors(folder, self.config, {name: self.shape(name) for name in self._holders})

    @cached_property
    def revision(self) -> str:
        """See WeightSource."""
        return fingerprint(self._identity())

    @property
    def total_bytes(self) -> int:
        """See WeightSource."""
        return sum(tensor.end - tensor.start for file in self._files for tensor in file.tensors.values())

    def names(self) -> Iterator[str]:
        """See WeightSource."""
        return iter(self._holders)

    def shape(self, name: str) -> tuple[int, ...]:
        """See WeightSource."""
        return self._holders[name].tensors[name].shape

    def read(self, name: str, rows: slice | None = None) -> Float32:
        """See WeightSource."""
        return self._holders[name].read(name, rows)

    def text(self) -> TextBundle:
        """See WeightSource."""
        return read_text(self.path)

    def _identity(self) -> Iterator[bytes]:
        for path in (self.path / "config.json", *text_files(self.path)):
            yield path.name.encode()
            yield read_bytes(path)
        for file in self._files:
            yield file.header
            yield from data_samples(file.data, (tensor.start for tensor in file.tensors.values()))


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files to read, in order. Raises ModelFileError if there are none, or a shard is missing."""
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        return _shards(folder)
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelFileError(
            folder, f"holds pickled weights ({pickles[0]}); only safetensors and GGUF are read: convert them first"
        )
    raise ModelFileError(folder, f"holds neither {SINGLE} nor {INDEX}; give a .gguf file or a Hugging Face folder")


def _shards(folder: Path) -> list[Path]:
    names = sorted(set(_weight_map(folder).values()))
    for name in names:
        if Path(name).name != name:
            raise ModelFileError(folder / INDEX, f"shard {name!r} must be a file of this folder")
        if not (folder / name).exists():
            raise ModelFileError(folder / name, f"this shard is missing, {INDEX} lists it; download it again")
    return [folder / name for name in names]


def _check_index(folder: Path, holders: dict[str, SafetensorsFile]) -> None:
    if (folder / SINGLE).exists():
        return
    for name, shard in _weight_map(folder).items():
        if name not in holders:
            raise ModelFileError(folder / shard, f"tensor {name} is missing, {INDEX} says that it is here")


def _weight_map(folder: Path) -> dict[str, str]:
    index = Fields(folder / INDEX, read_json(folder / INDEX))
    entries = index.child("weight_map")
    if not list(entries):
        raise index.wrong("weight_map", "an object of tensor names and shards")
    return {name: entries.text(name) for name in entries}
