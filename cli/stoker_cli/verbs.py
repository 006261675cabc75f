"""Verbs that live in the rooms: which module answers which verb.

A verb that needs a room's knowledge is the room's own; the command hands over to it and adds nothing.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from stoker_cli.errors import BadInput


@dataclass(frozen=True, slots=True)
class Verb:
    """`stoker NAME …` runs `python -m MODULE PREFIX… …`."""

    name: str
    module: str
    prefix: tuple[str, ...]
    help: str


VERBS = (
    Verb("keys", "stoker_gateway", ("keys",), "Make, list and revoke API keys."),
    Verb("gateway", "stoker_gateway", (), "Run one gateway process, or its other verbs."),
    Verb("worker", "stoker_worker", (), "Run one worker process, or its other verbs."),
    Verb("plan", "stoker_operator", ("plan",), "Show what the operator would do for a Deployment."),
)


def command_line(verb: Verb, arguments: Sequence[str]) -> list[str]:
    """The process that answers `verb`. Raises BadInput if the room is not installed here."""
    if importlib.util.find_spec(verb.module) is None:
        extra = verb.module.removeprefix("stoker_")
        raise BadInput(f"`stoker {verb.name}` needs the {extra}, which is not installed: pip install 'stoker[{extra}]'")
    return [sys.executable, "-m", verb.module, *verb.prefix, *arguments]


def dispatch(verb: Verb, arguments: Sequence[str]) -> NoReturn:
    """Become the process that answers `verb`: its output, signals and exit code are then the command's own."""
    line = command_line(verb, arguments)
    sys.stdout.flush()
    os.execv(line[0], line)  # noqa: S606 - our own interpreter and module names
