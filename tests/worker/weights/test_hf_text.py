"""The text files of Hugging Face folders, in the forms that they are found in."""

import json
from pathlib import Path
from typing import Any

import pytest

from stoker_core.text import TextBundle
from stoker_worker.errors import ModelFileError
from stoker_worker.weights.hf_text import read_text

BOS_FIRST = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}
TOKENIZER = {
    "added_tokens": [{"id": 0, "content": "<s>"}, {"id": 1, "content": "</s>"}, {"id": 2, "content": "<eot>"}],
    "model": {"type": "BPE", "vocab": {"<s>": 0, "</s>": 1, "<eot>": 2, "plain": 3}, "merges": []},
    "post_processor": None,
    "truncation": {"max_length": 8},
}
SPECIAL = {"bos_token": "<s>", "eos_token": {"content": "</s>", "__type": "AddedToken"}, "pad_token": None}

Files = dict[str, Any]


def write(folder: Path, files: Files) -> Path:
    for name, content in ({"tokenizer.json": TOKENIZER} | files).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {"bos_token": "", "eos_token": "", "stop_token_ids": (), "add_bos": False, "chat_templates": {}}),
        ({"tokenizer_config.json": SPECIAL}, {"bos_token": "<s>", "eos_token": "</s>", "stop_token_ids": (1,)}),
        ({"special_tokens_map.json": SPECIAL}, {"bos_token": "<s>", "eos_token": "</s>"}),
        (
            {"special_tokens_map.json": {"eos_token": "<s>", "unk_token": "u"}, "tokenizer_config.json": SPECIAL},
            {"eos_token": "</s>", "special_tokens": {"unk_token": "u"}},
        ),
        ({"tokenizer_config.json": {"eos_token": "plain"}}, {"stop_token_ids": (3,)}),
        ({"config.json": {"eos_token_id": 2}, "tokenizer_config.json": SPECIAL}, {"stop_token_ids": (2, 1)}),
        (
            {"config.json": {"eos_token_id": 0}, "generation_config.json": {"eos_token_id": [2, 1]}},
            {"stop_token_ids": (2, 1)},
        ),
        ({"tokenizer_config.json": SPECIAL | {"add_bos_token": True}}, {"add_bos": True}),
        ({"tokenizer_config.json": {"add_bos_token": True}}, {"add_bos": False}),
        (
            {"tokenizer.json": TOKENIZER | {"post_processor": BOS_FIRST}, "tokenizer_config.json": SPECIAL},
            {"add_bos": True},
        ),
        (
            {
                "tokenizer.json": TOKENIZER
                | {"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, BOS_FIRST]}},
                "tokenizer_config.json": SPECIAL,
            },
            {"add_bos": True},
        ),
        (
            {
                "tokenizer.json": TOKENIZER | {"post_processor": BOS_FIRST},
                "tokenizer_config.json": SPECIAL | {"add_bos_token": False},
            },
            {"add_bos": False},
        ),
        ({"tokenizer_config.json": {"chat_template": "one"}}, {"chat_templates": {"default": "one"}}),
        (
            {
                "tokenizer_config.json": {
                    "chat_template": [{"name": "default", "template": "d"}, {"name": "rag", "template": "r"}]
                }
            },
            {"chat_templates": {"default": "d", "rag": "r"}},
        ),
        (
            {
                "tokenizer_config.json": {"chat_template": "older"},
                "chat_template.jinja": "newer\n",
                "additional_chat_templates/tool_use.jinja": "tools",
            },
            {"chat_templates": {"default": "newer\n", "tool_use": "tools"}},
        ),
        (
            {"generation_config.json": {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "do_sample": True, "x": "y"}},
            {"generation": {"temperature": 0.6, "top_p": 0.9, "top_k": 20.0}},
        ),
    ],
    ids=", ".join,
)
def test_what_the_files_say(files: Files, expected: dict[str, Any], tmp_path: Path) -> None:
    bundle = read_text(write(tmp_path, files))
    assert {key: getattr(bundle, key) for key in expected} == expected
    assert TextBundle.from_bytes(bundle.to_bytes()) == bundle


def test_the_tokenizer_neither_cuts_nor_pads(tmp_path: Path) -> None:
    tokenizer = read_text(write(tmp_path, {})).tokenizer
    assert (tokenizer["truncation"], tokenizer["padding"]) == (None, None)
    assert tokenizer["model"] == TOKENIZER["model"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"tokenizer.json": "{"}, "tokenizer.json: is not valid JSON"),
        ({"tokenizer.json": "[]"}, "tokenizer.json: must hold a JSON object, it holds a list"),
        ({"tokenizer.json": {"added_tokens": [{"id": 1}]}}, "tokenizer.json: added_tokens must be a list of tokens"),
        (
            {"tokenizer.json": TOKENIZER | {"post_processor": [1]}, "tokenizer_config.json": SPECIAL},
            "tokenizer.json: post_processor must be a post-processor",
        ),
        ({"tokenizer_config.json": {"chat_template": [{"name": "x"}]}}, "chat_template must be a string or a list"),
        ({"generation_config.json": {"temperature": "hot"}}, "generation_config.json: temperature must be a number"),
        ({"generation_config.json": {"eos_token_id": "</s>"}}, "eos_token_id must be a token id or a list of them"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_the_files(files: Files, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as raised:
        read_text(write(tmp_path, files))
    assert words in str(raised.value)


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"tokenizer\.json: is missing"):
        read_text(tmp_path)


def test_a_template_that_is_no_text_is_named(tmp_path: Path) -> None:
    (write(tmp_path, {}) / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelFileError, match=r"chat_template\.jinja: is not UTF-8"):
        read_text(tmp_path)
