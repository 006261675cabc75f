"""What `helm test` runs: is a gateway ready, and does a model answer? Standard library only."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

GATEWAY, KEY = os.environ["GATEWAY"], os.environ.get("API_KEY", "")
DEADLINE = time.monotonic() + float(os.environ["TIMEOUT_S"])
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


def call(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer's JSON. Raises OSError, which HTTP errors are, too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(GATEWAY + path, data, HEADERS)  # noqa: S310 - the chart writes http://
    with urllib.request.urlopen(request, timeout=max(1.0, DEADLINE - time.monotonic())) as response:  # noqa: S310
        answer: dict[str, Any] = json.loads(response.read())
        return answer


def retried(path: str) -> dict[str, Any]:
    """The answer as soon as there is one. Raises OSError at the deadline."""
    while True:
        try:
            return call(path)
        except OSError as error:
            if time.monotonic() > DEADLINE:
                raise
            print(f"{path}: {error}; once more", flush=True)
            time.sleep(1)


def main() -> int:
    """The exit code: 0 if everything that can be asked for was answered."""
    try:
        print("ready:", retried("/ready").get("status"))
        if not KEY:
            print("no key was generated: no chat")
            return 0
        models = [model["id"] for model in call("/v1/models")["data"]]
        if not models:
            print("no model is served yet: no chat")
            return 0
        body = {"model": models[0], "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
        print(f"{models[0]}:", call("/v1/chat/completions", body)["choices"][0]["message"]["content"])
    except OSError as error:
        print(f"{GATEWAY}: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
