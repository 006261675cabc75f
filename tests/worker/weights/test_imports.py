"""The front process reads models' text side, and must stay free of what only an engine needs."""

import subprocess
import sys

SCRIPT = """
import pkgutil, sys
import stoker_worker.weights as room
for module in pkgutil.iter_modules(room.__path__):
    __import__(f"{room.__name__}.{module.name}")
print(sorted({"torch", "transformers", "tokenizers", "safetensors", "grpc"} & set(sys.modules)))
"""


def test_no_module_of_the_room_imports_torch_or_a_tokenizer() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
