"""Who is connected and follows what: users with their sessions, groups with their followers."""

import asyncio
from collections.abc import Iterator
from typing import Final

from server.hub.session import Session
from server.service.ports import Committed, Followed

MOST_ENDINGS: Final = 64
"""How many ends of rooms are kept for the devices of a user that are away or slow."""


class Loading:
    """What is told to a user whose groups are being read from the store, to be applied on top.

    ``changes`` are (position, group, is it followed after it), ``accepts`` the groups whose
    messages the user wants again. ``is_done`` is there once somebody waits for the reading.
    """

    __slots__ = ("accepts", "changes", "is_done")

    def __init__(self) -> None:
        self.changes: list[tuple[int, str, bool]] = []
        self.accepts: set[str] = set()
        self.is_done: asyncio.Future[None] | None = None


class Feed:
    """A connected user: the sessions, and the groups that they follow.

    ``groups`` are those of which the user is a stored member; ``participates_since_ms`` those
    without stored membership; ``discards`` those whose messages the user does not want.
    ``loading`` is there until the groups have been read from the store. ``endings`` are the last
    entries of groups without stored membership in which the user took part: the store does not
    know that they are for this user, and a device that catches up gets them from here. One of
    these is kept for each connected user, so what is mostly empty takes little: dictionaries
    instead of sets.
    """

    __slots__ = (
        "discards",
        "endings",
        "groups",
        "loaded_position",
        "loading",
        "participates_since_ms",
        "sessions",
        "user_id",
    )

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.sessions: tuple[Session, ...] = ()
        self.groups: dict[str, None] = {}
        self.discards: frozenset[str] = frozenset()
        self.participates_since_ms: dict[str, int] = {}
        self.endings: tuple[Committed, ...] = ()
        self.loaded_position = 0
        self.loading: Loading | None = Loading()

    @property
    def is_loaded(self) -> bool:
        """Whether ``groups`` is all of them."""
        return self.loading is None

    def add(self, session: Session) -> None:
        """One more device."""
        self.sessions = (*self.sessions, session)

    def remove(self, session: Session) -> None:
        """One device less."""
        self.sessions = tuple(other for other in self.sessions if other is not session)

    def forget(self, group_id: str) -> None:
        """The user is no member any more; what was chosen for the group is over."""
        self.groups.pop(group_id, None)
        if group_id in self.discards:
            self.discards -= {group_id}
        if self.loading is not None:
            self.loading.accepts.discard(group_id)


