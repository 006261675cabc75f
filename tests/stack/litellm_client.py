"""What litellm gets from the endpoint given as the first argument; prints one line of JSON. Runs in litellm's own environment."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise litellm fetches prices from the network at import

import litellm

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def main(url: str, model: str) -> None:
    """Ask for a chat, a stream, a completion and the list of models."""
    where = {"model": f"openai/{model}", "api_base": url, "api_key": "none"}
    chat = litellm.completion(**where, messages=QUESTION, temperature=0, max_tokens=32)
    stream = litellm.completion(**where, messages=QUESTION, temperature=0, max_tokens=32, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    where["model"] = f"text-completion-openai/{model}"
    completion = litellm.text_completion(**where, prompt="The capital of France is", temperature=0, max_tokens=4)
    models = litellm.get_valid_models(
        check_provider_endpoint=True, custom_llm_provider="openai", api_base=url, api_key="none"
    )
    said = {"chat": chat.choices[0].message.content, "stream": text, "completion": completion.choices[0].text}
    print(json.dumps({**said, "models": models[0].removeprefix("openai/")}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
