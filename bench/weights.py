"""The same weights in every form that a peer wants, made once under .cache."""

import subprocess
import sys
from pathlib import Path

from bench.machine import ROOT

from stoker_cli.errors import ServerFailure
from stoker_cli.up.assembly import EMBEDDED, find_installed

CACHE = ROOT / ".cache"


def default_gguf() -> Path:
    """The default model as its package ships it (Q4_1). Raises ServerFailure if the package is missing."""
    path = find_installed(EMBEDDED)
    if path is None:
        raise ServerFailure(f"the package {EMBEDDED.requirement} is not installed here: run `make install`")
    return path


def reference_folder() -> Path:
    """The same weights in fp32 as a Hugging Face folder."""
    folder = CACHE / "smollm2-reference"
    if not (folder / "complete").exists():
        script = ROOT / "tests" / "make_reference.py"
        subprocess.run([sys.executable, str(script), str(default_gguf()), str(folder)], check=True)
    return folder


def fp32_gguf() -> Path:
    """The same weights in fp32 as a GGUF file."""
    path = CACHE / "peers" / "smollm2-f32.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        _dequantise(default_gguf(), partial)
        partial.rename(path)
    return path


def _dequantise(source: Path, target: Path) -> None:
    """Copy a GGUF file, its metadata as it is and its tensors as F32."""
    import gguf

    reader = gguf.GGUFReader(source)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in (
            "general.architecture",
            "general.file_type",
            "general.quantization_version",
        ):
            continue
        element = field.types[1] if field.types[0] is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], element)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
