"""The `stoker` command: `up`, `chat`, `bench`, `version`, and the rooms' own verbs.

Exit codes: 0 done, 1 a server or process failed, 2 wrong usage or input, 130 interrupted.
"""

import sys
from collections.abc import Callable

import typer

from stoker_cli import console
from stoker_cli.bench.command import bench
from stoker_cli.chat.command import chat
from stoker_cli.errors import CommandError
from stoker_cli.up.command import up
from stoker_cli.verbs import VERBS, Verb, dispatch
from stoker_core.version import VERSION

INTERRUPTED = 130


def version() -> None:
    """Print the version."""
    console.stdout().print(VERSION)


def make_app() -> typer.Typer:
    """The command line, every verb in its place."""
    app = typer.Typer(
        name="stoker",
        help="Serve open models behind one OpenAI-compatible endpoint.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in (up, chat, bench, version):
        app.command()(command)
    hands_over = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    for verb in VERBS:
        app.command(verb.name, help=verb.help, context_settings=hands_over)(_hand_over(verb))
    return app


def _hand_over(verb: Verb) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        dispatch(verb, context.args)

    return command


def main() -> None:
    """Run the command and leave the process with its exit code."""
    try:
        make_app()()
    except CommandError as error:
        console.complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
