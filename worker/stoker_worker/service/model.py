"""What the front knows of the model it serves: its name at a revision, and the text side that gateways ask for."""

from dataclasses import dataclass
from pathlib import Path

from stoker_core.names import ModelRef
from stoker_core.text import bundle_digest
from stoker_worker.weights.open import open_model


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`bundle` is an encoded TextBundle, `digest` its name, `created_unix_s` when the file was made."""

    ref: ModelRef
    aliases: tuple[str, ...]
    bundle: bytes
    digest: bytes
    created_unix_s: int


def read_model(path: Path, model_id: str, aliases: tuple[str, ...]) -> ServedModel:
    """Read all but the weights; takes a second or so. Raises ModelFileError."""
    source = open_model(path)
    bundle = source.text().to_bytes()
    return ServedModel(
        ref=ModelRef(model_id, source.revision),
        aliases=aliases,
        bundle=bundle,
        digest=bundle_digest(bundle),
        created_unix_s=int(path.stat().st_mtime),
    )
