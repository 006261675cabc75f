"""Which device an engine computes on: native code where it serves, torch where it does not, and a sentence about why."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.engine.device import open_device
from stoker_worker.errors import SettingsError
from stoker_worker.execution.native_device import NativeDevice
from stoker_worker.execution.torch_device import TorchDevice
from stoker_worker.settings import EngineSettings

# Loads and warms up an engine, then tells what it had to import for that.
IMPORTS = """
import sys
from pathlib import Path
from stoker_worker.engine.process import load
from stoker_worker.settings import EngineSettings
load(EngineSettings(Path(sys.argv[1]), device="native", kv_tokens=640))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def opened(model: Path, **settings: Any) -> object:
    return open_device(EngineSettings(model, **settings), lambda _progress: None)


def test_the_native_engine_runs_without_torch(smollm2_gguf: Path) -> None:
    command = [sys.executable, "-c", IMPORTS, str(smollm2_gguf)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    imported = set(done.stdout.split())
    assert {"numpy", "stoker_worker"} <= imported
    assert not imported & {"torch", "grpc", "transformers"}


@pytest.mark.parametrize(
    ("settings", "device"),
    [({}, NativeDevice), ({"device": "native"}, NativeDevice), ({"device": "torch"}, TorchDevice)],
)
def test_the_device_is_the_one_asked_for_and_native_by_default(
    settings: dict[str, Any], device: type, smollm2_gguf: Path
) -> None:
    assert type(opened(smollm2_gguf, **settings)) is device


def test_torch_takes_what_native_code_does_not_serve(smollm2_gguf: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        device = opened(smollm2_gguf, precision="bf16")
    assert type(device) is TorchDevice
    assert "native code cannot serve: it computes in fp32, not in bf16" in caplog.text


def test_torch_computes_where_there_is_no_compiler(
    smollm2_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert type(opened(smollm2_gguf)) is TorchDevice
    assert "no C++ compiler" in caplog.text


def test_native_code_that_was_asked_for_and_cannot_serve_is_an_error(smollm2_gguf: Path) -> None:
    with pytest.raises(SettingsError, match="--device native cannot be used: it computes in fp32, not in bf16; use"):
        opened(smollm2_gguf, device="native", precision="bf16")


def test_a_worker_without_torch_says_so_and_why_it_would_need_it(
    smollm2_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SettingsError, match=r"native code cannot serve: .*bf16.*; torch is not installed here"):
        opened(smollm2_gguf, precision="bf16", kv_tokens=640)
    with pytest.raises(SettingsError, match=r"^torch is not installed here"):
        opened(smollm2_gguf, device="torch", kv_tokens=640)
