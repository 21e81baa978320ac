"""What stands before every request: rates, requests in flight, and who may speak for whom."""

import math

from protocol.commands import ChangingCommand
from protocol.errors import ErrorCode, Refused
from protocol.identifiers import is_user_id
from server.domain.model import Actor
from server.domain.rules import Rulebook


class TokenBucket:
    """A rate with a burst: ``per_s`` tokens flow in, at most ``burst`` are kept.

    Args:
        per_s: 0 for no limit.
        burst: how many may be taken at once after a pause; at least 1 is always possible.
    """

    __slots__ = ("_burst", "_per_s", "_tokens", "_updated_s")

    def __init__(self, per_s: int, burst: int, now_s: float) -> None:
        self._per_s = per_s
        self._burst = max(1, burst)
        self._tokens = float(self._burst)
        self._updated_s = now_s

    def take(self, now_s: float) -> int:
        """Take a token; returns 0, or the ms to wait until there is one."""
        if not self._per_s:
            return 0
        flowed = (now_s - self._updated_s) * self._per_s
        self._updated_s = now_s
        self._tokens = min(self._burst, self._tokens + max(0.0, flowed))
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return math.ceil((1 - self._tokens) / self._per_s * 1000)


class UserGate:
    """One user's rate over all connections.

    Kept while any connection of the user lives, and by ``Spenders`` until it is as good as new.
    """

    __slots__ = ("__weakref__", "_bucket", "_spenders")

    def __init__(self, rulebook: Rulebook, now_s: float, spenders: "Spenders") -> None:
        per_s = rulebook.limits["USER_REQUESTS_PER_S"]
        self._bucket = TokenBucket(per_s, _USER_BURST_S * per_s, now_s)
        self._spenders = spenders

    def take(self, now_s: float) -> int:
        """See ``TokenBucket.take``."""
        self._spenders.note(self, now_s)
        return self._bucket.take(now_s)


class Spenders:
    """Keeps the gates that were used lately, so that nobody gets a new one by reconnecting.

    A gate that was not used for ``_USER_BURST_S`` is full again, and may be forgotten. Kept in
    two generations: as many as there were users with a request within twice that time.
    """

    def __init__(self) -> None:
        self._young: set[UserGate] = set()
        self._old: set[UserGate] = set()
        self._turned_s = 0.0

    def note(self, gate: UserGate, now_s: float) -> None:
        """The gate is used now."""
        if now_s - self._turned_s > _USER_BURST_S:
            self._turned_s = now_s
            self._old, self._young = self._young, set()
        self._young.add(gate)

    def __len__(self) -> int:
        return len(self._young | self._old)


class ConnectionGate:
    """One connection's rate and requests in flight.

    ``refusals`` counts what was refused for its rate within ``_WINDOW_S``; the transport closes
    a connection that goes on after RATE_WARNINGS of them.
    """

    __slots__ = ("_bucket", "_most_in_flight", "_user", "_window_s", "in_flight", "refusals")

    def __init__(self, rulebook: Rulebook, user: UserGate, now_s: float) -> None:
        limits = rulebook.limits
        self._bucket = TokenBucket(limits["REQUESTS_PER_S"], limits["REQUESTS_BURST"], now_s)
        self._user = user
        self._most_in_flight = limits["REQUESTS_IN_FLIGHT"]
        self._window_s = now_s
        self.in_flight = 0
        self.refusals = 0

    def enter(self, now_s: float) -> None:
        """Let one more request in; it must be followed by ``leave`` when it is answered.

        Raises:
            Refused: TOO_MANY_REQUESTS with the rule, and ``retry_after_ms`` where it is known.
        """
        if self._most_in_flight and self.in_flight >= self._most_in_flight:
            self._count_refusal(now_s)
            raise Refused(
                ErrorCode.TOO_MANY_REQUESTS,
                f"{self.in_flight} requests of this connection wait for their answers",
                rule="requests_in_flight",
                have=self.in_flight,
                need=self._most_in_flight,
            )
        for rule, bucket in (
            ("requests_per_s", self._bucket),
            ("user_requests_per_s", self._user),
        ):
            wait_ms = bucket.take(now_s)
            if wait_ms:
                self._count_refusal(now_s)
                raise Refused(ErrorCode.TOO_MANY_REQUESTS, rule=rule, retry_after_ms=wait_ms)
        self.in_flight += 1

    def leave(self) -> None:
        """One request of those let in is answered."""
        self.in_flight -= 1

    def _count_refusal(self, now_s: float) -> None:
        if now_s - self._window_s > _WINDOW_S:
            self._window_s = now_s
            self.refusals = 0
        self.refusals += 1


_WINDOW_S = 10.0

_USER_BURST_S = 2
"""A user may use up so many seconds' requests at once; after as long a pause all are back."""


def actor_of(
    command: ChangingCommand, user_id: str, *, is_app_admin: bool, user_id_bytes: int = 32
) -> Actor:
    """Who acts: the caller, or for an app_admin the user whom the command names.

    Raises:
        Refused: NO_PERMISSION when somebody else names a user, INVALID_USER_ID for no user ID.
    """
    if command.as_user_id is None:
        return Actor(user_id, is_app_admin)
    if not is_app_admin:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "only an app_admin acts in another user's name",
            rule="as_user_id",
            have="user",
            need="app_admin",
        )
    if not is_user_id(command.as_user_id, max_bytes=user_id_bytes):
        raise Refused(
            ErrorCode.INVALID_USER_ID, field="as_user_id", user_id=command.as_user_id[:64]
        )
    return Actor(command.as_user_id, is_app_admin=True)
