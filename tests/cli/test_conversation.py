"""What a typed line does to a conversation."""

import pytest

from stoker_cli.chat.conversation import Conversation, Next
from stoker_cli.console import printable


def talked() -> Conversation:
    conversation = Conversation("Be brief.")
    conversation.say("Hi")
    conversation.hear("Hello.")
    return conversation


@pytest.mark.parametrize(
    ("line", "follows", "roles"),
    [
        ("And you?", Next.ASK, ["system", "user", "assistant", "user"]),
        ("  ", Next.TYPE_AGAIN, ["system", "user", "assistant"]),
        ("/reset", Next.TYPE_AGAIN, ["system"]),
        ("/system Be long.", Next.TYPE_AGAIN, ["system"]),
        ("/system", Next.TYPE_AGAIN, []),
        ("/help", Next.TYPE_AGAIN, ["system", "user", "assistant"]),
        ("/rest", Next.TYPE_AGAIN, ["system", "user", "assistant"]),
        ("/quit", Next.LEAVE, ["system", "user", "assistant"]),
        ("/etc/passwd is a file", Next.ASK, ["system", "user", "assistant", "user"]),
    ],
)
def test_a_line_is_a_command_or_something_to_say(line, follows, roles):
    conversation = talked()
    assert conversation.react(line).next is follows
    assert [message["role"] for message in conversation.messages()] == roles


def test_a_question_without_an_answer_can_be_taken_back():
    conversation = talked()
    conversation.say("And?")
    conversation.unsay()
    assert conversation.messages() == talked().messages()


def test_a_model_cannot_send_control_sequences_to_the_terminal():
    assert printable("a\x1b[2Jb\tc\nd\x9bé\x7f") == "a[2Jb\tc\ndé"
