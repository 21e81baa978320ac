"""Options of the commands about users, where everybody is known and where somebody must be."""

from pathlib import Path

from protocol.errors import CloseCode
from protocol.usersig import SigCode
from tests.kit.office import Office, office_of, rules

LOGIN = "im_open_login_svc"


async def status(office: Office, *names: str) -> dict[str, str]:
    items = [{"UserID": name} for name in names]
    found = await office.ok("account_check", {"CheckItem": items}, LOGIN)
    return {row["UserID"]: row.get("AccountStatus", "none") for row in found["ResultItem"]}


async def test_sign_out(office: Office) -> None:
    first, second = await office.world.online("ann"), await office.world.online("ann", "d2")
    bob = await office.world.online("bob")
    await office.ok("kick", {"UserID": "ann"}, LOGIN)
    for device in (first, second):
        assert device.closed is not None
        assert (device.closed.code, device.closed.error_code) == (
            CloseCode.NOT_AUTHENTICATED,
            SigCode.REVOKED,
        )
    assert bob.is_open
    assert (await office.world.online("ann")).is_live, "who has a newer token comes back"
    await office.ok("kick", {"Identifier": "zoe"}, LOGIN)
    assert await office.code("kick", {}, LOGIN) == 10004
    assert await office.code("kick", {"UserID": "\u00fc"}, LOGIN) == 10012


async def test_who_is_connected(office: Office) -> None:
    await office.world.online("ann")
    request = {"To_Account": ["ann", "bob", "ü"]}
    found = await office.ok("query_online_status", request, "openim")
    assert found == {
        "QueryResult": [
            {"To_Account": "ann", "Status": "Online"},
            {"To_Account": "bob", "Status": "Offline"},
        ],
        "ErrorList": [{"To_Account": "ü", "ErrorCode": 70107}],
    }
    found = await office.ok("query_online_status", {**request, "IsNeedDetail": 1}, "openim")
    assert found["QueryResult"][0]["Detail"] == [{"Platform": "test", "Status": "Online"}]
    too_many = {"To_Account": [f"u{n}" for n in range(501)]}
    assert await office.code("query_online_status", too_many, "openim") == 10005


async def test_users_who_must_be_known(tmp_path: Path) -> None:
    async with office_of("sqlite", tmp_path, rules(known=True)) as office:
        assert await status(office, "ann", "ü") == {"ann": "NotImported", "ü": "none"}
        group = {"Type": "Public", "Name": "x", "GroupId": "g"}
        assert await office.code("create_group", {**group, "Owner_Account": "ann"}) == 10019
        await office.ok("account_import", {"UserID": "ann", "Nick": "Ann"}, LOGIN)
        many = {"AccountList": [{"UserID": "bob"}], "Accounts": ["cat", "ü"]}
        assert await office.ok("multiaccount_import", many, LOGIN) == {"FailAccounts": ["ü"]}
        assert set((await status(office, "ann", "bob", "cat")).values()) == {"Imported"}
        await office.ok("create_group", {**group, "Owner_Account": "ann"})
        ann = await office.world.online("ann")
        gone = [{"UserID": "ann"}, {"UserID": "ü"}]
        found = await office.ok("account_delete", {"DeleteItem": gone}, LOGIN)
        assert [row["ResultCode"] for row in found["ResultItem"]] == [0, 70107]
        assert not ann.is_open
        assert await status(office, "ann") == {"ann": "NotImported"}
        roles = await office.ok("get_role_in_group", {"GroupId": "g", "User_Account": ["ann"]})
        assert roles["UserIdList"][0]["Role"] == "Owner", "memberships stay"
        await office.ok("account_delete", {"DeleteItem": [{"UserID": "zoe"}]}, LOGIN)
        assert await office.code("account_import", {"UserID": "ü"}, LOGIN) == 10012


async def test_everybody_is_known_where_nobody_has_to_be(office: Office) -> None:
    assert await status(office, "zoe") == {"zoe": "Imported"}
    await office.ok("account_delete", {"DeleteItem": [{"UserID": "zoe"}]}, LOGIN)
    assert await status(office, "zoe") == {"zoe": "Imported"}
