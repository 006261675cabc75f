"""The real model on the real device gives transformers' tokens and logprobs, and the same tokens in every situation."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from stoker_worker.engine.engine import Engine
from stoker_worker.engine.messages import Resumed, SubmitRequest
from stoker_worker.engine.process import load
from stoker_worker.sampling.params import LogprobsParams, SamplingParams
from stoker_worker.settings import EngineSettings

HERE = Path(__file__).parent
GREEDY = SamplingParams(temperature=0.0)


class Outputs:
    """What an engine said, by (key, choice)."""

    def __init__(self) -> None:
        self.tokens: dict[tuple[int, int], list[int]] = {}
        self.logprobs: dict[tuple[int, int], list[float]] = {}
        self.prompt_logprobs: dict[int, list[float]] = {}
        self.cached: dict[int, int] = {}

    def run(self, engine: Engine, messages: list[SubmitRequest]) -> "Outputs":
        for message in messages:
            engine.submit(message)
        while engine.has_work:
            report = engine.step()
            for entry, place in enumerate(zip(report.keys, report.choices, strict=True)):
                self.tokens.setdefault(place, []).append(report.token_ids[entry])
                if entry in report.logprobs:
                    self.logprobs.setdefault(place, []).extend(report.logprobs[entry].logprobs)
            self.prompt_logprobs.update({key: told.logprobs for key, told in report.prompt_logprobs.items()})
            self.cached.update({counters.key: counters.cached for counters in report.counters})
        engine.check()
        return self


def settings_for(model: Path, **changes: Any) -> EngineSettings:
    return EngineSettings(model_path=model, precision="fp32", threads=2, **{"kv_tokens": 8192, **changes})


@pytest.fixture(scope="module", params=["native", "torch"])
def device(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def engine(smollm2_gguf: Path, device: str) -> Engine:
    return load(settings_for(smollm2_gguf, device=device))[0]


@pytest.fixture(scope="module")
def prompts(smollm2_reference: Path) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(smollm2_reference / "tokenizer.json"))
    return [
        tokenizer.encode(text, add_special_tokens=False).ids for text in json.loads((HERE / "prompts.json").read_text())
    ]


@pytest.mark.timeout(900)  # minutes of computing on two cores, more where others compute, too
def test_greedy_tokens_and_logprobs_are_those_of_transformers(
    engine: Engine, prompts: list[list[int]], smollm2_reference: Path, tmp_path: Path
) -> None:
    """Checked by forcing: if every token is transformers' best after the tokens before it, so is the whole text."""
    wanted = LogprobsParams(output=True, prompt=True)
    messages = [
        SubmitRequest(key, str(key), prompt, GREEDY, 64, ignore_eos=True, logprobs=wanted)
        for key, prompt in enumerate(prompts)
    ]
    outputs = Outputs().run(engine, messages)
    sequences = [prompt + outputs.tokens[key, 0] for key, prompt in enumerate(prompts)]
    (tmp_path / "sequences.json").write_text(json.dumps(sequences))
    script = [sys.executable, str(HERE / "reference.py"), str(smollm2_reference)]
    subprocess.run([*script, str(tmp_path / "sequences.json"), str(tmp_path / "reference.npz")], check=True)
    reference = np.load(tmp_path / "reference.npz")
    for key, prompt in enumerate(prompts):
        best = reference[f"best_{key}"][len(prompt) - 1 :].tolist()
        assert outputs.tokens[key, 0] == best, f"prompt {key}"
        ours = np.array(outputs.prompt_logprobs.get(key, []) + outputs.logprobs[key, 0])
        assert np.abs(ours - reference[f"logprobs_{key}"]).max() < 1e-3, f"prompt {key}"


def sampled(key: int, prompt: list[int], seed: int, **rest: Any) -> SubmitRequest:
    params = SamplingParams(temperature=0.8, top_p=0.95, seed=seed, presence_penalty=0.2)
    return SubmitRequest(key, str(key), prompt, params, 24, ignore_eos=True, **rest)


def test_a_sampled_request_gives_the_same_tokens_alone_in_a_batch_with_prefix_hits_and_resumed(
    engine: Engine, prompts: list[list[int]]
) -> None:
    batch = Outputs().run(
        engine, [sampled(1000 + n, prompt, n, cache_salt=b"batch") for n, prompt in enumerate(prompts[:16])]
    )
    for n in (0, 3, 9):
        expected = batch.tokens[1000 + n, 0]
        alone = Outputs().run(engine, [sampled(2000, prompts[n], n, cache_salt=b"alone")])
        again = Outputs().run(engine, [sampled(2001, prompts[n], n, cache_salt=b"alone")])
        resumed = [Resumed(0, expected[:10])]
        moved = Outputs().run(engine, [sampled(2002, prompts[n], n, cache_salt=b"moved", resumed=resumed)])
        assert alone.tokens[2000, 0] == again.tokens[2001, 0] == expected
        assert expected[:10] + moved.tokens[2002, 0] == expected
    long = prompts[30]
    assert Outputs().run(engine, [sampled(2003, long, 1, cache_salt=b"twice")]).cached == {2003: 0}
    assert Outputs().run(engine, [sampled(2004, long, 1, cache_salt=b"twice")]).cached == {
        2004: (len(long) - 1) // 16 * 16
    }


def test_preemption_changes_no_token(smollm2_gguf: Path, device: str, engine: Engine, prompts: list[list[int]]) -> None:
    messages = [sampled(3000 + n, prompts[30], n, cache_salt=b"%d" % n) for n in range(4)]
    expected = Outputs().run(engine, messages).tokens
    tight = load(settings_for(smollm2_gguf, device=device, kv_tokens=224))[0]
    assert Outputs().run(tight, messages).tokens == expected
    assert tight._scheduler.num_preemptions > 0
