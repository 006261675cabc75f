"""What ends a command early.

CommandError            the text is one sentence for a person; `exit_code` is the process's
├── BadInput            2: what was given cannot work, and the text says what to change
└── ServerFailure       1: a server, or a process that was started, failed
"""


class CommandError(Exception):
    """A command cannot go on."""

    exit_code = 1


class BadInput(CommandError):
    """What was given cannot work; the text says what to change."""

    exit_code = 2


class ServerFailure(CommandError):
    """A server, or a process that was started, failed."""
