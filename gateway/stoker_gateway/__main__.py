"""`python -m stoker_gateway serve|keys`."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from stoker_core.principals import Scope
from stoker_gateway import keys, settings
from stoker_gateway.errors import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 2, with a sentence on standard error, when the settings do not work."""
    try:
        parsed = _parser().parse_args(arguments)
        parsed.run(parsed)
    except SettingsError as error:
        print(f"stoker-gateway: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = settings.Parser(prog="stoker-gateway", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    serve = verbs.add_parser("serve", help="serve the HTTP API in front of workers")
    settings.add_options(serve)
    serve.set_defaults(run=_serve)
    actions = verbs.add_parser("keys", help="manage the file of API keys").add_subparsers(
        required=True, metavar="ACTION"
    )
    add = actions.add_parser("add", help="make a key and print it, once")
    add.add_argument("--account", default="default", help="who the key's usage belongs to (default: default)")
    add.add_argument("--scope", action="append", choices=[scope.value for scope in Scope], help="default: inference")
    add.set_defaults(run=_keys_add)
    listing = actions.add_parser("list", help="show the keys' ids")
    listing.set_defaults(run=_keys_list)
    revoke = actions.add_parser("revoke", help="make a key useless")
    revoke.add_argument("id", help="the key's id, as `list` shows it")
    revoke.set_defaults(run=_keys_revoke)
    for action in (add, listing, revoke):
        action.add_argument("--file", type=Path, required=True, help="file of API keys")
    return parser


def _serve(arguments: argparse.Namespace) -> None:
    chosen = settings.parse(vars(arguments), os.environ)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s gateway %(levelname)s %(message)s")
    from stoker_gateway.server import serve

    serve(chosen)


def _keys_add(arguments: argparse.Namespace) -> None:
    document = keys.load(arguments.file) if arguments.file.exists() else keys.KeyDocument()
    scopes = tuple(Scope(scope) for scope in arguments.scope or [Scope.INFERENCE])
    document, key = keys.add(document, arguments.account, int(time.time()), scopes)
    keys.save(arguments.file, document)
    print(key)


def _keys_list(arguments: argparse.Namespace) -> None:
    for record in keys.load(arguments.file).keys:
        state = "revoked" if record.revoked else "active"
        made = time.strftime("%Y-%m-%d", time.gmtime(record.created_unix_s))
        print(f"{record.id}  {record.account}  {state}  {made}  {','.join(record.scopes)}")


def _keys_revoke(arguments: argparse.Namespace) -> None:
    keys.save(arguments.file, keys.revoke(keys.load(arguments.file), arguments.id))


if __name__ == "__main__":
    sys.exit(main())
