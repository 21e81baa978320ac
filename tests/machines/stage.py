"""The whole server in memory, with random users on it, held to all laws after every step."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec

from protocol.codec import JSON, MSGPACK
from protocol.errors import Refused
from protocol.frames import Reply
from protocol.limits import default_limits
from protocol.messages import text_body
from protocol.methods import METHODS
from server.domain.jobs import RecycleGroup, SendControlled
from server.domain.model import Actor
from server.domain.overrides import configured_rulebook
from server.domain.rules import Rulebook
from server.service.access import Reader
from server.service.ports import Committed
from server.storage.memory import MemoryStore
from tests.kit.devices import EPOCH, Device, World, is_stored, place_of_cursor, world_on
from tests.machines import exemptions
from tests.machines.books import (
    Name,
    Visibility,
    assert_books_are_right,
    changed_tables,
    dump,
    group_states,
    is_refusal_known,
    name_of_entry,
    name_of_event,
    tables_of,
)
from tests.machines.client_state import Ask, Map, State, fetch
from tests.machines.exemptions import CONNECTION
from tests.machines.listener import Listener
from tests.machines.player import ADMIN, GROUP_FIELDS, MEMBER_FIELDS, Act, Known

LIMITS: Final = {
    "GROUPS_PER_USER": 5,
    "PENDING_APPLICATIONS": 3,
    "MEMBERS_PUBLIC": 5,
    "ATTRIBUTES": 3,
    "COUNTERS": 3,
    "EVENTS_PER_FRAME": 3,
    "REQUESTS_PER_S": 0,
    "USER_REQUESTS_PER_S": 0,
}
DEVICES: Final = ("d1", "d2")


def rulebook(*, invitee_consent: bool = False) -> Rulebook:
    """The default tables, small limits, some custom fields."""
    traits = {"traits": {"invitee_consent": invitee_consent}}
    return configured_rulebook(
        limits=default_limits() | LIMITS,
        types={"Community": traits, "Meeting": traits},
        group_fields=GROUP_FIELDS,
        member_fields=MEMBER_FIELDS,
    )


class Client:
    """A device of a user over all its connections.

    Attributes:
        expected: what it must have been told on this connection, by name, in order.
        optional: what it may have been told.
    """

    def __init__(self, user_id: str, device_id: str, state: State) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.listener = Listener(state)
        self.device: Device | None = None
        self.cursor: str | None = None
        self.expected: list[Name] = []
        self.optional: set[Name] = set()
        self.was_told: list[Name] = []
        self._taken = 0

    def begin(self, device: Device, expected: list[Name]) -> None:
        self.device, self.expected, self.was_told, self._taken = device, expected, [], 0

    def new_events(self) -> list[Map]:
        """The events since the last look, as they travelled."""
        if self.device is None:
            return []
        events = self.device.events[self._taken :]
        self._taken += len(events)
        names = [name_of_event(event, self.user_id) for event in events if is_stored(event)]
        self.was_told += [name for name in names if name not in self.optional]
        self.cursor = self.device.cursor
        return [msgspec.to_builtins(event) for event in events]


class Stage:
    """A world that is played in.

    Attributes:
        known: what the players know.
        steps: how many commands were given, by method and by what became of them.
    """

    def __init__(self, *, invitee_consent: bool) -> None:
        self.store = MemoryStore(epoch=EPOCH)
        self.known = Known()
        self.steps: Counter[str] = Counter()
        self.clients: dict[tuple[str, str], Client] = {}
        self.transcript: list[str] = []
        self.done: list[tuple[Act, str, Any]] = []
        self._rulebook = rulebook(invitee_consent=invitee_consent)
        self._visibility = Visibility()
        self._ownerless: set[str] = set()
        self._states: dict[str, State] = {}
        self._versions: dict[tuple[str, str], object] = {}
        self._requests = 0
        self._context: AbstractAsyncContextManager[World] | None = None

    async def open(self) -> None:
        self._context = world_on(self.store, self._rulebook)
        self.world = await self._context.__aenter__()

    async def close(self) -> None:
        if self._context is not None:
            await self._context.__aexit__(None, None, None)

    # What happens.

    async def play(self, acts: Sequence[Act]) -> list[Reply]:
        """These requests are made, all before the first is answered; then everything is checked."""
        for act in acts:
            await self.come(act.user_id)
        tables = tables_of(self.store)
        before, states = dump(tables), group_states(tables)
        self.world.clock.advance(1)
        replies = await self._ask(acts)
        after = dump(tables)
        for act, reply in zip(acts, replies, strict=True):
            self._note(act, reply)
        if all(reply.error is not None for reply in replies):
            assert not changed_tables(before, after), f"a refusal leaves a trace: {self.last()}"
        for act, reply in zip(acts, replies, strict=True):
            if reply.error is None:
                self._note_ownerless(act)
        self._check_versions(acts, states)
        await self._look(acts)
        return replies

    async def _ask(self, acts: Sequence[Act]) -> list[Reply]:
        futures = []
        for act in acts:
            device = self._device_of(act.user_id)
            self._requests += 1
            futures.append(device.send(act.method, request_id=f"r{self._requests}", **act.params))
        replies = list(await asyncio.gather(*futures))
        await self.world.settle()
        for act, reply in zip(acts, replies, strict=True):
            last = self._device_of(act.user_id).frames[-1]
            assert len(acts) > 1 or last is reply, "events come before the reply"
            if reply.error is None:
                self.done.append((act, reply.id, reply.result))
        return replies

    async def again(self, which: int, device_id: str) -> None:
        """A request that was done is made again with its id: the same answer, and nothing else."""
        act, request_id, result = self.done[which % len(self.done)]
        await self.come(act.user_id, device_id)
        device = self._device_of(act.user_id, device_id)
        before = dump(tables_of(self.store))
        reply = await device.send(act.method, request_id=request_id, **act.params)
        await self.world.settle()
        assert reply.error is None, f"{act} was done: {reply}"
        assert reply.result == result, f"the first reply again: {act}"
        other = await device.send("read_applications", request_id=request_id, up_to_ms=77)
        assert other.error is not None
        assert other.error.name == "REQUEST_ID_CONFLICT"
        await self.world.settle()
        assert not changed_tables(before, dump(tables_of(self.store)))
        await self._look([])

    async def come(
        self, user_id: str, device_id: str | None = None, *, afresh: bool = False
    ) -> None:
        """The user is connected, with the device of this name if it is named."""
        if device_id is None and self._devices_of(user_id):
            return
        device_id = device_id or DEVICES[0]
        client = self.clients.get((user_id, device_id))
        if client is None:
            state = await self._fetch(user_id)
            client = self.clients[user_id, device_id] = Client(user_id, device_id, state)
        elif client.device is not None:
            return
        cursor = None if afresh else client.cursor
        codec = JSON if device_id == DEVICES[0] else MSGPACK
        if cursor is None:
            expected = []
        else:
            expected = self._visibility.missed_by(user_id, place_of_cursor(cursor))
        self.transcript.append(f"{user_id}/{device_id} comes with {cursor}")
        client.begin(await self.world.online(user_id, device_id, codec, cursor), expected)
        assert client.device is not None
        assert client.device.welcome.resume == ("fresh" if cursor is None else "resumed")
        if cursor is None:
            client.listener = Listener(await self._fetch(user_id))
        await self._look([Act(user_id, CONNECTION, {})])

    async def go(self, user_id: str, device_id: str) -> None:
        """The device is disconnected, if it is connected."""
        client = self.clients.get((user_id, device_id))
        if client is None or client.device is None:
            return
        self.transcript.append(f"{user_id}/{device_id} goes")
        client.device.drop()
        client.device = None
        await self.world.settle()
        # Who takes part in an AVChatRoom leaves it with the last connection.
        await self._look([Act(user_id, CONNECTION, {})])

    async def wait(self, ms: int) -> None:
        self.transcript.append(f"{ms} ms pass")
        self.world.clock.advance(ms)
        await self._look([])

    async def recycle(self, group_id: str) -> None:
        """What the server does to a group that nobody uses."""
        self.transcript.append(f"{group_id} is recycled")
        self.world.clock.advance(1)
        actor = Actor("", is_app_admin=True)
        command = RecycleGroup(group_id=group_id)
        self.world.executor.submit(command, actor, None, b"", lambda _result, _refused: None)
        await self.world.settle()
        await self._look([Act("", "disband_group", {"group_id": group_id})])

    async def whisper(
        self, group_id: str, *, no_unread: bool = False, no_last_message: bool = False
    ) -> None:
        """The operator says what does not count as unread, or as the last message."""
        self.transcript.append(f"the operator whispers in {group_id}")
        self.world.clock.advance(1)
        command = SendControlled(
            group_id=group_id,
            body=text_body("psst"),
            no_unread=no_unread,
            no_last_message=no_last_message,
        )
        actor = Actor(ADMIN, is_app_admin=True)
        self.world.executor.submit(command, actor, None, b"", lambda _result, _refused: None)
        await self.world.settle()
        await self._look([Act(ADMIN, "send_message", {"group_id": group_id})])

    async def read_history(self) -> None:
        """Every member reads of each log what the member may see, and nothing else."""
        for user_id, state in self._states.items():
            for group_id, room in state.rooms.items():
                if room.type != "AVChatRoom":
                    await self._read_history(user_id, group_id, room.type)

    async def _read_history(self, user_id: str, group_id: str, group_type: str) -> None:
        ask = self._asker(user_id)
        expected = self._visibility.history_of(user_id, group_id)
        if group_type == "Meeting":
            expected = list(range(1, self._visibility.length_of(group_id) + 1))
        forward: list[int] = []
        while True:
            after = forward[-1] if forward else 0
            page = await ask(
                "list_messages", {"group_id": group_id, "after_seq": after, "limit": 7}
            )
            assert page is not None
            forward += [event["seq"] for event in page.get("events", [])]
            if not page["has_more"]:
                break
        assert forward == expected, f"{user_id} reads {group_id}: {forward}, not {expected}"
        newest = await ask("list_messages", {"group_id": group_id, "limit": 5})
        assert newest is not None
        assert [event["seq"] for event in newest.get("events", [])] == expected[-5:]
        assert newest["has_more"] == (len(expected) > 5)
        assert newest["first_seq"] == (expected[0] if expected else newest["first_seq"])

    def is_there(self, user_id: str, device_id: str) -> bool:
        """Whether the device is connected."""
        client = self.clients.get((user_id, device_id))
        return client is not None and client.device is not None

    # What is looked at.

    async def _look(self, acts: Sequence[Act]) -> None:
        """Everything that must hold once all is quiet."""
        assert self.world.fatal == 0
        tables = tables_of(self.store)
        entries = await self.store.tail(0, self._visibility.position, 1_000_000)
        for told in entries:
            seen_by = self._visibility.take(told)
            for client in self.clients.values():
                name = name_of_entry(told)
                if client.user_id not in seen_by and self._is_chatrooms(told):
                    # Who takes part is stored nowhere; they are told best effort, also a device
                    # that is away while another one of the user's takes part.
                    client.optional.add(name)
                elif client.device is None or not client.device.is_open:
                    continue
                elif seen_by.get(client.user_id, False):
                    client.expected.append(name)
        self._visibility.note_options(tables)
        assert_books_are_right(tables, self._ownerless, LIMITS)
        await self._check_law(acts)

    def _is_chatrooms(self, told: Committed) -> bool:
        return (
            told.entry.inbox_of is None and self.known.type_of(told.entry.group_id) == "AVChatRoom"
        )

    async def _check_law(self, acts: Sequence[Act]) -> None:
        self._states = {
            user_id: await self._fetch(user_id)
            for user_id in dict.fromkeys(user_id for user_id, _ in self.clients)
        }
        types = {group.group_id: group.type for group in self.known.groups.values()}
        for (user_id, _), client in self.clients.items():
            for act in acts:
                named = self._groups_named(act, types)
                actor = act.params.get("as_user_id", act.user_id)
                exempt = exemptions.of_command(
                    act.method, act.params, named, is_actor=user_id == actor
                )
                client.listener.excuse(exempt, is_away=client.device is None)
            if client.device is None:
                client.listener.excuse((), is_away=True)
                continue
            client.listener.hear(client.new_events())
            about = f"after {self.last()}"
            assert client.was_told == client.expected, (
                f"{client.user_id}/{client.device_id} was told {client.was_told[-8:]},"
                f" not {client.expected[-8:]} {about}"
            )
            client.listener.check(self._states[user_id], about)
        self.known.learn(self._states.values())

    def _groups_named(self, act: Act, types: dict[str, str]) -> dict[str, str]:
        """The groups that the command is about; of applications, all that are known."""
        if act.method in ("handle_applications", CONNECTION):
            return types
        group_id = act.params.get("group_id")
        return {group_id: types[group_id]} if group_id in types else {}

    def _check_versions(self, acts: Sequence[Act], before: dict[str, Any]) -> None:
        """A version grows exactly when what it counts is different, and by one for each change."""
        after = group_states(tables_of(self.store))
        for group_id, state in before.items():
            grown = after[group_id].version - state.version
            is_changed = after[group_id].shown != state.shown
            # Of several commands at once one may take back what another did.
            assert (grown > 0) == is_changed or (grown > 1 and len(acts) > 1), (
                f"{group_id} grew by {grown}: {state} {after[group_id]} {self.last()}"
            )
            if len(acts) == 1 and acts[0].method != "handle_applications":
                most = 2 if "successor_id" in acts[0].params else 1
                assert grown in (0, most), f"{group_id} grew by {grown} {self.last()}"

    # Help.

    def last(self) -> str:
        return "; ".join(self.transcript[-3:])

    def _note(self, act: Act, reply: Reply) -> None:
        became = "done" if reply.error is None else reply.error.name
        self.steps[f"{act.method} {became}"] += 1
        answer = reply.result if reply.error is None else reply.error.message
        self.transcript.append(f"{act.user_id}: {act.method} {act.params} -> {became} {answer}")
        if reply.error is not None:
            assert is_refusal_known(msgspec.to_builtins(reply.error)), self.transcript[-1]

    def _note_ownerless(self, act: Act) -> None:
        """The operator takes owners out."""
        if act.method == "remove_members" and act.user_id == ADMIN:
            self._ownerless.add(act.params["group_id"])

    def _devices_of(self, user_id: str) -> list[Device]:
        return [
            client.device
            for client in self.clients.values()
            if client.user_id == user_id and client.device is not None
        ]

    def _device_of(self, user_id: str, device_id: str | None = None) -> Device:
        if device_id is None:
            return self._devices_of(user_id)[0]
        device = self.clients[user_id, device_id].device
        assert device is not None
        return device

    async def _fetch(self, user_id: str) -> State:
        state = await fetch(self._asker(user_id), user_id, self.known.chatrooms())
        await self._check_unchanged(user_id, state)
        return state

    async def _check_unchanged(self, user_id: str, state: State) -> None:
        """A joined list that is called unchanged is."""
        ask = self._asker(user_id)
        page = await ask("list_joined_groups", {})
        assert page is not None
        # How many are online in an AVChatRoom is no change of the list.
        shown = [
            {**row, "member_count": 0} if row["type"] == "AVChatRoom" else row
            for row in page.get("groups", [])
        ]
        known = self._versions.setdefault((user_id, page["version"]), shown)
        assert known == shown, f"the list of {user_id} has changed: {known} {shown} {self.last()}"
        again = await ask("list_joined_groups", {"if_version": page["version"]})
        assert again is not None
        assert again["unchanged"]

    def _asker(self, user_id: str) -> Ask:
        reader = Reader(user_id, user_id == ADMIN, "")

        async def ask(method: str, params: dict[str, Any]) -> Map | None:
            command = msgspec.convert(params, METHODS[method].command)
            try:
                result = await self.world.queries.answer(command, reader)
            except Refused:
                return None
            answer: Map = msgspec.to_builtins(result)
            return answer

        return ask