class Rooms:
    """Connected users by ID, and the followers of each group."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}
        self._followers: dict[str, dict[Feed, None]] = {}
        self._loading: set[Feed] = set()
        self._parting_since_ms: dict[tuple[str, str], int] = {}

    def feed(self, user_id: str) -> Feed | None:
        """The connected user of this ID."""
        return self._feeds.get(user_id)

    def feeds(self) -> Iterator[Feed]:
        """All connected users."""
        return iter(tuple(self._feeds.values()))

    def open(self, user_id: str) -> Feed:
        """The feed of a user who connects; made when it is the first device."""
        feed = self._feeds.get(user_id)
        if feed is None:
            feed = self._feeds[user_id] = Feed(user_id)
            self._loading.add(feed)
        return feed

    def close(self, feed: Feed) -> None:
        """Forget a user whose last device is gone.

        The user takes part in groups without stored membership until ``part`` says otherwise.
        """
        if self._feeds.get(feed.user_id) is feed:
            del self._feeds[feed.user_id]
        self._loading.discard(feed)
        for group_id, since_ms in feed.participates_since_ms.items():
            self._parting_since_ms[feed.user_id, group_id] = since_ms
        followed = (*feed.groups, *feed.participates_since_ms)
        feed.groups = {}
        feed.participates_since_ms = {}
        for group_id in followed:
            self._drop(group_id, feed)

    def load(self, feed: Feed, followed: Followed) -> None:
        """Take the groups of a snapshot, and what changed since it on top; once for each feed."""
        loading, feed.loading = feed.loading, None
        assert loading is not None
        group_ids = dict.fromkeys(followed.group_ids)
        discards = set(followed.discards) - loading.accepts
        for changed_at, group_id, is_followed in loading.changes:
            if changed_at > followed.position:
                if is_followed:
                    group_ids[group_id] = None
                else:
                    group_ids.pop(group_id, None)
                # What was chosen before ended with the membership of then.
                discards.discard(group_id)
        if discards:
            feed.discards |= discards
        feed.loaded_position = followed.position
        self._loading.discard(feed)
        if self._feeds.get(feed.user_id) is not feed:
            return
        outdated = feed.groups.keys() - group_ids.keys()
        feed.groups = group_ids
        for group_id in outdated:
            self._drop(group_id, feed)
        for group_id in group_ids:
            self._followers.setdefault(group_id, {})[feed] = None

    def followers(self, group_id: str) -> Iterator[Feed]:
        """The connected users who follow the group, in the order in which they began to."""
        return iter(self._followers.get(group_id, ()))

    def follower_count(self, group_id: str) -> int:
        """How many connected users follow the group."""
        return len(self._followers.get(group_id, ()))

    def participant_count(self, group_id: str) -> int:
        """How many take part in a group without stored membership.

        Those are included who have lost their connection and of whom no ``part`` has come yet.
        """
        parting = sum(name == group_id for _, name in self._parting_since_ms)
        return self.follower_count(group_id) + parting

    def follow(self, user_id: str, group_id: str, position: int) -> None:
        """A stored membership begins at ``position``."""
        feed = self._feeds.get(user_id)
        if feed is None:
            return
        if feed.loading is not None:
            feed.loading.changes.append((position, group_id, True))
        feed.groups[group_id] = None
        self._followers.setdefault(group_id, {})[feed] = None

    def unfollow(self, user_id: str, group_id: str, position: int) -> None:
        """A stored membership ends at ``position``."""
        feed = self._feeds.get(user_id)
        if feed is None:
            return
        if feed.loading is not None:
            feed.loading.changes.append((position, group_id, False))
        feed.forget(group_id)
        self._drop(group_id, feed)

    def participate(self, user_id: str, group_id: str, since_ms: int) -> None:
        """A connected user takes part in a group that stores no membership."""
        feed = self._feeds.get(user_id)
        if feed is not None:
            feed.participates_since_ms.setdefault(group_id, since_ms)
            self._followers.setdefault(group_id, {})[feed] = None

    def discard(self, user_id: str, group_id: str, *, discards: bool) -> None:
        """From now on the user wants the group's messages, or does not."""
        feed = self._feeds.get(user_id)
        if feed is None:
            return
        feed.discards = feed.discards | {group_id} if discards else feed.discards - {group_id}
        if feed.loading is not None:
            # What the snapshot says may be out of date.
            accepts = feed.loading.accepts
            (accepts.discard if discards else accepts.add)(group_id)

    def participant_since_ms(self, user_id: str, group_id: str) -> int | None:
        """Since when the user takes part, also when the connection is gone but no ``part`` came."""
        feed = self._feeds.get(user_id)
        since_ms = None if feed is None else feed.participates_since_ms.get(group_id)
        return since_ms or self._parting_since_ms.get((user_id, group_id))

    def part(self, user_id: str, group_id: str) -> None:
        """The user no longer takes part."""
        self._parting_since_ms.pop((user_id, group_id), None)
        feed = self._feeds.get(user_id)
        if feed is not None:
            feed.participates_since_ms.pop(group_id, None)
            if group_id not in feed.groups:
                feed.forget(group_id)
            self._drop(group_id, feed)

    def forget_parting(self, user_id: str, group_id: str) -> None:
        """No ``part`` will come of a user who has lost the connection to this group."""
        self._parting_since_ms.pop((user_id, group_id), None)

    def note_ending(self, ending: Committed) -> None:
        """A group ends with this entry: kept for those whose membership is not stored."""
        for feed in self._followers.get(ending.entry.group_id, ()):
            if ending.entry.group_id not in feed.groups:
                feed.endings = (*feed.endings, ending)[-MOST_ENDINGS:]

    def close_group(self, group_id: str, position: int) -> None:
        """The group ended at ``position``: nobody follows it any more."""
        for feed in self._followers.pop(group_id, {}):
            feed.forget(group_id)
            feed.participates_since_ms.pop(group_id, None)
        for feed in self._loading:
            if feed.loading is not None:
                feed.loading.changes.append((position, group_id, False))
        for key in [key for key in self._parting_since_ms if key[1] == group_id]:
            del self._parting_since_ms[key]

    def _drop(self, group_id: str, feed: Feed) -> None:
        """End following, unless the other kind of membership still asks for it."""
        followers = self._followers.get(group_id)
        if followers is None or group_id in feed.groups or group_id in feed.participates_since_ms:
            return
        followers.pop(feed, None)
        if not followers:
            del self._followers[group_id]
