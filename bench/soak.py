"""Mixed traffic with random disconnects, then the books: every block free, every attempt in the usage file exactly once.

    python -m bench.soak --url http://127.0.0.1:8000 --usage-file usage.jsonl --requests 2000

Runs against a server that is already there (`stoker up --usage-file …`) and sends nothing beside it counts.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

WORDS = (
    "river mountain clock garden letter window winter bread engine paper island market bridge shadow copper lantern story "
    "signal harbour village number silver autumn question answer picture kitchen teacher doctor pilot ocean forest desert"
).split()
SETTLE_TIMEOUT_S = 60.0


@dataclass
class Received:
    """What a client saw of one request. `usage` is None if it left before the end."""

    id: str = ""
    status: int = 0
    left: bool = False
    chunks: int = 0
    usage: dict[str, Any] | None = None
    problem: str = ""


@dataclass
class Books:
    """What clients received against what the server recorded."""

    requests: int
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For a results file."""
        return {**self.__dict__, "outcomes": dict(self.outcomes), "problems": self.problems[:50]}


def make_request(rng: random.Random, model: str) -> tuple[str, dict[str, Any]]:
    """A path and a body: short and long, greedy and sampled, one choice and several, chat and completion."""
    words = " ".join(rng.choice(WORDS) for _ in range(rng.choice([3, 10, 40, 40, 200])))
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": rng.choice([1, 4, 16, 16, 32, 48]),
        "temperature": rng.choice([0, 0.7, 1.0]),
        "seed": rng.randrange(2**31),
        "n": rng.choice([1, 1, 1, 1, 2, 3]),
        "stream": rng.random() < 0.7,
    }
    if body["stream"] and rng.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    if rng.random() < 0.2:
        body |= {"presence_penalty": 0.5, "frequency_penalty": 0.2}
    if rng.random() < 0.2:
        body |= {"top_p": 0.9, "stop": [" the", "\n"]}
    if rng.random() < 0.5:
        body["messages"] = [{"role": "user", "content": f"Say something about: {words}"}]
        if rng.random() < 0.2:
            body |= {"logprobs": True, "top_logprobs": 3}
        return "/v1/chat/completions", body
    body["prompt"] = words
    if rng.random() < 0.2:
        body |= {"logprobs": 2, "echo": rng.random() < 0.5}
    return "/v1/completions", body


class Client:
    """Sends requests, and leaves some of them early."""

    def __init__(self, http: httpx.AsyncClient, model: str, seed: int) -> None:
        self._http = http
        self._model = model
        self._rng = random.Random(seed)

    async def one(self) -> Received:
        """Send one request and read it to the end, or to where patience ends."""
        path, body = make_request(self._rng, self._model)
        patience = self._rng.randrange(0, 12) if self._rng.random() < 0.25 else None
        received = Received()
        try:
            if body["stream"]:
                await self._stream(path, body, received, patience)
            else:
                await self._whole(path, body, received, patience)
        except httpx.HTTPError as error:
            received.problem = f"{type(error).__name__}: {error}"
        return received

    async def _whole(self, path: str, body: dict[str, Any], received: Received, patience: int | None) -> None:
        post = self._http.post(path, json=body)
        try:
            response = await (post if patience is None else asyncio.wait_for(post, patience / 10))
        except TimeoutError:
            received.left = True
            return
        received.status = response.status_code
        answer = response.json()
        received.id, received.usage = answer.get("id", ""), answer.get("usage")

    async def _stream(self, path: str, body: dict[str, Any], received: Received, patience: int | None) -> None:
        async with self._http.stream("POST", path, json=body) as response:
            received.status = response.status_code
            done = False
            async for data in _events(response):
                if data == "[DONE]":
                    done = True
                    continue
                chunk = json.loads(data)
                if "error" in chunk:
                    received.problem = str(chunk["error"])
                received.id = chunk.get("id", received.id)
                received.usage = chunk.get("usage") or received.usage
                received.chunks += 1
                if patience is not None and received.chunks > patience:
                    received.left = True
                    return
            if not done and not received.problem:
                received.problem = "the stream ended without [DONE]"


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield line[len("data: ") :]


