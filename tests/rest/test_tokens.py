"""Tokens of the operator's own, in place of a UserSig: in the query or in a header."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from server.rest.codes import CallCode
from server.transport.jwt_tokens import JwtVerifier
from tests.kit.devices import ADMIN, store_of
from tests.kit.office import Office, office_on

SECRET = "a secret of HS256, long enough for it"
CHECK = "/v4/im_open_login_svc/account_check"
BODY = b'{"CheckItem":[{"UserID":"ann"}]}'
LOGIN = "im_open_login_svc"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """One that takes JWTs of the secret for the audience ``chat``."""
    verifier = JwtVerifier(secret=SECRET, audience="chat")
    async with store_of("memory", tmp_path) as store, office_on(store, jwt=verifier) as opened:
        yield opened


def token(user_id: str = ADMIN, secret: str = SECRET, **claims: object) -> str:
    plain = {"sub": user_id, "aud": "chat", "exp": int(time.time()) + 600}
    return jwt.encode(plain | claims, secret, algorithm="HS256")


async def by_query(office: Office, shown: str, identifier: str = ADMIN) -> int:
    query = office.query(usersig=shown, identifier=identifier)
    return int((await office.send(CHECK, BODY, query=query))["ErrorCode"])


async def by_header(office: Office, header: str, identifier: str = ADMIN) -> int:
    query = office.query(usersig=None, identifier=identifier)
    headers = {"Authorization": header}
    return int((await office.send(CHECK, BODY, query=query, headers=headers))["ErrorCode"])


async def test_a_token_stands_in_either_place(office: Office) -> None:
    for shown in (token(), office.signature()):
        assert await by_query(office, shown) == 0
        assert await by_header(office, f"Bearer {shown}") == 0
        assert await by_header(office, f"bearer  {shown}") == 0


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi"])
async def test_a_header_without_a_token(office: Office, header: str) -> None:
    assert await by_header(office, header) == 70002


async def test_the_query_goes_before_the_header(office: Office) -> None:
    headers = {"Authorization": f"Bearer {token()}"}
    query = office.query(usersig=token("bob"))
    assert (await office.send(CHECK, BODY, query=query, headers=headers))["ErrorCode"] == 70013


async def test_the_checks_are_those_of_hello(office: Office) -> None:
    past = int(time.time()) - 600
    for shown, code in (
        (token(exp=past), 70001),
        (token(secret="x" * 32), 70009),
        (token(aud="shop"), 70014),
        (token("bob"), 70013),
        (token()[:-4] + "AAAA", 70009),
        (jwt.encode({"sub": ADMIN}, "", algorithm="none"), 70009),
    ):
        assert await by_query(office, shown) == code, shown
        assert await by_header(office, f"Bearer {shown}") == code, shown
        office.world.clock.advance(60_000)  # these are wrong signatures
    assert await by_query(office, token("bob"), "bob") == CallCode.NOT_ADMIN
    assert await by_header(office, f"Bearer {token('bob')}", "bob") == CallCode.NOT_ADMIN
    assert await by_query(office, token("second"), "second") == 0


async def test_wrong_ones_are_counted_with_those_of_the_query(office: Office) -> None:
    for n in range(10):
        wrong = token(secret="x" * 32)
        send = by_query(office, wrong) if n % 2 else by_header(office, f"Bearer {wrong}")
        assert await send == 70009
    assert await by_header(office, f"Bearer {token()}") == CallCode.TOO_MANY_FAILURES
    office.world.clock.advance(60_000)
    assert await by_header(office, f"Bearer {token()}") == 0


async def test_those_of_another_app_or_user_are_no_guesses(office: Office) -> None:
    for shown, code in ((token(aud="shop"), 70014), (token("bob"), 70013)):
        for _ in range(11):
            assert await by_query(office, shown) == code
    assert await by_query(office, token()) == 0


async def test_the_log_never_has_it(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    shown = token()
    await by_header(office, f"Bearer {shown}")
    assert not any(part in caplog.text for part in shown.split("."))


async def test_a_program_that_was_kicked_needs_a_newer_token(office: Office) -> None:
    now_s = office.world.clock.now_ms() // 1000
    shown = {
        "by UserSig": (office.signature("second"), office.signature("second", age_s=-1)),
        "by JWT": (token("second", iat=now_s), token("second", iat=now_s + 1)),
    }
    undated = token("second")
    assert await by_query(office, undated, "second") == 0
    await office.ok("kick", {"UserID": "second"}, LOGIN)
    for old, new in shown.values():
        assert await by_query(office, old, "second") == 70052
        assert await by_header(office, f"Bearer {old}", "second") == 70052
        assert await by_query(office, new, "second") == 0
    for _ in range(11):  # it was a good one: not a guess
        assert await by_query(office, undated, "second") == 70052
    assert await by_query(office, office.signature("second", age_s=-1), "second") == 0
    assert await by_query(office, token()) == 0, "another account"
