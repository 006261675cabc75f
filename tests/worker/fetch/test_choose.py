"""Which files of a source make up its model."""

import pytest

from stoker_worker.errors import SourceError
from stoker_worker.fetch.choose import choose, shards

TEXTS = ["config.json", "tokenizer.json"]
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("names", "file", "chosen"),
    [
        ([*TEXTS, SINGLE, "README.md", "run.py", "run.sh", "pytorch_model.bin"], "", [*TEXTS, SINGLE]),
        ([*TEXTS, SINGLE, "generation_config.json"], "", [*TEXTS, "generation_config.json", SINGLE]),
        ([*TEXTS, SINGLE, "chat_template.jinja"], "", [*TEXTS, "chat_template.jinja", SINGLE]),
        ([*TEXTS, SINGLE, "additional_chat_templates/a.jinja"], "", [*TEXTS, "additional_chat_templates/a.jinja", SINGLE]),
        ([*TEXTS, SINGLE, "additional_chat_templates/a/b.jinja", "x/additional_chat_templates/c.jinja"], "", [*TEXTS, SINGLE]),
        ([*TEXTS, INDEX, "model-1.safetensors", "consolidated.safetensors"], "", [*TEXTS, INDEX]),
        ([*TEXTS, SINGLE, INDEX, "q4.gguf"], "", [*TEXTS, SINGLE]),
        (["q4.gguf", "README.md", "config.json"], "", ["q4.gguf"]),
        (["q4.gguf", "q8.gguf", "deep/q2.gguf"], "q8.gguf", ["q8.gguf"]),
        (["q4.gguf", "q8.gguf", "deep/q2.gguf"], "deep/q2.gguf", ["deep/q2.gguf"]),
    ],
)  # fmt: skip
def test_chosen(names: list[str], file: str, chosen: list[str]) -> None:
    assert sorted(choose(names, file).names) == sorted(chosen)


@pytest.mark.parametrize(
    ("names", "file", "told"),
    [
        ([], "", "there is no model: neither model.safetensors"),
        (["README.md", "a.py"], "", r"nor a .gguf file \(found: README.md, a.py\)"),
        (["pytorch_model.bin", *TEXTS], "", r"only pickled weights \(pytorch_model.bin\), which can run code"),
        (["deep/x.pt", "a.ckpt", "b.pth"], "", "only pickled weights"),
        ([f"{i}.bin" for i in range(9)], "", r"0.bin, 1.bin, 2.bin, 3.bin and 5 more"),
        (["q4.gguf", "q8.gguf"], "", "several GGUF files .q4.gguf, q8.gguf.: name one"),
        (["deep/q4.gguf"], "", "there is no model"),
        (["q4.gguf"], "q5.gguf", "there is no q5.gguf; GGUF files there: q4.gguf"),
        (["m-00001-of-00002.gguf"], "m-00001-of-00002.gguf", "one part of a split model"),
        ([SINGLE, "tokenizer.json"], "", "weights but no config.json: a model needs both"),
        ([INDEX], "", "weights but no config.json and no tokenizer.json"),
        ([*TEXTS, SINGLE, "../../etc/passwd"], "", "named '../../etc/passwd': such names are refused"),
        ([*TEXTS, SINGLE, "/etc/passwd"], "", "such names are refused"),
        ([*TEXTS, SINGLE, "a//b"], "", "such names are refused"),
        ([*TEXTS, SINGLE, "a/./b"], "", "such names are refused"),
        ([*TEXTS, SINGLE, "a\\b"], "", "such names are refused"),
        ([*TEXTS, SINGLE, "a\nstoker worker: all is well"], "", "such names are refused"),
    ],
)
def test_refused(names: list[str], file: str, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        choose(names, file)


def test_shards_come_once_each_in_order() -> None:
    index = b'{"weight_map": {"c": "m-2.safetensors", "a": "m-1.safetensors", "b": "m-1.safetensors"}}'
    assert shards(index, {"m-1.safetensors", "m-2.safetensors"}) == ("m-1.safetensors", "m-2.safetensors")


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (b"", "malformed"),
        (b"[]", "malformed"),
        (b'{"weight_map": []}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"weight_map": {}}', "lists no weights"),
        (b'{"weight_map": {"a": "m-9.safetensors"}}', "names m-9.safetensors, which is not there"),
        (b'{"weight_map": {"a": "../m-1.safetensors"}}', "no safetensors file beside it"),
        (b'{"weight_map": {"a": "m-1.bin"}}', "no safetensors file beside it"),
        (b'{"weight_map": {"a": 7}}', "no safetensors file beside it"),
    ],
)
def test_a_bad_index_is_told(index: bytes, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        shards(index, {"m-1.safetensors", "m-1.bin"})
