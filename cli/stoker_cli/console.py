"""What people see: rich output on a terminal, plain lines anywhere else."""

import sys

from rich.console import Console
from rich.markup import escape


def stdout() -> Console:
    """The console for results."""
    return Console(highlight=False, soft_wrap=True)


def stderr() -> Console:
    """The console for progress and complaints; standard output stays clean for pipes."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    """Say what went wrong in one line."""
    stderr().print(f"[bold red]stoker:[/] {escape(message)}")


def printable(text: str) -> str:
    """Text from a model, without the control characters that could reprogram a terminal."""
    return "".join(c for c in text if c in "\n\t" or not ("\x00" <= c < "\x20" or "\x7f" <= c < "\xa0"))


def interactive() -> bool:
    """A person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()