async def drive(url: str, requests: int, concurrency: int, seed: int, progress: bool) -> list[Received]:
    """Send `requests` requests, `concurrency` at a time."""
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as http:
        model = (await http.get("/v1/models")).json()["data"][0]["id"]
        numbers = iter(range(requests))
        results: list[Received] = []

        async def work() -> None:
            for number in numbers:
                results.append(await Client(http, model, seed + number).one())
                if progress and len(results) % 100 == 0:
                    print(f"{len(results)} of {requests}", file=sys.stderr, flush=True)

        await asyncio.gather(*(work() for _ in range(concurrency)))
        return results


async def settled(url: str) -> str:
    """Wait until no request is left in the server; "" if then every block is free, else what is not."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    async with httpx.AsyncClient(base_url=url, timeout=10) as http:
        while True:
            loads = (await http.get("/ready")).json()["engines"]
            busy = [load for load in loads if load["waiting"] or load["free_blocks"] != load["total_blocks"]]
            if loads and not busy:
                return ""
            if time.monotonic() > deadline:
                return f"not every block is free after {SETTLE_TIMEOUT_S:.0f} s: {busy or 'no engine reports'}"
            await asyncio.sleep(0.2)


def balance(received: list[Received], rows: list[dict[str, Any]]) -> Books:
    """Compare clients and usage file."""
    books = Books(requests=len(received))
    attempts = Counter((row["request_id"], row["attempt"]) for row in rows)
    books.problems += [f"attempt {key} is recorded {count} times" for key, count in attempts.items() if count > 1]
    recorded: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        recorded.setdefault(row["request_id"], []).append(row)
        books.outcomes[row["outcome"]] += 1
        books.prompt_tokens += row["prompt"]
        books.completion_tokens += row["completion"]
    for one in received:
        books.problems += _problems_of(one, recorded.get(one.id, []))
    answered = sum(1 for one in received if one.id)
    if not answered <= len(recorded) <= len(received):
        books.problems.append(f"{answered} answers and {len(received)} requests, but {len(recorded)} in the usage file")
    return books


def _problems_of(one: Received, rows: list[dict[str, Any]]) -> list[str]:
    if one.problem or (one.status != 200 and not one.left):
        return [f"{one.id or 'a request'}: status {one.status} {one.problem}"]
    if one.left:
        return [f"{one.id}: began, but is not in the usage file"] if one.id and not rows else []
    if one.usage is None:
        return [f"{one.id}: no usage received"]
    told = (one.usage["prompt_tokens"], one.usage["completion_tokens"])
    booked = (max((row["prompt"] for row in rows), default=0), sum(row["completion"] for row in rows))
    return [] if told == booked else [f"{one.id}: told {told} tokens, booked {booked}"]


def read_usage(path: Path, skip: int) -> list[dict[str, Any]]:
    """The usage file's rows after the first `skip`."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines[skip:]]


def soak(url: str, usage_file: Path, requests: int, concurrency: int, seed: int, progress: bool = False) -> Books:
    """Drive, wait, and balance the books."""
    skip = len(read_usage(usage_file, 0))
    started = time.monotonic()
    received = asyncio.run(drive(url, requests, concurrency, seed, progress))
    seconds = time.monotonic() - started
    leak = asyncio.run(settled(url))
    books = balance(received, read_usage(usage_file, skip))
    books.seconds = seconds
    if leak:
        books.problems.append(leak)
    return books


def main() -> int:
    """The command line; the exit code is 1 if the books do not balance."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--usage-file", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result here")
    given = parser.parse_args()
    books = soak(given.url, given.usage_file, given.requests, given.concurrency, given.seed, progress=True)
    text = json.dumps(books.to_json(), indent=2)
    print(text)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text + "\n")
    return 1 if books.problems else 0


if __name__ == "__main__":
    sys.exit(main())
