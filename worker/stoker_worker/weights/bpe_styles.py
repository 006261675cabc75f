"""How byte-level BPE vocabularies cut text before merging, by the names that GGUF files give them (`tokenizer.ggml.pre`).

A pattern has to be the one that the vocabulary was trained with, or text falls into other tokens than the model has seen.
All steps are pre-tokenizers in the `tokenizers` library's JSON.
"""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BpeStyle:
    """One family of byte-level BPE.

    steps          regular expressions, each isolating its matches in what the one before left whole
    normalizer     the `tokenizers` normalizer's type, "" for none
    ignore_merges  a piece that is itself in the vocabulary is not merged up
    add_bos        what `tokenizer.ggml.add_bos_token` is where the file does not say
    """

    steps: tuple[str, ...]
    normalizer: str = ""
    ignore_merges: bool = False
    add_bos: bool = False

    def pre_tokenizer(self) -> Json:
        """The steps and the mapping of bytes to letters."""
        return {"type": "Sequence", "pretokenizers": [*map(_split, self.steps), byte_level()]}


def byte_level() -> Json:
    """The mapping of bytes to letters alone, as pre-tokenizer or decoder."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def _split(pattern: str) -> Json:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CJK = "[一-龥ࠀ-一가-퟿]+"

_GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def _cl100k_words(digits: str) -> str:
    return rf"{_SUFFIXES}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"


def _cased_words(suffixes: str, digits: str) -> str:
    lead = r"[^\r\n\p{L}\p{N}]?"
    return (
        rf"{lead}{_UPPER}*{_LOWER}+{suffixes}|{lead}{_UPPER}+{_LOWER}*{suffixes}|{digits}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
    )


# The cased letters as DeepSeek's first tokenizer lists them; not quite any Unicode category.
_DEEPSEEK_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼι"
    "ῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_DEEPSEEK_V3_WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"
)

_GPT2 = BpeStyle((_GPT2_WORDS,))
_DIGIT_WISE = BpeStyle((r"\p{N}", _GPT2_WORDS))
_LLAMA3 = BpeStyle((_cl100k_words(r"\p{N}{1,3}"),), ignore_merges=True, add_bos=True)
_CL100K = BpeStyle((_cl100k_words(r"\p{N}{1,3}"),))
_QWEN2 = BpeStyle((_cl100k_words(r"\p{N}"),), normalizer="NFC")

BPE_STYLES = {
    "default": BpeStyle((r"[\p{P}\$\+<=>\^~\|]+", _GPT2_WORDS, r"\p{N}+", "[0-9][0-9][0-9]")),
    "gpt-2": _GPT2,
    "olmo": _GPT2,
    "phi-2": _GPT2,
    "exaone4": _GPT2,
    "smollm": _DIGIT_WISE,
    "starcoder": _DIGIT_WISE,
    "refact": _DIGIT_WISE,
    "command-r": _DIGIT_WISE,
    "codeshell": _DIGIT_WISE,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama-bpe": _LLAMA3,
    "falcon3": _LLAMA3,
    "dbrx": _CL100K,
    "smaug-bpe": _CL100K,
    "glm4": _CL100K,
    "chatglm-bpe": _CL100K,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "megrez": _QWEN2,
    "stablelm2": BpeStyle((_cl100k_words(r"\p{N}"),)),
    "tekken": BpeStyle((_cased_words("", r"\p{N}"),), ignore_merges=True, add_bos=True),
    "gpt-4o": BpeStyle((_cased_words(f"{_SUFFIXES}?", r"\p{N}{1,3}"),)),
    "llama4": BpeStyle((_cased_words(f"{_SUFFIXES}?", r"\p{N}{1,3}"),)),
    "deepseek-llm": BpeStyle(
        (r"[\r\n]", rf"\s?[{_DEEPSEEK_LETTERS}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", _CJK, r"\p{N}")
    ),
    "deepseek-coder": BpeStyle((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")),
    "deepseek-v3": BpeStyle((r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", _DEEPSEEK_V3_WORDS)),
}
