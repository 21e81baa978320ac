"""The same random users against a real server over real sockets: what holds can be seen from outside.

Devices disconnect and resume, the server is killed and started again, requests are repeated; every
device is held to the law "snapshot + events = snapshot" and to the numbers of its logs.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.errors import ErrorCode
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import JSON, MSGPACK, Device, Frame, connect_device
from tests.machines import exemptions
from tests.machines.books import is_refusal_known
from tests.machines.client_state import Ask, Map, State, fetch
from tests.machines.exemptions import CONNECTION
from tests.machines.listener import Listener
from tests.machines.player import (
    ADMIN,
    GROUP_FIELDS,
    MEMBER_FIELDS,
    USERS,
    Act,
    Dice,
    Known,
    Player,
)
from tests.machines.stage import DEVICES, LIMITS

COMMANDS: Final = 300
SEEDS: Final = (1, 2)


class Client:
    """A device of a user over all its connections, and the numbers that it was told."""

    def __init__(self, user_id: str, device_id: str) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.device: Device | None = None
        self.cursor: str | None = None
        self.listener = Listener(State(user_id))
        self._taken = 0
        self._inbox_seq = 0
        self._seqs: dict[str, int] = {}

    def begin(self, device: Device) -> None:
        self.device, self._taken = device, 0

    def forget(self) -> None:
        """It begins afresh: what was told before is nothing to go on from."""
        self._inbox_seq, self._seqs = 0, {}

    def take(self) -> list[Frame]:
        """The events since the last look: in each log the numbers rise, the inbox's by one."""
        assert self.device is not None
        events = self.device.events[self._taken :]
        self._taken += len(events)
        self.cursor = self.device.cursor
        for event in events:
            if "inbox_seq" in event:
                assert self._inbox_seq in (0, event["inbox_seq"] - 1), f"a hole: {event}"
                self._inbox_seq = event["inbox_seq"]
            elif "seq" in event:
                before = self._seqs.get(event["group_id"], 0)
                assert event["seq"] > before, f"not in order, or twice: {event}"
                self._seqs[event["group_id"]] = event["seq"]
        return events


