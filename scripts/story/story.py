"""The story: three users, two devices each, and a group from its beginning to its end."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from protocol.codec import JSON, MSGPACK
from protocol.commands import InitialMember
from protocol.errors import Refused
from protocol.messages import text_body
from protocol.vocabulary import GroupType, InviteJoinOption
from scripts.common.target import Target, Trouble
from scripts.story.devices import ShownDevice, Watch
from scripts.story.screen import Screen
from scripts.story.words import Names

_USERS: Final = ("alice", "bob", "carol")
_DEVICES: Final = (("phone", JSON), ("laptop", MSGPACK))
_CREW, _STANDUP, _LAUNCH = "Night shift", "Stand-up", "Launch party"


class Story:
    """Tells itself on a server.

    Args:
        is_shared: others may use the server: user IDs get a suffix that nobody else has.
    """

    def __init__(self, target: Target, screen: Screen, *, is_shared: bool) -> None:
        suffix = f"-{secrets.token_hex(3)}" if is_shared else ""
        # A server on this machine is not behind the proxy that the environment may name.
        options: Mapping[str, Any] = {} if is_shared else {"proxy": None}
        self._ids = {user: user + suffix for user in _USERS}
        self._names = Names({user_id: user for user, user_id in self._ids.items()})
        self._screen = screen
        self._watch = Watch()
        self._devices = {
            (user, name): ShownDevice(
                target=target,
                user=user,
                user_id=self._ids[user],
                name=name,
                codec=codec,
                screen=screen,
                names=self._names,
                on_event=self._watch.notify,
                options=options,
            )
            for user in _USERS
            for name, codec in _DEVICES
        }

    async def tell(self) -> None:
        """From the first connection to the last.

        Raises:
            Trouble: something did not happen as it must.
        """
        screen = self._screen
        screen.note(
            "  time  device         >> asks   << is answered   "
            "<- is given (its place in a log or inbox)"
        )
        try:
            screen.chapter("Six devices connect")
            for device in self._devices.values():
                await self._arrive(device)
            await self._the_crew()
        finally:
            for device in self._devices.values():
                if device.is_there:
                    await device.go_away()
        self._compare()

    async def _the_crew(self) -> None:
        crew = await self._create_crew()
        await self._invite(crew)
        await self._stand_up()
        await self._away_and_back(crew)
        await self._launch()
        await self._break_a_rule(crew)
        await self._kick(crew)
        await self._quit(crew)
        await self._disband(crew)

    async def _create_crew(self) -> str:
        self._screen.chapter("Alice creates a group with Bob, and they talk")
        alice, bob = self._devices["alice", "phone"], self._devices["bob", "laptop"]
        alice.asks(f'create_group Public "{_CREW}" with bob; members may invite')
        async with self._telling(alice=1, bob=1):
            made = await alice.client.create_group(
                GroupType.PUBLIC,
                _CREW,
                invite_join_option=InviteJoinOption.FREE_ACCESS,
                members=[InitialMember(user_id=self._ids["bob"])],
            )
            alice.answered(f"{made.group.group_id}, bob {made.members[0].result.value}")
        await self._say(bob, made.group.group_id, "Who has the keys?", alice=1, bob=1)
        return made.group.group_id

    async def _invite(self, crew: str) -> None:
        self._screen.chapter("Bob invites Carol: from here on she sees the group's log")
        bob = self._devices["bob", "phone"]
        bob.asks("invite_members carol")
        async with self._telling(alice=1, bob=1, carol=2):
            result = await bob.client.invite_members(crew, [self._ids["carol"]])
            bob.answered(f"carol {result.members[0].result.value}")
        carol = self._devices["carol", "phone"]
        carol.asks("list_messages: what was said before her?")
        page = await carol.client.list_messages(crew, after_seq=0)
        carol.answered(f"{len(page.events)} entry, from log {page.first_seq} on")

    async def _stand_up(self) -> None:
        self._screen.chapter("A Meeting lets everyone in, and shows what was said before")
        carol, alice = self._devices["carol", "laptop"], self._devices["alice", "laptop"]
        carol.asks(f'create_group Meeting "{_STANDUP}"')
        async with self._telling(carol=1):
            made = await carol.client.create_group(GroupType.MEETING, _STANDUP)
        await self._say(carol, made.group.group_id, "I fixed the printer.", carol=1)
        alice.asks("join_group")
        async with self._telling(alice=1):
            joined = await alice.client.join_group(made.group.group_id)
            alice.answered(joined.status.value)
        alice.asks("list_messages")
        page = await alice.client.list_messages(made.group.group_id)
        alice.answered(f"{len(page.events)} entry: {_texts(page.events)}")

    async def _away_and_back(self, crew: str) -> None:
        self._screen.chapter(
            "Bob's phone goes away, misses something, and comes back with its cursor"
        )
        phone, alice = self._devices["bob", "phone"], self._devices["alice", "phone"]
        await phone.go_away()
        self._screen.tells("bob", "phone", "gone; it keeps nothing but its cursor")
        async with self._telling((phone,), alice=1, bob=1, carol=1):
            alice.asks("send_message Found the keys.")
            await alice.client.send_message(crew, text_body("Found the keys."))
        missed = len(phone.seen) + 1
        await self._arrive(phone)
        await self._watch.until(lambda: len(phone.seen) >= missed, "what bob's phone missed")

    async def _launch(self) -> None:
        self._screen.chapter(
            "An AVChatRoom: who is connected takes part, and no log keeps the chatter"
        )
        alice, bob = self._devices["alice", "laptop"], self._devices["bob", "laptop"]
        alice.asks(f'create_group AVChatRoom "{_LAUNCH}"')
        async with self._telling(alice=1):
            made = await alice.client.create_group(GroupType.AVCHATROOM, _LAUNCH)
            room = made.group.group_id
        bob.asks("join_group")
        async with self._telling(alice=1, bob=2):
            joined = await bob.client.join_group(room)
            bob.answered(joined.status.value)
        await self._say(bob, room, "Three, two, one!", alice=1, bob=1)
        bob.asks("list_messages")
        await self._must_refuse(bob, bob.client.list_messages(room))

    async def _break_a_rule(self, crew: str) -> None:
        self._screen.chapter("Carol tries what a member may not do")
        carol = self._devices["carol", "phone"]
        carol.asks("remove_members alice")
        await self._must_refuse(carol, carol.client.remove_members(crew, [self._ids["alice"]]))

    async def _kick(self, crew: str) -> None:
        self._screen.chapter("Alice removes Carol, who hears of it and then nothing more")
        alice = self._devices["alice", "laptop"]
        alice.asks("remove_members carol")
        async with self._telling(alice=1, bob=1, carol=2):
            await alice.client.remove_members(crew, [self._ids["carol"]], reason="coup")

    async def _quit(self, crew: str) -> None:
        self._screen.chapter("Bob quits")
        bob = self._devices["bob", "phone"]
        bob.asks("quit_group")
        async with self._telling(alice=1, bob=2):
            await bob.client.quit_group(crew)

    async def _disband(self, crew: str) -> None:
        self._screen.chapter("Alice disbands the group")
        alice = self._devices["alice", "phone"]
        alice.asks("disband_group")
        async with self._telling(alice=1):
            await alice.client.disband_group(crew)

    # How it is told.

    async def _arrive(self, device: ShownDevice) -> None:
        arrivals = device.arrivals
        await device.arrive()
        await self._watch.until(
            lambda: device.arrivals > arrivals, f"{device.user}'s {device.name} to connect"
        )

    async def _say(self, device: ShownDevice, group_id: str, text: str, **events: int) -> None:
        device.asks(f"send_message {text}")
        async with self._telling((), **events):
            await device.client.send_message(group_id, text_body(text))

    @asynccontextmanager
    async def _telling(
        self, but: tuple[ShownDevice, ...] = (), **events: int
    ) -> AsyncIterator[None]:
        """At the end, wait until each device of these users was given so many events more.

        ``but`` are devices that are away.
        """
        wanted = {
            device: len(device.seen) + events[device.user]
            for device in self._devices.values()
            if device.user in events and device not in but
        }
        yield
        await self._watch.until(
            lambda: all(len(device.seen) >= count for device, count in wanted.items()),
            f"{events} events",
        )

    async def _must_refuse(self, device: ShownDevice, call: Awaitable[object]) -> None:
        try:
            await call
        except Refused as refusal:
            device.refused(_refusal_in_words(refusal))
        else:
            raise Trouble("the server allowed what the rules do not")

    def _compare(self) -> None:
        """Both devices of a user must have seen the same events in the same order."""
        self._screen.chapter("In the end")
        for user in _USERS:
            streams = [
                [(e.group_id, e.seq, e.inbox_seq) for e in device.seen if e.seq or e.inbox_seq]
                for device in self._devices.values()
                if device.user == user
            ]
            if streams[0] != streams[1]:
                raise Trouble(f"the devices of {user} have not seen the same")
            self._screen.note(
                f"  both devices of {user} were given the same {len(streams[0])} events, "
                "each once, in the same order"
            )


def _refusal_in_words(refusal: Refused) -> str:
    detail = refusal.detail
    why = refusal.message
    if "rule" in detail:
        why = f"rule {detail['rule']}: have {detail.get('have')}, need {detail.get('need')}"
    return f"{refusal.code.name} ({refusal.code.value}), {why}"


def _texts(events: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(event["data"]["body"][0]["content"]["text"] for event in events)
