"""Who is connected and follows what: users with their sessions, groups with their followers."""

import asyncio
from collections.abc import Iterator

from server.hub.session import Session
from server.service.ports import Followed


class Feed:
    """A connected user: the sessions, and the groups that they follow.

    ``discards`` are groups whose messages the user does not want, ``accepts`` those for which
    that was taken back while connected. ``groups`` are those of which the user is a stored member; ``participates_since_ms`` those
    without stored membership. While ``groups`` is being read from the store, changes are noted
    in ``changes`` (position, group, is it followed after it) and applied on top.
    """

    __slots__ = (
        "accepts",
        "changes",
        "discards",
        "groups",
        "is_loaded",
        "loaded_position",
        "loading",
        "participates_since_ms",
        "sessions",
        "user_id",
    )

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.sessions: tuple[Session, ...] = ()
        self.groups: set[str] = set()
        self.discards: set[str] = set()
        self.accepts: set[str] = set()
        self.participates_since_ms: dict[str, int] = {}
        self.is_loaded = False
        self.loaded_position = 0
        self.loading: asyncio.Task[None] | None = None
        self.changes: list[tuple[int, str, bool]] = []

    def add(self, session: Session) -> None:
        """One more device."""
        self.sessions = (*self.sessions, session)

    def remove(self, session: Session) -> None:
        """One device less."""
        self.sessions = tuple(other for other in self.sessions if other is not session)

    def forget(self, group_id: str) -> None:
        """The user is no member any more; what was chosen for the group is over."""
        self.groups.discard(group_id)
        self.discards.discard(group_id)
        self.accepts.discard(group_id)


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
        feed.groups = set()
        feed.participates_since_ms = {}
        for group_id in followed:
            self._drop(group_id, feed)

    def load(self, feed: Feed, followed: Followed) -> None:
        """Take the groups of a snapshot, and what changed since it on top."""
        group_ids = set(followed.group_ids)
        discards = set(followed.discards) - feed.accepts
        for changed_at, group_id, is_followed in feed.changes:
            if changed_at > followed.position:
                (group_ids.add if is_followed else group_ids.discard)(group_id)
                # What was chosen before ended with the membership of then.
                discards.discard(group_id)
        feed.discards.update(discards)
        feed.changes = []
        feed.is_loaded = True
        feed.loaded_position = followed.position
        self._loading.discard(feed)
        if self._feeds.get(feed.user_id) is not feed:
            return
        outdated = feed.groups - group_ids
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
        if not feed.is_loaded:
            feed.changes.append((position, group_id, True))
        feed.groups.add(group_id)
        self._followers.setdefault(group_id, {})[feed] = None

    def unfollow(self, user_id: str, group_id: str, position: int) -> None:
        """A stored membership ends at ``position``."""
        feed = self._feeds.get(user_id)
        if feed is None:
            return
        if not feed.is_loaded:
            feed.changes.append((position, group_id, False))
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
        # Chosen while the groups are being read: what the snapshot says may be out of date.
        (feed.accepts.discard if discards else feed.accepts.add)(group_id)
        (feed.discards.add if discards else feed.discards.discard)(group_id)

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

    def close_group(self, group_id: str, position: int) -> None:
        """The group ended at ``position``: nobody follows it any more."""
        for feed in self._followers.pop(group_id, {}):
            feed.forget(group_id)
            feed.participates_since_ms.pop(group_id, None)
        for feed in self._loading:
            feed.changes.append((position, group_id, False))
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
