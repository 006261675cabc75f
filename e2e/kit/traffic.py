"""Clients that never stop asking: short streamed chats, every one of them written down."""

import itertools
import json
import threading
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import httpx
from e2e.kit.stoker import Stoker
from e2e.kit.waiting import until

PROMPTS = ("What is the capital of France?", "Count to five.", "Name a colour.", "Say hello.")
MAX_TOKENS = 8
CLIENTS = 3
STALL_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. `error` is "" if all of it came; `gap_s` is the longest silence in it, before the first token too."""

    prompt: str
    began_s: float
    seconds: float
    gap_s: float
    text: str
    error: str = ""


class Traffic:
    """Asks from entering to leaving the block. Every other client makes a new connection for each request."""

    def __init__(self, stoker: Stoker, model: str, clients: int = CLIENTS) -> None:
        self._stoker, self._model = stoker, model
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(number,)) for number in range(clients)]
        self._answers: list[Answer] = []

    def __enter__(self) -> Self:
        self._url, self._key = self._stoker.url, self._stoker.key
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more; what was asked is answered first."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def answers(self) -> list[Answer]:
        """All so far."""
        return list(self._answers)

    @property
    def failures(self) -> list[Answer]:
        """Those that went wrong."""
        return [answer for answer in self.answers if answer.error]

    def more(self, count: int, timeout_s: float = 120) -> None:
        """Wait until `count` further requests are answered. Raises TooLate."""
        wanted = len(self._answers) + count
        until(lambda: len(self._answers) >= wanted, f"{count} further answers", timeout_s, self.summary)

    def go_on(self, seconds: float) -> None:
        """Let time pass under traffic. Raises TooLate when answers stop coming."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.more(1, STALL_S)

    def unharmed(self, at_least: int = 1) -> dict[str, float]:
        """What was measured. Raises AssertionError unless no request failed and equal questions had equal answers."""
        until(lambda: len(self._answers) >= at_least, f"{at_least} answers", STALL_S * 5, self.summary)
        self.stop()
        failures = self.failures
        assert not failures, f"{len(failures)} of {len(self._answers)} requests failed: {failures[:5]}"
        texts = {prompt: {answer.text for answer in self.answers if answer.prompt == prompt} for prompt in PROMPTS}
        assert all(len(found) <= 1 for found in texts.values()), f"one question, several answers: {texts}"
        return self.summary()

    def summary(self) -> dict[str, float]:
        """Numbers of all so far."""
        answers = sorted(answer.seconds for answer in self.answers) or [0.0]
        return {
            "requests": len(self._answers),
            "failed": len(self.failures),
            "p50_s": round(answers[len(answers) // 2], 2),
            "longest_s": round(answers[-1], 2),
            "longest_gap_s": round(max((answer.gap_s for answer in self.answers), default=0.0), 2),
        }

    def _ask_on(self, number: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=number % 2)
        headers = {"authorization": f"Bearer {self._key}"}
        with httpx.Client(
            base_url=self._url, headers=headers, trust_env=False, timeout=STALL_S * 2, limits=limits
        ) as http:
            for prompt in itertools.cycle(PROMPTS[number % len(PROMPTS) :] + PROMPTS[: number % len(PROMPTS)]):
                if self._stopping.is_set():
                    return
                answer = ask(http, self._model, prompt)
                if answer.error:
                    kept = "a kept connection" if number % 2 else "a new connection"
                    answer = replace(answer, error=f"{answer.error} (on {kept})")
                self._answers.append(answer)
                if answer.error:
                    self._stopping.wait(0.2)  # a gateway that is away is not asked a thousand times


def ask(http: httpx.Client, model: str, prompt: str = PROMPTS[0]) -> Answer:
    """One streamed chat at temperature 0. Never raises: what went wrong is in the answer."""
    began = last = time.monotonic()
    gap, texts, error = 0.0, [], "the stream ended early"
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "stream": True,
    }
    try:
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                error = f"{answer.status_code}: {answer.read().decode()[:300]}"
            for line in answer.iter_lines() if answer.status_code == 200 else ():
                now = time.monotonic()
                gap, last = max(gap, now - last), now
                if line == "data: [DONE]":
                    error = ""
                elif line.startswith("data: "):
                    texts.append(_text(json.loads(line.removeprefix("data: "))))
    except (httpx.HTTPError, ValueError, KeyError) as failure:
        error = f"{type(failure).__name__}: {failure}"
    if not error and not any(texts):
        error = "an empty answer"
    return Answer(prompt, began, time.monotonic() - began, gap, "".join(texts), error)


def _text(chunk: dict[str, Any]) -> str:
    if "error" in chunk:
        raise ValueError(chunk["error"])
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
