"""The command line: ``python -m server serve | token | backup | restore | check | webhooks``."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from protocol import usersig
from server import app, config, logs, webhook_commands
from server.config import SETTINGS, Settings, SettingsRefused


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    0 done, 1 failed (or ``check`` found something), 2 wrong options, settings or data.
    """
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        if options.command != "serve":
            return _COMMANDS[options.command](settings, options)
        with logs.kept(settings.log_level, settings.log_format) as log_lines:
            return asyncio.run(app.serve(settings, lambda: log_lines.dropped_lines))
    except (SettingsRefused, app.DataRefused, OSError) as error:
        sys.stderr.write(f"muster: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server", description="Muster, group chat")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the server", allow_abbrev=False)
    _add_options(serve)
    token = commands.add_parser("token", help="print a token for a user", allow_abbrev=False)
    _add_options(token)
    token.add_argument("user_id", metavar="USER")
    token.add_argument("--expire-s", type=int, default=180 * 86_400, metavar="N")
    copy = commands.add_parser(
        "backup", help="copy the database, in use or not, to a new file", allow_abbrev=False
    )
    back = commands.add_parser(
        "restore", help="make a backup the database of a stopped server", allow_abbrev=False
    )
    look = commands.add_parser(
        "check", help="look whether the database, in use or not, is sound", allow_abbrev=False
    )
    _add_options(look)
    look.add_argument("file", metavar="FILE", nargs="?", help="a backup to look at instead")
    _add_webhook_commands(commands)
    for command in (copy, back):
        _add_options(command)
        command.add_argument("file", metavar="FILE")
    return parser


def _add_webhook_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    webhooks = commands.add_parser("webhooks", help="what the operator's own service is told")
    kinds = webhooks.add_subparsers(dest="webhooks_command", required=True)
    for name, meaning in (
        ("list", "what waits to be told, and what could not be told"),
        ("replay", "tell again what could not be told"),
        ("test", "send a sample and print the answer"),
    ):
        parser = kinds.add_parser(name, help=meaning, allow_abbrev=False)
        _add_options(parser)
        if name == "replay":
            chosen = parser.add_mutually_exclusive_group(required=True)
            chosen.add_argument("ids", metavar="ID", nargs="*", default=[])
            chosen.add_argument("--dead", action="store_true", help="all of it")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings")
    for name, setting in SETTINGS.items():
        flag = "--" + name.replace("_", "-")
        if name in ("behind_proxy", "require_known_users"):
            parser.add_argument(
                flag, action="store_const", const="true", default=None, help=setting.meaning
            )
        elif not setting.is_secret:  # a secret on the command line shows in the process list
            parser.add_argument(flag, metavar="VALUE", help=setting.meaning)


def _backup(settings: Settings, options: argparse.Namespace) -> int:
    sys.stdout.write(app.back_up(settings, Path(options.file)) + "\n")
    return 0


def _restore(settings: Settings, options: argparse.Namespace) -> int:
    sys.stdout.write(app.restore(settings, Path(options.file)) + "\n")
    return 0


def _check(settings: Settings, options: argparse.Namespace) -> int:
    text, is_sound = app.check(settings, Path(options.file) if options.file else None)
    sys.stdout.write(text + "\n")
    return 0 if is_sound else 1


def _webhooks(settings: Settings, options: argparse.Namespace) -> int:
    try:
        if options.webhooks_command == "list":
            for line in webhook_commands.list_outbox(settings):
                sys.stdout.write(line + "\n")
            return 0
        if options.webhooks_command == "replay":
            done = webhook_commands.replay(settings, options.ids, all_of_them=options.dead)
            sys.stdout.write(done + "\n")
            return 0
        answer, is_good = asyncio.run(webhook_commands.send_sample(settings))
    except webhook_commands.CommandRefused as error:
        sys.stderr.write(f"muster: {error}\n")
        return 2
    sys.stdout.write(answer + "\n")
    return 0 if is_good else 1


def _settings(options: argparse.Namespace) -> Settings:
    given = {name: getattr(options, name, None) for name in SETTINGS}
    flags = {name: value for name, value in given.items() if value is not None}
    file = options.config or os.environ.get("MUSTER_CONFIG")
    return config.load_settings(flags, os.environ, Path(file) if file else None)


def _token(settings: Settings, options: argparse.Namespace) -> int:
    try:
        text = usersig.sign(
            options.user_id,
            sdkappid=settings.sdkappid,
            secret_key=config.stored_key(settings),
            now_s=int(time.time()),
            expire_s=options.expire_s,
        )
    except ValueError as error:
        raise SettingsRefused(str(error)) from error
    sys.stdout.write(text + "\n")
    return 0


_COMMANDS: Final[Mapping[str, Callable[[Settings, argparse.Namespace], int]]] = {
    "token": _token,
    "backup": _backup,
    "restore": _restore,
    "check": _check,
    "webhooks": _webhooks,
}


if __name__ == "__main__":
    sys.exit(main())
