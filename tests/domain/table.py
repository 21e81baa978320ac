"""Reads ``rights_table.txt``, the tests' own statement of the rules, and says what it asks for."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from protocol.vocabulary import GroupType

_FILE: Final = Path(__file__).with_name("rights_table.txt")
_TYPES: Final = tuple(GroupType)
_RANKS: Final = {"none": 0, "anyone": 0, "member": 1, "admin": 2, "owner": 3, "app_admin": 4}
_COLUMNS: Final = ("none", "member", "admin", "owner", "self")

Row = Mapping[str, str]

ACTORS: Final[Mapping[str, tuple[str, str]]] = {
    "none": ("none", "none"),
    "member": ("member", "member"),
    "admin": ("admin", "admin"),
    "owner": ("owner", "owner"),
    "app_admin": ("app_admin", "none"),
    "app_admin and member": ("app_admin", "member"),
}
"""An actor -> its standing, and its role in the group."""

TARGETS: Final = _COLUMNS


@cache
def section(name: str) -> Mapping[str, Row]:
    """Operation -> column -> cell."""
    columns = _COLUMNS if name == "targets" else _TYPES
    rows: dict[str, Row] = {}
    current = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif line and not line.startswith("#") and current == name:
            operation, *cells = (cell.strip() for cell in line.split("|"))
            assert operation not in rows, f"{operation} is there twice"
            rows[operation] = dict(zip(columns, cells, strict=True))
    assert rows, f"no section {name}"
    return rows


def expected(operation: str, group_type: GroupType, actor: str, target: str) -> str:
    """What is to come of it: "done", "waits", "moot", or the number of the refusal."""
    standing, role = ACTORS[actor]
    outcome = _of_cell(section("rights")[operation][group_type], standing, role)
    if outcome == "over":
        rank = _RANKS[role if target == "self" else target]
        outcome = "done" if _RANKS[standing] > rank else "10007"
    row = section("targets").get(operation)
    if row is None or outcome not in {"done", "waits"}:
        return outcome
    of_target = _of_cell(row[target], standing, role)
    if of_target == "like":
        of_target = _of_cell(row[role], standing, role)
    return outcome if of_target == "done" else of_target


def _of_cell(cell: str, standing: str, role: str) -> str:
    outcome = "10007"
    if cell == "nobody":
        return outcome
    for clause in cell.split(";"):
        who, _, what = clause.strip().partition(" ")
        if who == "in":
            fits = role != "none"
        elif who == "the-owner":
            fits = role == "owner"
        else:
            fits = _RANKS[standing] >= _RANKS[who]
        if fits:
            outcome = what or "done"
    return outcome
