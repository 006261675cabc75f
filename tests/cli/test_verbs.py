"""The verbs as a person types them: messages and exit codes."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stoker_cli.errors import BadInput
from stoker_cli.verbs import VERBS, Verb, command_line


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["version"], 0, "0."),
        (["--help"], 0, "Commands"),
        (["fly"], 2, "No such command 'fly'"),
        (["up", "--workers", "0"], 2, "--workers"),
        (["up", "--precision", "int3"], 2, "--precision"),
        (["up", "--host", "0.0.0.0"], 2, "stoker keys add"),
        (["up", "--host", "0.0.0.0", "--keys", "none.json"], 2, "none.json does not exist"),
        (["up", "--model", "none.gguf"], 2, "none.gguf does not exist"),
        (["up", "--model", "."], 2, "has no config.json"),
        (["chat", "--url", "ftp://x", "hi"], 2, "no http URL"),
        (["chat", "--url", "http://127.0.0.1:9/v1", "hi"], 1, "nobody answers at http://127.0.0.1:9/v1"),
        (["chat", " "], 2, "prompt is empty"),
        (["chat", "--key", "a key\n", "hi"], 2, "API key"),
        (["bench", "--url", "http://127.0.0.1:9/v1", "--model", "m"], 1, "cannot connect to http://127.0.0.1:9/v1"),
        (["bench", "--concurrency", "1,x"], 2, "--concurrency"),
        (["bench", "--request-rate", "-1"], 2, "--request-rate"),
        (["bench", "--json", "none/x.json"], 2, "folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_2_and_a_dead_server_is_1_and_both_say_what_to_change(stoker, arguments, code, message):
    done = stoker(*arguments)
    assert (done.returncode, message in done.stdout + done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_each_verb_of_a_room_becomes_a_process_of_that_room(verb: Verb):
    line = command_line(verb, ["--a", "b"])
    assert line[1:] == ["-m", verb.module, *verb.prefix, "--a", "b"]


def test_a_room_that_is_not_installed_is_named_with_its_extra():
    with pytest.raises(BadInput, match=r"pip install 'stoker\[moon\]'"):
        command_line(Verb("fly", "stoker_moon", (), ""), [])


def test_a_verb_that_is_handed_over_keeps_its_own_exit_code_and_output():
    line = [sys.executable, "-m", "stoker_cli", "plan", "-f", "x.yaml"]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "operator" in done.stderr


def test_a_busy_port_is_named_with_the_option_that_changes_it(stoker):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        done = stoker("up", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use; choose another with --port" in done.stderr


def test_chat_answers_a_prompt_and_tells_the_speed(stoker, canned_api):
    done = stoker("chat", "--url", canned_api.url, "--key", "sk-1", "--system", "Be brief.", "--max-tokens", "9", "Hi")
    assert (done.returncode, done.stdout) == (0, "Hello there.\n"), done.stderr
    assert "3 tokens" in done.stderr
    assert "TTFT" in done.stderr
    assert canned_api.keys[-1] == "Bearer sk-1"
    asked = canned_api.asked[-1]
    assert (asked["model"], asked["max_tokens"]) == ("canned", 9)
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]


def test_chat_reads_its_prompt_from_a_pipe(stoker, canned_api):
    assert stoker("chat", "--url", canned_api.url, stdin="What is 1 + 1?\n").stdout == "Hello there.\n"
    assert canned_api.asked[-1]["messages"] == [{"role": "user", "content": "What is 1 + 1?\n"}]


@pytest.mark.parametrize(("status", "code"), [(404, 2), (400, 2), (401, 2), (429, 1), (500, 1), (503, 1)])
def test_chat_blames_the_request_with_2_and_the_server_with_1(stoker, canned_api, status, code):
    canned_api.fail_with = (status, "It went wrong.")
    done = stoker("chat", "--url", canned_api.url, "--model", "m", "Hi")
    assert (done.returncode, done.stdout) == (code, "")
    assert "stoker: It went wrong." in done.stderr


def test_bench_prints_a_table_and_writes_figures_and_a_picture(stoker, canned_api, tmp_path: Path):
    line = ["bench", "--url", canned_api.url, "--concurrency", "1,4", "--requests", "6", "--output-tokens", "3"]
    done = stoker(*line, "--json", "out.json", "--picture", "out.png")
    assert done.returncode == 0, done.stderr
    assert "c=4" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert [(level["load"], level["requests"], level["output_tokens"]) for level in found["levels"]] == [
        ("c=1", 6, 18),
        ("c=4", 6, 18),
    ]
    assert found["levels"][0]["counted_by"] == {"usage": 6}
    assert found["levels"][0]["input_tokens_mean"] == 128
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    prompts = [tuple(asked["prompt"]) for asked in canned_api.asked]
    assert len(set(prompts)) == len(prompts), "a prompt that was sent before would be found in a prefix cache"
    assert all(asked["ignore_eos"] and asked["min_tokens"] == 3 for asked in canned_api.asked)


def test_bench_of_chat_matches_its_text_to_the_servers_token_counts(stoker, canned_api):
    line = ["bench", "--url", canned_api.url, "--api", "chat", "--request-rate", "200", "--requests", "5"]
    done = stoker(*line, "--input-tokens", "40", "--no-ignore-eos", "--warmup", "0")
    assert done.returncode == 0, done.stderr
    lengths = [len(asked["messages"][0]["content"].split()) for asked in canned_api.asked]
    assert lengths == [16, 80] + [40] * 5
    assert "ignore_eos" not in canned_api.asked[-1]


def test_bench_says_how_tokens_were_counted_where_the_server_reports_no_usage(stoker, canned_api):
    canned_api.usage = False
    done = stoker("bench", "--url", canned_api.url, "--concurrency", "1", "--requests", "2", "--no-ignore-eos")
    assert "reports no usage" in done.stdout


def test_bench_of_a_server_that_refuses_everything_is_an_error(stoker, canned_api):
    canned_api.fail_with = (400, "No such field.")
    done = stoker("bench", "--url", canned_api.url, "--model", "m", "--concurrency", "2")
    assert done.returncode == 1
    assert "No such field." in done.stderr
