"""GGUF metadata → the text side of a model, the tokenizer as the `tokenizers` library's JSON."""

from enum import IntEnum
from typing import Any

from stoker_core.text import TextBundle
from stoker_worker.errors import ModelFileError
from stoker_worker.weights.bpe_styles import BPE_STYLES, BpeStyle, byte_level
from stoker_worker.weights.fields import Fields
from stoker_worker.weights.gguf_file import GgufFile
from stoker_worker.weights.sentencepiece import merges_from_scores, spm_decoder, spm_normalizer

Json = dict[str, Any]


class TokenType(IntEnum):
    """What GGUF says of a token; the types that mean nothing here are left out."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4


# Matched in text before anything is split, and whether encoding may be told to treat them as ordinary text.
_ADDED = {TokenType.UNKNOWN: True, TokenType.CONTROL: True, TokenType.USER_DEFINED: False}
_STOP_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
# Ends of a turn in files that name eos alone.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>")
_SPECIAL_KEYS = {
    "unknown_token_id": "unk_token",
    "padding_token_id": "pad_token",
    "seperator_token_id": "sep_token",  # the format's own spelling
    "cls_token_id": "cls_token",
    "mask_token_id": "mask_token",
}
_SAMPLING_KEYS = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}


def read_text(file: GgufFile) -> TextBundle:
    """The bundle. Raises ModelFileError where the file has no tokenizer or one of an unknown kind."""
    fields = Fields(file.path, file.metadata, prefix="tokenizer.ggml.")
    vocabulary = _Vocabulary(fields)
    kind = fields.text("model")
    if kind == "gpt2":
        style = _bpe_style(fields)
        tokenizer, add_bos = _byte_level_bpe(vocabulary, style), style.add_bos
    elif kind == "llama":
        tokenizer, add_bos = _sentencepiece_bpe(vocabulary), True
    else:
        raise ModelFileError(file.path, f"tokenizer.ggml.model {kind!r} is not supported; supported are gpt2, llama")
    return TextBundle(
        tokenizer=tokenizer,
        chat_templates=_chat_templates(file),
        bos_token=vocabulary.text_of("bos_token_id"),
        eos_token=vocabulary.text_of("eos_token_id"),
        stop_token_ids=_stop_token_ids(vocabulary),
        special_tokens={name: text for key, name in _SPECIAL_KEYS.items() if (text := vocabulary.text_of(key))},
        add_bos=fields.flag("add_bos_token", add_bos) and fields.has("bos_token_id"),
        generation=_generation(file),
    )


class _Vocabulary:
    """Tokens by id, with what the metadata says of them."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.tokens = fields.strings("tokens")
        if not self.tokens:
            raise ModelFileError(fields.path, "tokenizer.ggml.tokens is missing: the file holds no tokenizer")
        self.types: list[int] = fields.array("token_type") or [TokenType.NORMAL] * len(self.tokens)
        if len(self.types) != len(self.tokens):
            raise fields.wrong("token_type", f"a list of {len(self.tokens)} types, one per token")

    def ids(self) -> dict[str, int]:
        return {text: token_id for token_id, text in enumerate(self.tokens)}

    def id_of(self, key: str) -> int | None:
        """A token id that the metadata names, None where it names none."""
        if not self.fields.has(key):
            return None
        token_id = self.fields.integer(key)
        if token_id >= len(self.tokens):
            raise self.fields.wrong(key, f"a token id below {len(self.tokens)}")
        return token_id

    def text_of(self, key: str) -> str:
        token_id = self.id_of(key)
        return "" if token_id is None else self.tokens[token_id]

    def added_tokens(self) -> list[Json]:
        return [
            {
                "id": token_id,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": _ADDED[TokenType(kind)],
            }
            for token_id, (text, kind) in enumerate(zip(self.tokens, self.types, strict=True))
            if kind in _ADDED
        ]


def _bpe_style(fields: Fields) -> BpeStyle:
    name = fields.text("pre", "default")
    if name not in BPE_STYLES:
        raise fields.wrong("pre", f"one of {', '.join(BPE_STYLES)}")
    return BPE_STYLES[name]


def _byte_level_bpe(vocabulary: _Vocabulary, style: BpeStyle) -> Json:
    merges = [merge.split(" ", 1) for merge in vocabulary.fields.strings("merges")]
    if not merges:
        raise ModelFileError(vocabulary.fields.path, "tokenizer.ggml.merges is missing")
    if any(len(merge) != 2 for merge in merges):
        raise vocabulary.fields.wrong("merges", "a list of pairs, their halves parted by a space")
    model = {
        "type": "BPE",
        "ignore_merges": style.ignore_merges,
        "vocab": vocabulary.ids(),
        "merges": merges,
    }
    normalizer = {"type": style.normalizer} if style.normalizer else None
    return _tokenizer(vocabulary, normalizer, style.pre_tokenizer(), model, byte_level())


def _sentencepiece_bpe(vocabulary: _Vocabulary) -> Json:
    scores = vocabulary.fields.numbers("scores")
    if len(scores) != len(vocabulary.tokens):
        raise vocabulary.fields.wrong("scores", f"a list of {len(vocabulary.tokens)} numbers, one per token")
    ordinary = [kind == TokenType.NORMAL for kind in vocabulary.types]
    ids = vocabulary.ids()
    model = {
        "type": "BPE",
        "unk_token": vocabulary.text_of("unknown_token_id") or None,
        "fuse_unk": True,
        "byte_fallback": True,
        "vocab": ids,
        "merges": merges_from_scores(ids, scores, ordinary),
    }
    space_first = vocabulary.fields.flag("add_space_prefix", True)
    return _tokenizer(vocabulary, spm_normalizer(space_first), None, model, spm_decoder(space_first))


def _tokenizer(
    vocabulary: _Vocabulary, normalizer: Json | None, pre_tokenizer: Json | None, model: Json, decoder: Json
) -> Json:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocabulary.added_tokens(),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def _stop_token_ids(vocabulary: _Vocabulary) -> tuple[int, ...]:
    named = [token_id for key in _STOP_KEYS if (token_id := vocabulary.id_of(key)) is not None]
    ids = vocabulary.ids()
    turn_ends = [ids[text] for text in _TURN_ENDS if text in ids and vocabulary.types[ids[text]] == TokenType.CONTROL]
    return tuple(dict.fromkeys(named + turn_ends))


def _chat_templates(file: GgufFile) -> dict[str, str]:
    fields = Fields(file.path, file.metadata, prefix="tokenizer.")
    keys = {"default": "chat_template"}
    keys |= {name: f"chat_template.{name}" for name in fields.array("chat_templates")}
    return {name: fields.text(key) for name, key in keys.items() if fields.has(key)}


def _generation(file: GgufFile) -> dict[str, float]:
    fields = Fields(file.path, file.metadata, prefix="general.sampling.")
    return {name: fields.number(key) for key, name in _SAMPLING_KEYS.items() if fields.has(key)}
