"""Who is let in, what is a call, and what is never said: the envelope."""

import asyncio
import io
import logging
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
from TLSSigAPIv2 import TLSSigAPIv2

from server.rest.absent import ABSENT
from server.rest.app import peer_address
from server.rest.codes import CALL_CODES, CallCode
from server.rest.commands import COMMANDS, TABLE
from tests.kit.devices import ADMIN, store_of
from tests.kit.office import KEY, OLD_KEY, SDKAPPID, Office, office_of, office_on, rules

CHECK = "/v4/im_open_login_svc/account_check"
BODY = b'{"CheckItem":[{"UserID":"ann"}]}'


async def number(office: Office, **changed: str | None) -> int:
    answer = await office.send(CHECK, BODY, query=office.query(**changed))
    return int(answer["ErrorCode"])


async def test_a_call_with_everything_is_answered(office: Office) -> None:
    answer = await office.send(CHECK, BODY)
    assert answer["ResultItem"][0]["AccountStatus"] == "Imported"
    assert await number(office, random=None, contenttype=None) == 0
    assert await number(office, random=str(2**32 - 1)) == 0


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"sdkappid": None}, 60012),
        ({"sdkappid": ""}, 60012),
        ({"sdkappid": "88888888"}, 60006),
        ({"sdkappid": "x"}, 60006),
        ({"identifier": None}, 60025),
        ({"identifier": ""}, 60025),
        ({"contenttype": "xml"}, 60025),
        ({"random": "-1"}, 60025),
        ({"random": str(2**32)}, 60025),
        ({"random": "1e3"}, 60025),
        ({"usersig": None}, 70002),
        ({"usersig": ""}, 70002),
        ({"usersig": "eJyrVgrxCdYrSy"}, 70003),
        ({"usersig": "no token"}, 70003),
        ({"identifier": "second"}, 70013),
    ],
)
async def test_a_query_that_is_wrong(
    office: Office, changed: dict[str, str | None], code: int
) -> None:
    assert await number(office, **changed) == code


async def test_signatures(office: Office) -> None:
    sign = office.signature
    assert await number(office, usersig=sign(age_s=3601)) == 70001
    assert await number(office, usersig=sign()[:-8]) == 70003
    assert await number(office, usersig=sign(key="1" * 64)) == 70009
    assert await number(office, usersig=sign(sdkappid=7)) == 70014
    assert await number(office, usersig=sign("bob")) == 70013
    assert await number(office, identifier="bob", usersig=sign("bob")) == 60010
    assert await number(office, identifier="second", usersig=sign("second")) == 0
    assert await number(office, usersig=sign(key=OLD_KEY)) == 0, "a key that is being replaced"


async def test_tokens_of_the_originals_library(office: Office) -> None:
    """It looks at the real clock."""
    office.world.clock.advance(time.time_ns() // 1_000_000 - office.world.clock.now_ms() + 1000)
    made = TLSSigAPIv2(SDKAPPID, KEY).gen_sig(ADMIN)
    assert await number(office, usersig=made) == 0
    assert await number(office, usersig=TLSSigAPIv2(SDKAPPID, KEY).gen_sig("bob")) == 70013


async def test_after_ten_wrong_signatures_the_door_is_shut_for_a_minute(office: Office) -> None:
    wrong = office.signature(key="1" * 64)
    for _ in range(10):
        assert await number(office, usersig=wrong) == 70009
    assert await number(office, usersig=wrong) == 70050
    assert await number(office) == 70050, "a right one might be guessed"
    assert await number(office, identifier="second", usersig=office.signature("second")) == 0
    office.world.clock.advance(60_000)
    assert await number(office) == 0


async def test_what_has_a_good_signature_or_none_is_no_guess(office: Office) -> None:
    sign = office.signature
    for token, code in (
        (sign(age_s=3601), 70001),
        ("", 70002),
        (sign("bob"), 70013),
        (sign(sdkappid=7), 70014),
    ):
        for _ in range(11):
            assert await number(office, usersig=token) == code
    assert await number(office) == 0


async def test_what_is_no_token_is_a_guess(office: Office) -> None:
    for _ in range(10):
        assert await number(office, usersig="x") == 70003
    assert await number(office) == 70050


async def test_behind_a_proxy_the_address_is_the_one_that_it_names(tmp_path: Path) -> None:
    async with (
        store_of("memory", tmp_path) as store,
        office_on(store, is_behind_proxy=True) as office,
    ):
        wrong = office.query(usersig=office.signature(key="1" * 64))
        for _ in range(10):
            named = {"X-Forwarded-For": "10.9.9.9, 10.0.0.1"}
            await office.send(CHECK, query=wrong, headers=named)
        shut = await office.send(CHECK, BODY, headers={"X-Forwarded-For": "10.0.0.1"})
        assert shut["ErrorCode"] == 70050
        open_ = await office.send(CHECK, BODY, headers={"X-Forwarded-For": "10.9.9.9"})
        assert open_["ErrorCode"] == 0
    named = {"X-Forwarded-For": "10.0.0.1"}
    assert peer_address(named, "127.0.0.1", is_behind_proxy=False) == "127.0.0.1"
    assert peer_address({}, None, is_behind_proxy=True) == ""


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/v4/group_open_http_svc/no_such_command", "POST", 10003),
        ("/v4/no_such_service/create_group", "POST", 60009),
        (CHECK, "GET", 10004),
        (CHECK, "DELETE", 60008),
        (CHECK, "PUT", 60008),
        ("/v4/group_open_http_svc/create_topic", "POST", 10003),
        ("/v4/million_group_open_http_svc/create_topic", "POST", 10026),
    ],
)
async def test_a_place_that_is_none(office: Office, path: str, method: str, code: int) -> None:
    assert (await office.send(path, BODY, method=method))["ErrorCode"] == code


