"""The text side of a model, as a worker hands it to gateways: one JSON document named by its sha256."""

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any


@dataclass(frozen=True, slots=True)
class TextBundle:
    """What is needed to turn messages into token ids and back.

    tokenizer             the `tokenizers` library's JSON, parsed
    chat_templates        name → jinja2 source; "default" is the one for chat; empty: the model takes no chat
    bos_token, eos_token  text of the special tokens that templates refer to, "" where there is none
    stop_token_ids        generation ends at any of these
    special_tokens        further names that templates may use, e.g. {"pad_token": "<|pad|>"}
    add_bos               prepend bos to a raw completion prompt
    generation            the model's own sampling defaults (temperature, top_p, top_k, …), as in generation_config.json
    """

    tokenizer: dict[str, Any]
    chat_templates: dict[str, str] = field(default_factory=dict)
    bos_token: str = ""
    eos_token: str = ""
    stop_token_ids: tuple[int, ...] = ()
    special_tokens: dict[str, str] = field(default_factory=dict)
    add_bos: bool = False
    generation: dict[str, float] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """A canonical encoding: equal bundles give equal bytes."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "TextBundle":
        """The inverse of `to_bytes`. Raises ValueError, KeyError or TypeError for bytes that are no bundle."""
        row = json.loads(data)
        row["stop_token_ids"] = tuple(row["stop_token_ids"])
        return cls(**row)


def bundle_digest(data: bytes) -> bytes:
    """The name of an encoded bundle: 32 bytes."""
    return sha256(data).digest()
