"""What is said so far, and the commands that change it."""

from dataclasses import dataclass, field
from enum import Enum, auto

HELP = "/system TEXT sets the system prompt · /reset forgets everything said · /quit leaves · Ctrl-C stops an answer"


class Next(Enum):
    """What follows from a typed line."""

    ASK = auto()
    TYPE_AGAIN = auto()
    LEAVE = auto()


@dataclass(frozen=True, slots=True)
class Reaction:
    """What follows, and what to tell the person."""

    next: Next
    note: str = ""


@dataclass(slots=True)
class Conversation:
    """Messages as the API has them."""

    system: str = ""
    _turns: list[dict[str, str]] = field(default_factory=list)

    def messages(self) -> list[dict[str, str]]:
        """Everything to send."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return system + self._turns

    def say(self, text: str) -> None:
        """The person's turn."""
        self._turns.append({"role": "user", "content": text})

    def hear(self, text: str) -> None:
        """The model's turn, whole or as far as it came."""
        self._turns.append({"role": "assistant", "content": text})

    def unsay(self) -> None:
        """Take back the last turn: it got no answer."""
        del self._turns[-1:]

    def react(self, line: str) -> Reaction:
        """Take a typed line: a command, or something to say."""
        command, _, rest = line.strip().partition(" ")
        match command:
            case "":
                return Reaction(Next.TYPE_AGAIN)
            case "/quit" | "/exit":
                return Reaction(Next.LEAVE)
            case "/reset":
                self._turns.clear()
                return Reaction(Next.TYPE_AGAIN, "forgotten")
            case "/system":
                self.system = rest.strip()
                self._turns.clear()
                return Reaction(
                    Next.TYPE_AGAIN, "system prompt set, conversation restarted" if rest else "system prompt removed"
                )
            case "/help" | "/?":
                return Reaction(Next.TYPE_AGAIN, HELP)
        if command.startswith("/") and command[1:].isalpha():
            return Reaction(Next.TYPE_AGAIN, f"no such command: {command}\n{HELP}")
        self.say(line)
        return Reaction(Next.ASK)
