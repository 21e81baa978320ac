"""The documented requests by command, and their group."""

from collections.abc import Mapping
from typing import Any, Final

from server.rest.commands import COMMANDS

EXAMPLE: Final[Mapping[str, Mapping[str, Any]]] = {row.name: row.example for row in COMMANDS}
G: Final = "MyFirstGroup"
OF_G: Final = {"GroupId": G}
