"""The `chat` verb: one answer for a prompt, or a conversation on a terminal."""

import sys
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.markup import escape

from stoker_cli import console
from stoker_cli.chat.client import ChatClient, Sampling, Speed
from stoker_cli.chat.conversation import HELP, Conversation, Next
from stoker_cli.errors import BadInput, CommandError
from stoker_cli.http import check_key

DEFAULT_URL = "http://127.0.0.1:8000/v1"


def chat(
    prompt: Annotated[str | None, typer.Argument(help="ask this and leave; also read from a pipe")] = None,
    url: Annotated[str, typer.Option(help="base URL of any OpenAI-compatible API")] = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="model id  [default: the first that is listed]")] = None,
    system: Annotated[str, typer.Option(help="system prompt")] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="longest answer")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="0 always takes the likeliest token")] = None,
    key: Annotated[str | None, typer.Option(envvar="STOKER_API_KEY", help="API key")] = None,
) -> None:
    """Talk to a model."""
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read()
    if prompt is not None and not prompt.strip():
        raise BadInput("the prompt is empty; give one as an argument or through a pipe")
    with ChatClient(url, check_key(key)) as client:
        terminal = Terminal(client, model or client.first_model(), Sampling(max_tokens, temperature))
        if prompt is not None:
            terminal.one_shot(Conversation(system), prompt)
        else:
            terminal.converse(Conversation(system))


@dataclass(slots=True)
class Terminal:
    """A conversation's input and output."""

    client: ChatClient
    model: str
    sampling: Sampling

    def one_shot(self, conversation: Conversation, prompt: str) -> None:
        """Ask, print the answer to standard output, leave. Ctrl-C ends the command."""
        conversation.say(prompt)
        self._ask(conversation)

    def converse(self, conversation: Conversation) -> None:
        """Talk until /quit or Ctrl-D."""
        _enable_line_editing()
        err = console.stderr()
        err.print(f"[bold]{escape(self.model)}[/] at {escape(self.client.url)}\n[dim]{escape(HELP)} · Ctrl-D leaves[/]")
        while (line := _typed()) is not None:
            reaction = conversation.react(line)
            if reaction.note:
                err.print(f"[dim]{escape(reaction.note)}[/]")
            if reaction.next is Next.LEAVE:
                return
            if reaction.next is Next.ASK:
                self._ask_and_go_on(conversation)

    def _ask_and_go_on(self, conversation: Conversation) -> None:
        """A failed question is complained about and taken back; the conversation goes on."""
        try:
            self._ask(conversation, go_on=True)
        except CommandError as error:
            conversation.unsay()
            console.complain(str(error))

    def _ask(self, conversation: Conversation, *, go_on: bool = False) -> None:
        speed, said = Speed(), list[str]()
        answer = self.client.answer(self.model, conversation.messages(), self.sampling, speed)
        try:
            with closing(answer):  # closes the connection, which makes the server stop
                for piece in answer:
                    said.append(piece)
                    sys.stdout.write(console.printable(piece))
                    sys.stdout.flush()
        except KeyboardInterrupt:
            if not go_on:
                raise
        finally:
            sys.stdout.write("\n" if said else "")
            sys.stdout.flush()
        conversation.hear("".join(said))
        console.stderr().print(f"[dim]{speed}[/]")


def _typed() -> str | None:
    """A line; "" after Ctrl-C; None after Ctrl-D."""
    try:
        return input("> ")
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        return ""
    except EOFError:
        sys.stdout.write("\n")
        return None


def _enable_line_editing() -> None:
    """`input` edits lines and remembers them once readline is loaded, where Python has it."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
