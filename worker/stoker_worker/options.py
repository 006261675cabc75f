"""Command lines of the worker's verbs: a table of options → checked values by name."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from stoker_worker.errors import SettingsError


def whole(least: int) -> Callable[[str], int]:
    """Reads whole numbers from `least`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise SettingsError(f"{text!r} is no whole number from {least}")
        return int(text)

    return parse


def seconds(text: str) -> float:
    """Reads a number of seconds, at most eleven days of them."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise SettingsError(f"{text!r} is no number of seconds")
    return value


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Reads one of some words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise SettingsError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


@dataclass(frozen=True, slots=True)
class Option:
    """`field` is the settings' field; the option has dashes and no unit.

    parse   raises SettingsError; not called for a switch
    repeat  may be given several times; the value is a list
    switch  --name and --no-name, without a value
    """

    field: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    repeat: bool = False
    switch: bool = False

    @property
    def flag(self) -> str:
        """As it is written."""
        return "--" + self.field.removesuffix("_s").replace("_", "-")

    def read(self, given: Any) -> Any:
        """The value of what argparse found. Raises SettingsError, which names the option."""
        try:
            if self.switch:
                return given
            return [self.parse(item) for item in given] if self.repeat else self.parse(given)
        except SettingsError as error:
            raise SettingsError(f"{self.flag}: {error}") from None


class _Parser(argparse.ArgumentParser):
    """argparse that raises SettingsError instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; see {self.prog} --help")


def parsed(verb: str, description: str, options: Sequence[Option], arguments: Sequence[str]) -> dict[str, Any]:
    """Values of the options that were given, by field. Raises SettingsError."""
    parser = _Parser(prog=f"stoker worker {verb}", description=description, allow_abbrev=False)
    for option in options:
        if option.switch:
            parser.add_argument(option.flag, dest=option.field, help=option.help, action=argparse.BooleanOptionalAction)
            continue
        parser.add_argument(
            option.flag,
            dest=option.field,
            metavar=option.metavar,
            help=option.help,
            action="append" if option.repeat else "store",
        )
    found = vars(parser.parse_args(arguments))
    return {option.field: option.read(found[option.field]) for option in options if found[option.field] is not None}


def required(given: Mapping[str, Any], name: str) -> Any:
    """The value of an option that must be there. Raises SettingsError."""
    if name not in given:
        raise SettingsError(f"--{name.replace('_', '-')} is missing; see --help")
    return given[name]
