"""Who may ask: keys from a file of hashes, or nobody's business on loopback."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from stoker_core.principals import Scope
from stoker_gateway import keys
from stoker_gateway.__main__ import main

ALIAS = "smollm2-135m-instruct"
QUESTION: Any = [{"role": "user", "content": "Count, please."}]
BODY = {"model": ALIAS, "messages": QUESTION}
Front = Callable[..., Awaitable[Any]]


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def new_key(path: Path, account: str = "team-a", scopes: tuple[Scope, ...] = (Scope.INFERENCE,)) -> str:
    document = keys.load(path) if path.exists() else keys.KeyDocument()
    document, key = keys.add(document, account, 1_700_000_000, scopes)
    keys.save(path, document)
    return key


def spoil(path: Path) -> None:
    path.write_text("{")


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({}, 401, "No API key was sent"),
        ({"authorization": "Bearer"}, 401, "No API key was sent"),
        ({"authorization": "Basic abc"}, 401, "Authorization: Bearer"),
        ({"authorization": "Bearer sk-stoker-wrong"}, 401, "not known here"),
        ({"x-api-key": "sk-stoker-wrong"}, 401, "not known here"),
        ({"authorization": "Bearer GOOD"}, 200, ""),
        ({"authorization": "bearer GOOD"}, 200, ""),
        ({"x-api-key": "GOOD"}, 200, ""),
        ({"authorization": "Bearer ADMIN"}, 403, "scope `inference`"),
    ],
    ids=str,
)
async def test_a_request_needs_a_key_that_is_known(
    front: Front, keys_file: Path, headers: dict[str, str], status: int, words: str
) -> None:
    good, admin = new_key(keys_file), new_key(keys_file, scopes=(Scope.ADMIN,))
    headers = {name: value.replace("GOOD", good).replace("ADMIN", admin) for name, value in headers.items()}
    _, served = await front(keys_file=keys_file)
    http = await served.http()
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", f"/v1/models/{ALIAS}")):
        answer = await http.request(method, path, headers=headers, json=BODY if method == "POST" else None)
        assert answer.status_code == status, answer.text
        if status != 200:
            error = answer.json()["error"]
            assert error["type"] == "invalid_request_error"
            assert words in error["message"]
            assert "wrong" not in answer.text
    assert (await http.get("/health")).status_code == 200


async def test_usage_and_cache_salt_belong_to_the_keys_account(front: Front, keys_file: Path) -> None:
    first, second = new_key(keys_file, "team-a"), new_key(keys_file, "team-b")
    worker, served = await front(keys_file=keys_file)
    isolated = {"prompt_cache_isolation_key": "x"}
    for key, extra in ((first, {}), (first, {}), (second, {}), (first, isolated)):
        client = await served.openai(key=key)
        await client.chat.completions.create(model=ALIAS, messages=QUESTION, extra_body=extra)
    assert [row["account"] for row in served.usage()] == ["team-a", "team-a", "team-b", "team-a"]
    assert {row["key_id"] for row in served.usage()} == {record.id for record in keys.load(keys_file).keys}
    salts = [submit.cache_salt for submit in worker.submits]
    assert salts[0] == salts[1]
    assert len(set(salts)) == 3
    assert [submit.account for submit in worker.submits] == ["team-a", "team-a", "team-b", "team-a"]


async def test_without_a_file_everybody_is_local(front: Front) -> None:
    _, served = await front()
    await (await served.openai(key="anything")).chat.completions.create(model=ALIAS, messages=QUESTION)
    assert served.usage()[0]["account"] == "local"


async def test_added_and_revoked_keys_count_without_a_restart(front: Front, keys_file: Path) -> None:
    old = new_key(keys_file)
    _, served = await front(keys_file=keys_file)
    new = new_key(keys_file)
    keys.save(keys_file, keys.revoke(keys.load(keys_file), keys.load(keys_file).keys[0].id))
    served.gateway.auth.reload()
    assert (await (await served.openai(key=new)).models.list()).data
    with pytest.raises(openai.AuthenticationError):
        await (await served.openai(key=old)).models.list()
    spoil(keys_file)
    served.gateway.auth.reload()
    assert (await (await served.openai(key=new)).models.list()).data, "a broken file changes nothing"


def test_the_command_makes_lists_and_revokes_keys(keys_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = ["--file", str(keys_file)]
    assert main(["keys", "add", "--account", "team-a", *file]) == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith("sk-stoker-")
    assert key not in keys_file.read_text()
    assert keys_file.stat().st_mode & 0o777 == 0o600
    assert main(["keys", "list", *file]) == 0
    key_id, account, state, *_ = capsys.readouterr().out.split()
    assert (account, state) == ("team-a", "active")
    assert main(["keys", "revoke", key_id, *file]) == 0
    assert main(["keys", "list", *file]) == 0
    assert "revoked" in capsys.readouterr().out
    assert main(["keys", "revoke", "nobody", *file]) == 2
    assert "no key has the id 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{", '{"keys":[{"id":"a","account":"b","sha256":"zz","created_unix_s":1}]}'])
def test_a_missing_or_broken_file_is_named(
    keys_file: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        keys_file.write_text(content)
    assert main(["keys", "list", "--file", str(keys_file)]) == 2
    assert str(keys_file) in capsys.readouterr().err