async def test_a_list_is_asked_for_with_get(office: Office) -> None:
    path = "/v4/group_open_http_svc/get_appid_group_list"
    assert (await office.send(path, method="GET"))["TotalCount"] == 0


async def test_a_stranger_learns_of_no_command(office: Office) -> None:
    answer = await office.send("/v4/openim/no_such", query=office.query(usersig="x"))
    assert answer["ErrorCode"] == 70003


@pytest.mark.parametrize("row", ABSENT, ids=lambda row: f"{row.service}/{row.name}")
async def test_what_is_not_offered_says_so(office: Office, row: object) -> None:
    assert row in TABLE.values()
    (service, name), *_ = (place for place, found in TABLE.items() if found is row)
    answer = await office.call(name, {}, service)
    assert answer["ErrorCode"] in (10026, 10007)
    assert answer["ErrorInfo"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 60003),
        (b"{", 60003),
        (b"\xff\xfe", 60003),
        (b'{"CheckItem":NaN}', 60003),
        (b'{"CheckItem":[],"CheckItem":[]}', 60003),
        (b'{"CheckItem":"\\ud800"}', 60003),
        (b"[" * 100_000, 60003),
        (b"[]", 10004),
        (b"null", 10004),
        (b"{}", 10004),
        (b'{"CheckItem":{}}', 10004),
        (b'{"CheckItem":[{"UserID":7}]}', 10004),
        (b'{"CheckItem":[]}', 10004),
        (b'{"CheckItem":' + b"[" * 20 + b"]" * 20 + b"}", 10004),
        (b'{"x":9007199254740993}', 10004),
        (b'{"CheckItem":[' + b",".join([b'{"UserID":"a"}'] * 101) + b"]}", 10005),
    ],
)
async def test_a_body_that_is_wrong(office: Office, body: bytes, code: int) -> None:
    assert (await office.send(CHECK, body))["ErrorCode"] == code


async def test_the_place_of_a_wrong_field_is_named(office: Office) -> None:
    answer = await office.send(CHECK, b'{"CheckItem":[{"UserID":"a"},{"UserID":7}]}')
    assert answer["ErrorInfo"] == "Expected `str`, got `int` - at `$.CheckItem[1].UserID`"
    answer = await office.call("create_group", {"Type": "Public"})
    assert answer["ErrorInfo"] == "Object missing required field `Name`"


async def test_ten_megabytes_are_not_read(office: Office) -> None:
    body = io.BytesIO(b'{"x":"' + b"a" * 10_000_000 + b'"}')
    try:
        answer = await office.send(CHECK, body)
    except ConnectionError:
        pass  # the server stopped reading, and the client was not done with writing
    else:
        assert answer["ErrorCode"] == 60008
    assert (await office.send(CHECK, BODY))["ErrorCode"] == 0


