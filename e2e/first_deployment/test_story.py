"""Somebody has installed the chart, applies the sample as it is, and chats."""

import time
from collections.abc import Iterator

import openai
import pytest
from e2e.kit import evidence
from e2e.kit.record import Measure
from e2e.kit.stoker import NAMESPACE, RELEASE, ROOT, Stoker, clean
from e2e.kit.traffic import ask

pytestmark = pytest.mark.ci
SAMPLE = ROOT / "manifests" / "samples" / "smollm2.yaml"


@pytest.fixture
def sample(stoker: Stoker) -> Iterator[str]:
    yield "stoker-models"
    clean(stoker)


def test_from_the_sample_to_a_chat(stoker: Stoker, sample: str, record_property: Measure) -> None:
    began = time.monotonic()
    stoker.cluster.kubectl("apply", "-f", str(SAMPLE))
    # Asked at once: the gateways hold the request until a worker is there.
    with stoker.client() as http:
        answer = ask(http, "smollm2")
        while answer.error.startswith("404"):  # they have not seen the Model yet
            answer = ask(http, "smollm2")
    assert "Paris" in answer.text, answer
    record_property("apply_to_first_token_s", round(answer.began_s + answer.gap_s - began, 1))

    stoker.ready(sample, "smollm2")
    record_property("apply_to_ready_s", round(time.monotonic() - began, 1))
    evidence.show(stoker.cluster, "ready", sample)
    with openai.OpenAI(base_url=f"{stoker.url}/v1", api_key=stoker.key, max_retries=0) as client:
        chat = client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            max_tokens=16,
            temperature=0,
        )
        assert "Paris" in (chat.choices[0].message.content or "")
        assert "accounts/default/models/smollm2-135m-instruct" in {model.id for model in client.models.list()}
    stoker.cluster.helm("test", RELEASE, "--namespace", NAMESPACE, "--timeout", "90s")
