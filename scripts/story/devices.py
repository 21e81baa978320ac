"""Devices that show what they are given, through the Python SDK."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from protocol.client import Client, Connected, Disconnected, Event
from protocol.codec import Codec
from scripts.common.target import Target, Trouble
from scripts.story.screen import Screen
from scripts.story.words import Names, place_of, words_of

_PATIENCE_S: Final = 8.0


class ShownDevice:
    """One device of a user; what it is given is shown at once.

    Attributes:
        seen: every event, in order.
        arrivals: how often it was welcomed.
    """

    def __init__(
        self,
        *,
        target: Target,
        user: str,
        user_id: str,
        name: str,
        codec: Codec,
        screen: Screen,
        names: Names,
        on_event: Callable[[], None],
        options: Mapping[str, Any],
    ) -> None:
        self.user = user
        self.name = name
        self.seen: list[Event] = []
        self.arrivals = 0
        self._target = target
        self._user_id = user_id
        self._codec = codec
        self._screen = screen
        self._names = names
        self._on_event = on_event
        self._options = options
        self._cursor: str | None = None
        self._client: Client | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def client(self) -> Client:
        """The SDK's client, while the device is there."""
        assert self._client is not None
        return self._client

    @property
    def is_there(self) -> bool:
        """Whether it has arrived and not gone away."""
        return self._client is not None

    async def arrive(self) -> None:
        """Connect: from now on, or from where it went away."""
        client = Client(
            self._target.url,
            self._user_id,
            self._target.sign(self._user_id),
            device_id=self.name,
            platform=self.name,
            codec=self._codec,
            cursor=self._cursor,
            timeout_s=_PATIENCE_S,
            websocket_options=self._options,
        )
        await client.start()
        self._client = client
        self._reader = asyncio.create_task(self._read(client))

    async def go_away(self) -> None:
        """Close, and keep nothing but the cursor, as an app that is ended."""
        await self.client.close()
        if self._reader is not None:
            await self._reader
        self._cursor = self.client.cursor
        self._client = None

    def asks(self, what: str) -> None:
        """Show what the device asks for."""
        self._screen.asks(self.user, self.name, what)

    def answered(self, what: str) -> None:
        """Show what it is answered."""
        self._screen.answered(self.user, self.name, what)

    def refused(self, what: str) -> None:
        """Show that it is refused."""
        self._screen.refused(self.user, self.name, what)

    async def _read(self, client: Client) -> None:
        async for item in client.events():
            if isinstance(item, Event):
                self._screen.given(
                    self.user, self.name, place_of(item), words_of(item, self._names)
                )
                self.seen.append(item)
            elif isinstance(item, Connected):
                self.arrivals += 1
                self._screen.tells(
                    self.user, self.name, f"connected, {self._codec.name}, {item.resume.value}"
                )
            elif isinstance(item, Disconnected):
                self._screen.tells(self.user, self.name, f"lost the connection: {item.reason}")
            self._on_event()


class Watch:
    """Waits for devices to have been given something, never longer than some seconds."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def notify(self) -> None:
        """Something happened on a device."""
        self._news.set()

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Return once ``is_so``.

        Raises:
            Trouble: it did not come about in time.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not is_so():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise Trouble(f"waited in vain for {what}") from None