class Outside:
    """A running server, and the random users who are connected to it."""

    def __init__(self, server: ServerProcess, seed: int) -> None:
        self.server = server
        self.known = Known()
        self.steps: Counter[str] = Counter()
        self.transcript: list[str] = []
        self._dice = Dice(seed)
        self._clients: dict[tuple[str, str], Client] = {}
        self._states: dict[str, State] = {}
        self._done: list[tuple[Act, str, Any]] = []

    async def play(self, commands: int) -> None:
        """Do so much; the server dies halfway."""
        for user_id in (*USERS, ADMIN):
            await self._come(user_id, DEVICES[0])
        for number in range(commands):
            luck = self._dice.number(1, 100)
            if luck <= 8:
                await self._come_or_go()
            elif luck <= 10 and self._done:
                await self._again()
            if number == commands // 2:
                await self._restart()
            await self._command(Player(self.known, self._dice).act())
        for user_id, device_id in self._clients:
            await self._come(user_id, device_id)
        await self._check([user_id for user_id, _ in self._clients])
        await self._read_histories()

    async def close(self) -> None:
        devices = [client.device for client in self._clients.values() if client.device is not None]
        await asyncio.gather(*(device.close() for device in devices))

    # What happens.

    async def _command(self, act: Act) -> None:
        if not self._there(act.user_id):
            await self._come(act.user_id, DEVICES[0])
        device = self._device(act.user_id)
        request_id = device.next_id()
        reply = await device.request(act.method, request_id=request_id, **act.params)
        error = reply.get("error")
        self.steps[f"{act.method} {error['name'] if error else 'done'}"] += 1
        answer = error["message"] if error else reply.get("result")
        self.transcript.append(f"{act.user_id}: {act.method} {act.params} -> {answer}")
        if error is None:
            self._done.append((act, request_id, reply.get("result")))
        else:
            assert is_refusal_known(error), self.transcript[-1]
            assert ErrorCode(error["code"]).name == error["name"]
        self._excuse(act)
        others = list(dict.fromkeys(user_id for user_id, _ in self._clients))
        await self._check([act.user_id, self._dice.pick(others)])

    async def _again(self) -> None:
        """A request that was done is made again: the first reply, and nothing happens."""
        act, request_id, result = self._dice.pick(self._done)
        if not self._there(act.user_id):
            await self._come(act.user_id, DEVICES[0])
        self.transcript.append(f"again {act}")
        device = self._device(act.user_id)
        reply = await device.request(act.method, request_id=request_id, **act.params)
        assert reply.get("result") == result
        assert "error" not in reply
        refused = await device.refusal("read_applications", request_id=request_id, up_to_ms=7)
        assert refused["name"] == "REQUEST_ID_CONFLICT"
        await self._check([act.user_id])

    async def _come_or_go(self) -> None:
        user_id, device_id = self._dice.pick(USERS), self._dice.pick(DEVICES)
        client = self._clients.get((user_id, device_id))
        if client is None or client.device is None:
            await self._come(user_id, device_id)
        elif len(self._there(user_id)) > 1 or not self._is_in_chatroom(user_id):
            # When the server notices that somebody is gone from an AVChatRoom is not to be seen.
            await self._check([user_id])
            self.transcript.append(f"{user_id}/{device_id} goes")
            await self._leave(client)

    async def _leave(self, client: Client) -> None:
        assert client.device is not None
        client.device.drop()
        await client.device.close()
        client.cursor, client.device = client.device.cursor, None
        client.listener.hear(())
        client.listener.excuse((), is_away=True)

    async def _come(self, user_id: str, device_id: str) -> None:
        client = self._clients.setdefault((user_id, device_id), Client(user_id, device_id))
        if client.device is not None:
            return
        wire = JSON if device_id == DEVICES[0] else MSGPACK
        cursor = client.cursor
        device = await connect_device(self.server, user_id, device_id, wire=wire, cursor=cursor)
        client.begin(device)
        self.transcript.append(f"{user_id}/{device_id} comes with {cursor}")
        assert device.frames[0]["resume"] == ("fresh" if cursor is None else "resumed")
        await self._caught_up(device)
        self._excuse(Act(user_id, CONNECTION, {}))
        if cursor is None:
            client.take()
            client.forget()
            client.listener = Listener(await self._fetch(user_id))
        await self._check([user_id])

    async def _caught_up(self, device: Device) -> None:
        """Return when the device is where the log is: where whoever begins now begins."""
        probe = await connect_device(self.server, "probe")
        head = probe.frames[0]["cursor"]
        await probe.close()
        while device.cursor != head:
            await device.settle()

    async def _restart(self) -> None:
        """Everybody loses the connection, comes back, and knows what there is to be known."""
        await self._check([user_id for user_id, _ in self._clients])
        self.transcript.append("the server is killed")
        self.server.kill()
        self.server.assert_sound()
        there = [client for client in self._clients.values() if client.device is not None]
        for client in there:
            await self._leave(client)
        self.server.start()
        self._excuse(Act("", CONNECTION, {}))
        for client in there:
            await self._come(client.user_id, client.device_id)

    # What is looked at.

    def _excuse(self, act: Act) -> None:
        types = {group.group_id: group.type for group in self.known.groups.values()}
        if act.method not in ("handle_applications", CONNECTION):
            group_id = act.params.get("group_id")
            types = {group_id: types[group_id]} if group_id in types else {}
        actor = act.params.get("as_user_id", act.user_id)
        for client in self._clients.values():
            exempt = exemptions.of_command(
                act.method, act.params, types, is_actor=client.user_id == actor
            )
            client.listener.excuse(exempt, is_away=client.device is None)

    async def _check(self, user_ids: Sequence[str]) -> None:
        """Whoever of these is connected knows what is so."""
        for user_id in dict.fromkeys(user_ids):
            clients = self._there(user_id)
            if not clients:
                continue
            state = self._states[user_id] = await self._fetch(user_id)
            for client in clients:
                assert client.device is not None
                await client.device.settle()
                client.listener.hear(client.take())
                client.listener.check(state, "\n".join(self.transcript[-12:]))
            self._assert_sound(state)
        self.known.learn(self._states.values())

    @staticmethod
    def _assert_sound(state: State) -> None:
        for group_id, room in state.rooms.items():
            roles = [seat.role for seat in (room.members or {}).values()]
            assert roles.count("owner") == (1 if room.owner_id else 0), (group_id, room)
            assert (room.unread or 0) >= 0
            assert (room.read_seq or 0) <= (room.last_seq or 0)
            if room.type != "AVChatRoom":
                assert room.member_count == len(roles), (group_id, room)

    async def _read_histories(self) -> None:
        """Each member reads the log without a hole, and nothing of another's membership."""
        for user_id, state in self._states.items():
            if not self._there(user_id):
                continue
            for group_id, room in state.rooms.items():
                if room.type == "AVChatRoom":
                    continue
                seqs: list[int] = []
                while True:
                    after = seqs[-1] if seqs else 0
                    page = await self._device(user_id).call(
                        "list_messages", group_id=group_id, after_seq=after, limit=9
                    )
                    seqs += [event["seq"] for event in page["events"]]
                    if not page["has_more"]:
                        break
                first = page["first_seq"] if room.type != "Meeting" else 1
                assert seqs == list(range(first, (room.last_seq or 0) + 1))

    # Help.

    def _there(self, user_id: str) -> list[Client]:
        return [c for c in self._clients.values() if c.user_id == user_id and c.device is not None]

    def _device(self, user_id: str) -> Device:
        device = self._there(user_id)[0].device
        assert device is not None
        return device

    def _is_in_chatroom(self, user_id: str) -> bool:
        state = self._states.get(user_id)
        rooms = [] if state is None else list(state.rooms.values())
        return any(room.type == "AVChatRoom" for room in rooms)

    async def _fetch(self, user_id: str) -> State:
        return await fetch(_asker(self._device(user_id)), user_id, self.known.chatrooms())


def _asker(device: Device) -> Ask:
    async def ask(method: str, params: dict[str, Any]) -> Map | None:
        reply = await device.request(method, **params)
        result: Map | None = reply.get("result")
        return None if "error" in reply else result

    return ask


def _config(directory: Path) -> Path:
    lines = []
    for table, fields in (("group_fields", GROUP_FIELDS), ("member_fields", MEMBER_FIELDS)):
        lines.append(f"[{table}]")
        for key, levels in fields.items():
            lines.append(f'{key} = {{read = "{levels["read"]}", write = "{levels["write"]}"}}')
    file = directory / "muster.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_random_users(tmp_path: Path, seed: int) -> None:
    server = ServerProcess(
        tmp_path / "data", limits=LIMITS, options=("--config", str(_config(tmp_path)))
    )
    with server:
        outside = Outside(server, seed)
        try:
            await outside.play(COMMANDS)
        finally:
            await outside.close()
        assert server.stop() == 0
        assert not server.trouble()
        server.assert_sound()
