"""An operator's program and the server's admin listener, on a real HTTP connection."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from protocol import usersig
from protocol.limits import default_limits
from server.domain.rules import FieldRule, Rulebook
from server.rest.app import RestApi
from server.rest.commands import TABLE
from server.rest.entrance import Entrance
from server.rest.registry import GROUPS, Command
from server.service.credentials import Credentials, TokenVerifier
from server.service.operator import Operator
from server.service.operator_queries import OperatorQueries
from server.service.ports import Store
from server.transport.admin import AdminListener
from server.webhooks.receiver import Receiver
from tests.kit.devices import ADMIN, World, store_of, world_on

SDKAPPID: Final = 1400000000
KEY: Final = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
OLD_KEY: Final = "0" * 64

Answered = dict[str, Any]


def rules(*, limits: Mapping[str, int] | None = None, known: bool = False) -> Rulebook:
    """The fields that the original's examples use, and the default limits but for some."""
    plain = FieldRule()
    return Rulebook(
        limits=default_limits() | dict(limits or {}),
        group_fields={"GroupTestData1": plain, "GroupTestData2": plain},
        member_fields={"MemberDefined1": plain, "MemberDefined2": plain},
        requires_known_users=known,
    )


class Office:
    """Calls commands as an operator's program does; every answer is held against its shape.

    Attributes:
        world: the server behind it, for devices and for what was told.
        address: where the admin listener is.
    """

    def __init__(self, world: World, address: str, http: aiohttp.ClientSession) -> None:
        self.world = world
        self.address = address
        self.http = http

    def signature(
        self, user_id: str = ADMIN, *, key: str = KEY, sdkappid: int = SDKAPPID, age_s: int = 0
    ) -> str:
        """A token of the key, valid for an hour from ``age_s`` ago."""
        now_s = self.world.clock.now_ms() // 1000 - age_s
        return usersig.sign(user_id, sdkappid=sdkappid, secret_key=key, now_s=now_s, expire_s=3600)

    def query(self, **changed: str | None) -> dict[str, str]:
        """The query parameters of a call; None takes one away."""
        plain: dict[str, str | None] = {
            "sdkappid": str(SDKAPPID),
            "identifier": ADMIN,
            "usersig": self.signature(),
            "random": "99999999",
            "contenttype": "json",
        }
        return {name: value for name, value in (plain | changed).items() if value is not None}

    async def send(
        self,
        path: str,
        body: bytes | io.BytesIO = b"{}",
        *,
        query: Mapping[str, str] | None = None,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """The answer to a request as it stands; always with status 200."""
        async with self.http.request(
            method,
            self.address + path,
            params=self.query() if query is None else query,
            data=body,
            headers=headers,
        ) as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            answer: Answered = await response.json()
        assert answer["ActionStatus"] == ("FAIL" if answer["ErrorCode"] else "OK")
        assert bool(answer["ErrorInfo"]) == bool(answer["ErrorCode"])
        return answer

    async def call(self, name: str, body: object = None, service: str = GROUPS) -> Answered:
        """The answer to a command."""
        row = TABLE[service, name]
        content = msgspec.json.encode({} if body is None else body)
        answer = await self.send(f"/v4/{service}/{name}", content)
        if isinstance(row, Command) and not answer["ErrorCode"]:
            shown = msgspec.convert(answer, row.answer)
            assert msgspec.to_builtins(shown) == answer, "nothing but what the shape has"
        return answer

    async def ok(self, name: str, body: object = None, service: str = GROUPS) -> Answered:
        """Like ``call``, for one that works; without the envelope."""
        answer = await self.call(name, body, service)
        assert answer["ErrorCode"] == 0, answer
        return {
            key: value
            for key, value in answer.items()
            if key not in ("ActionStatus", "ErrorCode", "ErrorInfo")
        }

    async def code(self, name: str, body: object = None, service: str = GROUPS) -> int:
        """The number of a refusal, which changed and told nothing."""
        before = await self.world.log()
        answer = await self.call(name, body, service)
        assert answer["ErrorCode"], answer
        assert set(answer) == {"ActionStatus", "ErrorCode", "ErrorInfo"}
        assert await self.world.log() == before
        return int(answer["ErrorCode"])


@asynccontextmanager
async def office_on(
    store: Store,
    rulebook: Rulebook | None = None,
    *,
    is_behind_proxy: bool = False,
    receiver: Receiver | None = None,
    jwt: TokenVerifier | None = None,
) -> AsyncIterator[Office]:
    """An open office on a store; with a ``receiver`` that is asked and told of everything.

    Devices are believed, programs are not; ``jwt`` checks tokens of theirs that are no UserSig.
    """
    rulebook = rulebook or rules()
    async with world_on(store, rulebook, receiver=receiver) as world:
        credentials = Credentials(
            sdkappid=SDKAPPID,
            secret_keys=[KEY, OLD_KEY],
            now_s=lambda: world.clock.now_ms() // 1000,
            jwt=jwt,
            revoked=await store.revocations(),
        )
        api = RestApi(
            operator=Operator(
                changes=world.changes,
                queries=world.queries,
                lists=OperatorQueries(store, world.hub, rulebook),
                sessions=world.hub,
                credentials=credentials,
                store=store,
                clock=world.clock,
                rulebook=rulebook,
            ),
            entrance=Entrance(
                credentials,
                [ADMIN, "second"],
                rulebook=rulebook,
                monotonic_s=world.clock.monotonic_s,
            ),
            rulebook=rulebook,
            new_id=world.tokens.token,
            is_behind_proxy=is_behind_proxy,
        )
        listener = AdminListener([api.add_to])
        port = await listener.start("127.0.0.1", 0, None)
        try:
            async with aiohttp.ClientSession() as http:
                yield Office(world, f"http://127.0.0.1:{port}", http)
        finally:
            await listener.stop()


@asynccontextmanager
async def office_of(
    kind: str, directory: Path, rulebook: Rulebook | None = None
) -> AsyncIterator[Office]:
    """An open office on an empty store of the kind."""
    async with store_of(kind, directory) as store, office_on(store, rulebook) as office:
        yield office
