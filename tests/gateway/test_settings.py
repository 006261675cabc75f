"""Settings: every option by argument and by environment, and what does not work said in a sentence."""

from pathlib import Path
from typing import Any

import pytest

from stoker_gateway.errors import SettingsError
from stoker_gateway.settings import Limits, Parser, Settings, add_options, parse


def read(*arguments: str, env: dict[str, str] | None = None) -> Settings:
    parser = Parser()
    add_options(parser)
    return parse(vars(parser.parse_args(arguments)), env or {})


WORKER = ("--worker", "unix:/run/w.sock")


@pytest.mark.parametrize(
    ("arguments", "env", "changes"),
    [
        ((), {}, {}),
        (("--listen", "127.0.0.1:9"), {}, {"port": 9}),
        (("--listen", "[::1]:9"), {}, {"host": "::1", "port": 9}),
        ((), {"STOKER_GATEWAY_LISTEN": "localhost:9"}, {"host": "localhost", "port": 9}),
        (("--listen", "127.0.0.1:9"), {"STOKER_GATEWAY_LISTEN": "localhost:8"}, {"port": 9}),
        (("--worker", "10.0.0.1:50051"), {}, {"workers": ("unix:/run/w.sock", "10.0.0.1:50051")}),
        (("--listen", "0.0.0.0:8000", "--keys", "k"), {}, {"host": "0.0.0.0", "keys_file": Path("k")}),
        (("--usage-file", "u"), {}, {"usage_file": Path("u")}),
        (("--alias", "gpt-4o=m", "--alias", "x=y"), {}, {"aliases": {"gpt-4o": "m", "x": "y"}}),
        ((), {"STOKER_GATEWAY_ALIAS": "gpt-4o=m,x=y"}, {"aliases": {"gpt-4o": "m", "x": "y"}}),
        (("--region", "eu-west-1"), {}, {"region": "eu-west-1"}),
        (("--otlp-endpoint", "http://c:4318"), {}, {"otlp_endpoint": "http://c:4318"}),
        (("--salt-secret-file", "s"), {}, {"salt_secret_file": Path("s")}),
        (("--max-body-bytes", "9"), {}, {"limits": Limits(max_body_bytes=9)}),
        (("--max-concurrent", "9", "--max-held", "8"), {}, {"limits": Limits(max_concurrent=9, max_held=8)}),
        (("--receive-timeout", "2.5"), {}, {"limits": Limits(receive_timeout_s=2.5)}),
        (("--hold-timeout", "1.5"), {}, {"limits": Limits(hold_timeout_s=1.5)}),
        ((), {"STOKER_GATEWAY_REQUEST_TIMEOUT": "9"}, {"limits": Limits(request_timeout_s=9)}),
        (
            ("--heartbeat-timeout", "9", "--drain-timeout", "8"),
            {},
            {"limits": Limits(heartbeat_timeout_s=9, drain_timeout_s=8)},
        ),
        ((), {"PATH": "/bin"}, {}),
    ],
)
def test_settings_are_read(arguments: tuple[str, ...], env: dict[str, str], changes: dict[str, Any]) -> None:
    expected = Settings(**{"workers": ("unix:/run/w.sock",), **changes})
    assert read(*WORKER, *arguments, env=env) == expected


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        ((), {}, "at least one --worker"),
        ((*WORKER, "--listne", "x"), {}, "unrecognized arguments"),
        (WORKER, {"STOKER_GATEWAY_LISTNE": "x"}, "unknown setting STOKER_GATEWAY_LISTNE"),
        ((*WORKER, "--listen", "8000"), {}, "host:port"),
        ((*WORKER, "--listen", "127.0.0.1:99999"), {}, "host:port"),
        (("--worker", "w.sock"), {}, "unix:PATH or host:port"),
        ((*WORKER, *WORKER), {}, "given twice"),
        ((*WORKER, "--alias", "x"), {}, "name=model"),
        ((*WORKER, "--max-held", "0"), {}, "whole number"),
        ((*WORKER, "--hold-timeout", "-1"), {}, "positive number"),
        ((*WORKER, "--hold-timeout", "nan"), {}, "positive number"),
        ((*WORKER, "--listen", "0.0.0.0:8000"), {}, "no loopback address"),
        ((*WORKER, "--listen", "example.com:8000"), {}, "no loopback address"),
    ],
)
def test_what_does_not_work_is_said(arguments: tuple[str, ...], env: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read(*arguments, env=env)