async def raw(office: Office, head: str, body: bytes = b"") -> bytes:
    """What is answered to a request as written, whose body never comes to its end."""
    host, _, port = office.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        query = urlencode(office.query())
        writer.write(f"POST {CHECK}?{query} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
        await writer.drain()
        return await reader.readuntil(b"}")
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_body_that_says_it_is_large(office: Office) -> None:
    assert b'"ErrorCode":60008' in await raw(office, "Content-Length: 1048577", b"{")


async def test_a_body_in_pieces_that_becomes_large(office: Office) -> None:
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    assert b'"ErrorCode":60008' in await raw(office, "Transfer-Encoding: chunked", piece * 2)


async def test_a_body_that_does_not_come(tmp_path: Path) -> None:
    async with office_of("memory", tmp_path, rules(limits={"REST_BODY_MS": 50})) as office:
        assert b'"ErrorCode":60008' in await raw(office, "Content-Length: 9", b"{")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
        b"GET\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_no_error_of_ours(
    office: Office, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger must not be able to fill the log with stack traces."""
    host, _, port = office.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer[:13] in (b"HTTP/1.0 400 ", b"HTTP/1.1 400 ")
    assert b"Traceback" not in answer
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_two_hundred_calls_a_second_of_each_command(office: Office) -> None:
    other = "/v4/openim/query_online_status"
    body = b'{"To_Account":["a"]}'
    for _ in range(200):
        assert (await office.send(other, body))["ErrorCode"] == 0
    assert (await office.send(other, body))["ErrorCode"] == 60007
    assert (await office.send(CHECK, BODY))["ErrorCode"] == 0, "each command has its own"
    office.world.clock.advance(10)
    assert (await office.send(other, body))["ErrorCode"] == 0


async def test_the_list_of_all_groups_once_a_second(office: Office) -> None:
    await office.ok("get_appid_group_list")
    assert await office.code("get_appid_group_list") == 60007
    office.world.clock.advance(1000)
    await office.ok("get_appid_group_list")


async def test_without_the_limit_no_command_has_one(tmp_path: Path) -> None:
    async with office_of("memory", tmp_path, rules(limits={"REST_CALLS_PER_S": 0})) as office:
        for _ in range(3):
            await office.ok("get_appid_group_list")


async def test_an_answer_that_would_be_too_large(tmp_path: Path) -> None:
    async with office_of("memory", tmp_path, rules(limits={"REST_ANSWER_BYTES": 200})) as office:
        users = [f"user-{n}" for n in range(9)]
        for name, code in ((users[:1], 0), (users, 10018)):
            answer = await office.call("query_online_status", {"To_Account": name}, "openim")
            assert answer["ErrorCode"] == code


async def test_members_that_would_be_too_many_are_not_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office_of("memory", tmp_path, rules(limits={"REST_ANSWER_BYTES": 400})) as office:
        group = {"Type": "Public", "Name": "x", "GroupId": "g", "MemberList": []}
        rows = [{"Member_Account": f"u{n}"} for n in range(9)]
        await office.ok("create_group", {**group, "MemberList": rows})
        asked: list[str] = []
        monkeypatch.setattr(office.world.store, "members", asked.append)
        few = {"GroupIdList": ["g"], "ResponseFilter": {"GroupBaseInfoFilter": ["Name"]}}
        await office.ok("get_group_info", few)
        many = {"GroupIdList": ["g"], "ResponseFilter": {"MemberInfoFilter": ["Role"]}}
        assert await office.code("get_group_info", many) == 10018
        assert asked == []


async def test_a_bug_of_ours_shows_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(office.world.hub, "sign_out", fail)
    answer = await office.call("kick", {"UserID": "ann"}, "im_open_login_svc")
    assert answer == {
        "ActionStatus": "FAIL",
        "ErrorCode": 10002,
        "ErrorInfo": CALL_CODES[CallCode.INTERNAL],
    }
    assert "inside" in caplog.text, "the operator reads it in the log"


async def test_the_log_has_the_calls_number_and_never_its_token(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    query = office.query()
    async with office.http.post(office.address + CHECK, params=query, data=BODY) as response:
        call_id = response.headers["X-Request-Id"]
    await office.send(CHECK, BODY, query=office.query(sdkappid="1"))
    lines = [record.getMessage() for record in caplog.records if record.name == "server.rest.app"]
    assert len(lines) == 2
    told = f"call {call_id} of im_open_login_svc/account_check by {ADMIN} from 127.0.0.1: 0, "
    assert lines[0].startswith(told)
    assert "by nobody from 127.0.0.1: 60006" in lines[1]
    assert query["usersig"][:16] not in caplog.text


def test_every_command_of_the_pages_is_there_once() -> None:
    assert len(TABLE) == len(COMMANDS) + len(ABSENT)
    assert set(CALL_CODES) == set(CallCode)
