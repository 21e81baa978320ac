"""Who may connect: how many from one address, and who proves to be whom."""

import enum
from collections import Counter
from collections.abc import Sequence
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from protocol import usersig
from protocol.errors import CloseCode, ConnectionRefused
from protocol.frames import Hello
from protocol.identifiers import is_device_id, is_user_id
from server.domain.rules import Rulebook
from server.service.credentials import Credentials
from server.service.gates import ConnectionGate, Spenders, UserGate


class Identity(msgspec.Struct, frozen=True):
    """Who a connection turned out to be."""

    user_id: str
    is_app_admin: bool


class Authenticator:
    """Checks the signature of a hello.

    Args:
        credentials: what tokens are held against.
        admins: the user IDs of the operator's accounts.
    """

    def __init__(self, credentials: Credentials, admins: Sequence[str]) -> None:
        self.credentials = credentials
        self._admins = frozenset(admins)

    def identify(self, hello: Hello) -> Identity:
        """Who says hello.

        Raises:
            ConnectionRefused: NOT_AUTHENTICATED with the original's number for the reason, or
                MALFORMED for IDs that are none.
        """
        if not is_device_id(hello.device_id):
            raise ConnectionRefused(
                CloseCode.MALFORMED, "device_id is 1 to 64 bytes of printable ASCII"
            )
        if not is_user_id(hello.user_id):
            raise ConnectionRefused(
                CloseCode.NOT_AUTHENTICATED, "user_id is 1 to 32 bytes of printable ASCII"
            )
        try:
            self.credentials.verify(hello.user_sig, hello.user_id)
        except usersig.SignatureRefused as error:
            raise ConnectionRefused(
                CloseCode.NOT_AUTHENTICATED, str(error)[:120], error_code=int(error.code)
            ) from error
        return Identity(hello.user_id, hello.user_id in self._admins)


class Arrival(enum.Enum):
    """What becomes of a new connection, by how many its address has."""

    WELCOME = enum.auto()
    ONE_TOO_MANY = enum.auto()
    """Told so once it asks for anything, 429."""
    FLOOD = enum.auto()
    """Far too many that are silent: ended without a word."""


_FLOOD: Final = 2
"""So many times UNAUTHENTICATED_PER_ADDRESS are a flood: no client of ours comes near it."""


class Addresses:
    """Connections by address, and how many of them have not said hello.

    Counted from the first byte on where the peer is the client, so that a peer which never asks
    for anything counts; behind a proxy from the handshake on, which names the client.
    """

    def __init__(self, rulebook: Rulebook) -> None:
        self._most = rulebook.limit("CONNECTIONS_PER_ADDRESS")
        self._most_unknown = rulebook.limit("UNAUTHENTICATED_PER_ADDRESS")
        self._all: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many addresses have connections."""
        return len(self._all | self._unknown)

    def enter(self, address: str) -> Arrival:
        """Count a connection, which must ``leave`` whatever the answer is."""
        self._all[address] += 1
        self._unknown[address] += 1
        too_many = self._most is not None and self._all[address] > self._most
        too_many_unknown = (
            self._most_unknown is not None and self._unknown[address] > self._most_unknown
        )
        if too_many_unknown and self._unknown[address] > _FLOOD * (self._most_unknown or 0):
            return Arrival.FLOOD
        return Arrival.ONE_TOO_MANY if too_many or too_many_unknown else Arrival.WELCOME

    def introduce(self, address: str) -> None:
        """A connection has said hello."""
        self._decrease(self._unknown, address)

    def leave(self, address: str, *, was_introduced: bool) -> None:
        """A connection is gone."""
        self._decrease(self._all, address)
        if not was_introduced:
            self._decrease(self._unknown, address)

    @staticmethod
    def _decrease(counter: Counter[str], address: str) -> None:
        counter[address] -= 1
        if counter[address] <= 0:
            del counter[address]


class Gates:
    """The gates of all connections; a user's connections share one."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._users: WeakValueDictionary[str, UserGate] = WeakValueDictionary()
        self._spenders = Spenders()

    def __len__(self) -> int:
        """Of how many users the rate is kept."""
        return len(self._users)

    def open(self, user_id: str, now_s: float) -> ConnectionGate:
        """The gate of a new connection of that user."""
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = UserGate(self._rulebook, now_s, self._spenders)
        return ConnectionGate(self._rulebook, user, now_s)
