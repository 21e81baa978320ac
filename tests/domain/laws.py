"""What holds of every decision, whatever was asked."""

import msgspec

from protocol.commands import ChangingCommand
from protocol.events import EVENT_DATA
from protocol.methods import METHOD_OF
from protocol.vocabulary import NOTICE_OPS, TIP_OPS, EventKind, Notice, Tip
from server.domain.model import Decision, Entry, Group, GroupKey, Slice


def check(decision: Decision, of: Slice, command: ChangingCommand) -> None:
    """Every entry is one that clients know, every row belongs to its key, versions grow."""
    method = METHOD_OF.get(type(command))
    assert method is None or isinstance(decision.result, method.result)
    msgspec.json.encode(decision.result)
    for entry in decision.entries:
        _check_entry(entry)
    for key, row in decision.puts.items():
        for name in key.__struct_fields__:
            assert row is None or getattr(row, name) == getattr(key, name)
    _check_versions(decision, of)


def _check_entry(entry: Entry) -> None:
    data = EVENT_DATA[entry.kind, entry.event]
    assert isinstance(entry.data, data)
    assert msgspec.convert(msgspec.to_builtins(entry.data), data) == entry.data
    assert entry.op == _op(entry)
    is_notice = entry.kind is EventKind.NOTICE
    if is_notice and entry.event == Notice.CUSTOM:
        assert not entry.is_stored
        return
    is_to_one = is_notice and not entry.closes
    assert (entry.inbox_of is not None) == is_to_one


def _op(entry: Entry) -> int | None:
    if entry.kind is EventKind.NOTICE:
        return NOTICE_OPS[Notice(entry.event)]
    return TIP_OPS[Tip(entry.event)] if entry.kind is EventKind.TIP else None


def _check_versions(decision: Decision, of: Slice) -> None:
    """A group's row is written with a greater version, or with version 1 where there was none."""
    before = [case.state.group for case in of.cases.values()]
    versions = {GroupKey(group.group_id): group.version for group in before if group is not None}
    if of.group is not None:
        versions[GroupKey(of.group.group_id)] = of.group.version
    for key, row in decision.puts.items():
        if isinstance(row, Group):
            assert isinstance(key, GroupKey)
            assert row.version > versions.get(key, 0)
            assert row.member_count >= 0
