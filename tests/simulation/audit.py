"""What must hold of the tables after a history: they are what the ledger says."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from server.domain.model import MemberKey
from server.storage.changes import group_log
from tests.machines.books import assert_books_are_right, name_of_entry
from tests.simulation.ledger import Disk


def judge_tables(disk: Disk, limits: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with the tables of a disk on which nothing runs any more."""
    yield from _judge_ledgers(disk)
    yield from _judge_kept(disk)
    yield from _judge_intervals(disk)
    try:
        assert_books_are_right(disk.tables, (), limits)
    except AssertionError as error:
        yield f"the books: {error}"


def _judge_ledgers(disk: Disk) -> Iterator[str]:
    """Every log is numbered 1, 2, 3; positions rise."""
    for term, ledger in disk.ledgers.items():
        numbers: defaultdict[tuple[str, str], int] = defaultdict(int)
        before = 0
        for told in ledger.log:
            kind, whose, number = name_of_entry(told)
            if told.position <= before:
                yield f"{term}: position {told.position} after {before}"
            before = told.position
            if told.entry.event == "group_created":
                numbers["group", told.entry.group_id] = 0  # its ID was free again
            numbers[kind, whose] += 1
            if number != numbers[kind, whose]:
                yield f"{term}: {kind} {whose} has {number}, not {numbers[kind, whose]}"


def _judge_kept(disk: Disk) -> Iterator[str]:
    """What is kept is the end of what was committed, entry by entry."""
    tables, ledger = disk.tables, disk.ledger
    kept = [
        (told.position, name_of_entry(told)) for told in tables.page(iter(tables.entries), 2**60)
    ]
    committed = [(t.position, name_of_entry(t)) for t in ledger.log if t.position > tables.floor]
    if kept != committed:
        yield f"the log keeps {len(kept)} entries, of {len(committed)} committed above the floor"
    if tables.position != ledger.position:
        yield f"the tables end at {tables.position}, the ledger at {ledger.position}"


def _judge_intervals(disk: Disk) -> Iterator[str]:
    """Who is a member is who has an open interval; intervals do not overlap."""
    tables = disk.tables
    open_ones = set()
    for user_id, intervals in tables.intervals.items():
        ends: dict[str, int] = {}
        for one in intervals:
            if one.joined_position <= ends.get(one.group_id, 0):
                yield f"{user_id}: memberships of {one.group_id} overlap"
            if one.left_position is None:
                ends[one.group_id] = 2**60
                if tables.heads[group_log(one.group_id)].closed_position is None:
                    open_ones.add(MemberKey(one.group_id, user_id))
            else:
                ends[one.group_id] = one.left_position
    members = {
        MemberKey(group_id, user_id)
        for group_id, users in tables.members.items()
        if tables.lives(group_id)
        for user_id in users
    }
    if members != open_ones:
        yield f"members and intervals disagree: {sorted(map(repr, members ^ open_ones))}"
