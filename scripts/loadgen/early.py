"""Promise of ``protocol.md``: what a request caused for its own user comes before its reply."""

from collections.abc import Iterable, Mapping
from typing import Final

from protocol.vocabulary import GroupType
from scripts.loadgen.plan import Kind
from scripts.loadgen.record import Entry, Outcome

OWNER_CHANGED: Final = "owner_changed"
_NOTICES: Final[Mapping[Kind, str]] = {
    Kind.CREATE: "group_created",
    Kind.JOIN: "joined",
    Kind.QUIT: "quit",
    Kind.DISBAND: "group_disbanded",
    Kind.TRANSFER: OWNER_CHANGED,
}
_TIPS: Final[Mapping[Kind, str]] = {
    Kind.JOIN: "member_joined",
    Kind.INVITE: "member_invited",
    Kind.KICK: "member_kicked",
    Kind.QUIT: "member_quit",
}
PROFILE_CHANGED: Final = "member_profile_changed"
"""A mute: the tip where there is one, and a notice to the actor where there is none."""

SILENT_CHANGES: Final = frozenset({"group_profile_changed", "member_invited", "member_kicked"})
"""Notices by which the actor's own devices learn of what no tip tells. ``groups.md`` says that
they do (section 2, last paragraph), and leaves open by which of them."""

_CHANGES: Final = frozenset({"added", "removed"})


def missing_own_events(
    outcome: Outcome, group_type: GroupType, given: Iterable[Entry]
) -> tuple[str, ...]:
    """Names of the events that ``given``, what came before the reply, should hold and does not."""
    mine = [entry for entry in given if entry.group_id == outcome.group_id]
    if outcome.kind is Kind.SEND:
        is_there = any(entry.mark == outcome.mark for entry in mine)
        return () if is_there else ("message",)
    wanted = []
    if outcome.kind is Kind.MUTE:
        wanted.append(PROFILE_CHANGED)
    if outcome.kind in _NOTICES and not _changed_nothing(outcome):
        wanted.append(_NOTICES[outcome.kind])
    if outcome.kind in _TIPS and not _changed_nothing(outcome):
        if has_tips(group_type):
            wanted.append(_TIPS[outcome.kind])
        elif outcome.kind not in _NOTICES and not any(e.event in SILENT_CHANGES for e in mine):
            wanted.append("notice of it")
    names = {entry.event for entry in mine}
    return tuple(name for name in wanted if name not in names)


def has_tips(group_type: GroupType) -> bool:
    """Whether comings and goings are told to the group (``groups.md`` section 2)."""
    return group_type is not GroupType.MEETING


def _changed_nothing(outcome: Outcome) -> bool:
    """Whether a done request had nothing to do."""
    result = outcome.result or {}
    if outcome.kind is Kind.JOIN:
        return result.get("status") != "joined"
    if outcome.kind in (Kind.INVITE, Kind.KICK):
        return not any(row["result"] in _CHANGES for row in result["members"])
    return False
