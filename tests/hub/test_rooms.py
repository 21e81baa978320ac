"""Who follows what, against the plain history of who was a member when.

What is committed is told a little later, and the groups of a user who connects are read from the
store at any moment in between; whatever the order, in the end it must come out the same.
"""

from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.hub.rooms import Feed, Rooms
from server.service.ports import Followed

USERS = st.sampled_from(["a", "b"])
GROUPS = st.sampled_from(["g", "h"])
PLACE = st.integers(0, 100)

Membership = tuple[str, str]
Change = tuple[str, str, str]
"""What happened, to which user (nobody for "close"), in which group."""


class State:
    """Members and what they discard, after some of the history."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self.members: set[Membership] = set()
        self.discards: set[Membership] = set()
        for what, user_id, group_id in changes:
            key = (user_id, group_id)
            if what == "join":
                self.members.add(key)
            elif what == "discard":
                self.discards.add(key)
            elif what == "accept":
                self.discards.discard(key)
            else:
                gone = {m for m in self.members if m[1] == group_id and what == "close"} | {key}
                self.members -= gone
                self.discards -= gone

    def groups_of(self, user_id: str) -> set[str]:
        return {group_id for member, group_id in self.members if member == user_id}


class RoomsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rooms = Rooms()
        self.history: list[Change] = []
        self.told = 0
        self.read: list[tuple[Feed, Followed]] = []

    def happens(self, what: str, user_id: str, group_id: str) -> None:
        self.history.append((what, user_id, group_id))

    @rule(user_id=USERS, group_id=GROUPS)
    def joins_or_leaves(self, user_id: str, group_id: str) -> None:
        is_member = (user_id, group_id) in State(self.history).members
        self.happens("leave" if is_member else "join", user_id, group_id)

    @rule(user_id=USERS, group_id=GROUPS)
    def discards_or_accepts(self, user_id: str, group_id: str) -> None:
        state = State(self.history)
        if (user_id, group_id) in state.members:
            discards = (user_id, group_id) in state.discards
            self.happens("accept" if discards else "discard", user_id, group_id)

    @rule(group_id=GROUPS)
    def closes(self, group_id: str) -> None:
        self.happens("close", "", group_id)

    @precondition(lambda self: self.told < len(self.history))
    @rule()
    def is_told(self) -> None:
        what, user_id, group_id = self.history[self.told]
        self.told += 1
        if what == "join":
            self.rooms.follow(user_id, group_id, self.told)
        elif what == "leave":
            self.rooms.unfollow(user_id, group_id, self.told)
        elif what == "close":
            self.rooms.close_group(group_id, self.told)
        else:
            self.rooms.discard(user_id, group_id, discards=what == "discard")

    @rule(user_id=USERS)
    def connects(self, user_id: str) -> None:
        self.rooms.open(user_id)

    @precondition(lambda self: any(not feed.is_loaded for feed in self.rooms.feeds()))
    @rule(which=PLACE)
    def groups_are_read(self, which: int) -> None:
        feeds = [feed for feed in self.rooms.feeds() if not feed.is_loaded]
        feed = feeds[which % len(feeds)]
        if all(feed is not other for other, _ in self.read):
            state = State(self.history)
            groups = state.groups_of(feed.user_id)
            discards = {group for group in groups if (feed.user_id, group) in state.discards}
            self.read.append((feed, Followed(len(self.history), groups, discards)))

    @precondition(lambda self: self.read)
    @rule(which=PLACE)
    def groups_are_known(self, which: int) -> None:
        self.rooms.load(*self.read.pop(which % len(self.read)))

    @precondition(lambda self: any(self.rooms.feeds()))
    @rule(which=PLACE)
    def disconnects(self, which: int) -> None:
        feeds = list(self.rooms.feeds())
        self.rooms.close(feeds[which % len(feeds)])

    @invariant()
    def who_is_known_follows_what_was_told(self) -> None:
        state = State(self.history[: self.told])
        for feed in self.rooms.feeds():
            if not feed.is_loaded or feed.loaded_position > self.told:
                continue
            groups = state.groups_of(feed.user_id)
            assert {g for g in "gh" if feed in self.rooms.followers(g)} == groups
            discards = {group for group in groups if (feed.user_id, group) in state.discards}
            assert feed.discards & groups == discards

    @invariant()
    def nobody_follows_who_is_not_connected(self) -> None:
        connected = list(self.rooms.feeds())
        for group_id in "gh":
            followers = list(self.rooms.followers(group_id))
            assert all(feed in connected for feed in followers)
            assert len(set(followers)) == len(followers) == self.rooms.follower_count(group_id)


@pytest.mark.parametrize("end", ["leave", "close"])
def test_what_was_discarded_ends_with_the_membership_also_while_the_groups_are_read(
    end: str,
) -> None:
    rooms = Rooms()
    feed = rooms.open("a")
    snapshot = Followed(2, {"g"}, {"g"})
    if end == "leave":
        rooms.unfollow("a", "g", 3)
    else:
        rooms.close_group("g", 3)
    rooms.follow("a", "g", 4)
    rooms.load(feed, snapshot)
    assert list(rooms.followers("g")) == [feed]
    assert not feed.discards


TestRooms = RoomsMachine.TestCase
TestRooms.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


class ParticipantsMachine(RuleBasedStateMachine):
    """Taking part where membership is not stored: it ends by ``part``, not by disconnecting."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms = Rooms()
        self.since: dict[Membership, int] = {}
        self.now_ms = 1

    @rule(user_id=USERS)
    def connects(self, user_id: str) -> None:
        self.rooms.open(user_id)

    @rule(user_id=USERS, group_id=GROUPS)
    def takes_part(self, user_id: str, group_id: str) -> None:
        if self.rooms.feed(user_id) is not None and (user_id, group_id) not in self.since:
            self.now_ms += 1
            self.since[user_id, group_id] = self.now_ms
            self.rooms.participate(user_id, group_id, self.now_ms)

    @rule(user_id=USERS, group_id=GROUPS)
    def parts(self, user_id: str, group_id: str) -> None:
        self.since.pop((user_id, group_id), None)
        self.rooms.part(user_id, group_id)

    @rule(user_id=USERS)
    def disconnects_and_parts(self, user_id: str) -> None:
        feed = self.rooms.feed(user_id)
        if feed is None:
            return
        self.rooms.close(feed)
        self.takes_part_still(user_id)
        for group_id in "gh":
            self.parts(user_id, group_id)

    def takes_part_still(self, user_id: str) -> None:
        for group_id in "gh":
            since_ms = self.since.get((user_id, group_id))
            assert self.rooms.participant_since_ms(user_id, group_id) == since_ms

    @rule(group_id=GROUPS)
    def closes(self, group_id: str) -> None:
        self.since = {key: ms for key, ms in self.since.items() if key[1] != group_id}
        self.rooms.close_group(group_id, 0)

    @invariant()
    def who_takes_part_is_known(self) -> None:
        for user_id in "ab":
            self.takes_part_still(user_id)

    @invariant()
    def followers_are_who_takes_part_and_is_connected(self) -> None:
        for group_id in "gh":
            names = {feed.user_id for feed in self.rooms.followers(group_id)}
            assert names == {user for user, group in self.since if group == group_id}


TestParticipants = ParticipantsMachine.TestCase
TestParticipants.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
