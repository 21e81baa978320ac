"""Who may call: the query parameters of a call, and the signature in them."""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from protocol.usersig import SigCode, SignatureRefused
from server.domain.rules import Rulebook
from server.rest.codes import CallCode, CallRefused
from server.rest.shapes import UINT32_MAX
from server.service.credentials import Credentials
from server.service.gates import TokenBucket

_NUMBER: Final = re.compile(r"[0-9]{1,10}\Z")
_MOST_REMEMBERED: Final = 10_000
_WINDOW_S: Final = 60.0
_GUESSES: Final = frozenset({SigCode.MALFORMED, SigCode.WRONG_KEY})
"""Whoever is refused for another reason has shown a good signature, or none at all."""


class Failures:
    """Wrong signatures by address and identifier; too many of them shut the door for a while.

    Args:
        most: how many within a minute, None for any number.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._counts: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def check(self, address: str, identifier: str, now_s: float) -> None:
        """Return if another attempt may be made.

        Raises:
            CallRefused: TOO_MANY_FAILURES.
        """
        since_s, count = self._counts.get((address, identifier), (now_s, 0))
        if self._most is not None and count >= self._most and now_s - since_s < _WINDOW_S:
            raise CallRefused.of(CallCode.TOO_MANY_FAILURES)

    def count(self, address: str, identifier: str, now_s: float) -> None:
        """A signature was wrong."""
        key = (address, identifier)
        since_s, count = self._counts.pop(key, (now_s, 0))
        if now_s - since_s >= _WINDOW_S:
            since_s, count = now_s, 0
        self._counts[key] = (since_s, count + 1)
        if len(self._counts) > _MOST_REMEMBERED:
            self._counts.popitem(last=False)


class Entrance:
    """Lets the operator's programs in.

    Args:
        credentials: what tokens are held against.
        admins: the operator's accounts.
        monotonic_s: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        credentials: Credentials,
        admins: Sequence[str],
        *,
        rulebook: Rulebook,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._credentials = credentials
        self._admins = frozenset(admins)
        self._monotonic_s = monotonic_s
        self._failures = Failures(rulebook.limit("REST_FAILURES"))
        self._calls_per_s = rulebook.limits["REST_CALLS_PER_S"]
        self._buckets: dict[str, TokenBucket] = {}

    def admit(self, query: Mapping[str, str], authorization: str, address: str) -> str:
        """The operator's account that calls.

        Args:
            query: the parameters of the address.
            authorization: that header, "" without one. ``Bearer`` and a token stand for ``usersig``
                where there is none in the query.
            address: where the call comes from.

        Raises:
            CallRefused: with the original's number for the reason.
        """
        self._check_form(query)
        identifier = query["identifier"]
        now_s = self._monotonic_s()
        self._failures.check(address, identifier, now_s)
        token = query.get("usersig") or _bearer(authorization)
        try:
            self._credentials.verify(token, identifier)
        except SignatureRefused as error:
            if error.code in _GUESSES:
                self._failures.count(address, identifier, now_s)
            raise CallRefused(int(error.code), error.message) from error
        if identifier not in self._admins:
            raise CallRefused.of(CallCode.NOT_ADMIN)
        return identifier

    def take_turn(self, path: str, calls_per_s: int | None) -> None:
        """Count a call of the command at ``path``.

        Raises:
            CallRefused: TOO_MANY_CALLS.
        """
        now_s = self._monotonic_s()
        bucket = self._buckets.get(path)
        if bucket is None:
            # 0 is no limit, also for what would have a smaller one.
            rate = min(self._calls_per_s, calls_per_s or self._calls_per_s)
            bucket = self._buckets[path] = TokenBucket(rate, rate, now_s)
        if bucket.take(now_s):
            raise CallRefused.of(CallCode.TOO_MANY_CALLS)

    def _check_form(self, query: Mapping[str, str]) -> None:
        if not query.get("sdkappid"):
            raise CallRefused.of(CallCode.APP_MISSING)
        if query["sdkappid"] != str(self._credentials.sdkappid):
            raise CallRefused.of(CallCode.WRONG_APP)
        random = query.get("random", "0")
        is_number = _NUMBER.match(random) and int(random) <= UINT32_MAX
        is_json = query.get("contenttype", "json") == "json"
        if not query.get("identifier") or not is_json or not is_number:
            raise CallRefused.of(CallCode.WRONG_QUERY)


def _bearer(authorization: str) -> str:
    """The token of an ``Authorization`` header (RFC 6750 section 2.1), "" if it has none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
