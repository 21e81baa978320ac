"""What the operator's own programs do is asked about and told like everything else."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.service.ports import Store
from server.webhooks.receiver import Answer
from tests.kit.devices import ADMIN
from tests.kit.office import Office, office_on
from tests.kit.receivers import ScriptedReceiver, says

SEND = "Group.CallbackBeforeSendMsg"
MESSAGE = {
    "GroupId": "g",
    "From_Account": "leckie",
    "Random": 8912345,
    "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "red packet"}}],
}


@pytest.fixture
async def office(store: Store, receiver: ScriptedReceiver) -> AsyncIterator[Office]:
    async with office_on(store, receiver=receiver) as opened:
        yield opened


async def names(office: Office, receiver: ScriptedReceiver) -> list[str]:
    """The callbacks since the last time, asked and told."""
    await office.world.deliver()
    found = [call.name.removeprefix("Group.Callback") for call in receiver.calls]
    receiver.calls.clear()
    return found


async def group(office: Office, receiver: ScriptedReceiver, **fields: object) -> None:
    await office.ok("create_group", {"Type": "Public", "Name": "-", "GroupId": "g", **fields})
    await names(office, receiver)


async def test_a_message_is_asked_about_and_told_with_its_own_random(
    office: Office, receiver: ScriptedReceiver
) -> None:
    await group(office, receiver)
    sent = await office.ok("send_group_msg", MESSAGE)
    await office.world.deliver()
    asked, told = receiver.bodies
    for body in (asked, told):
        assert (body["From_Account"], body["Operator_Account"]) == ("leckie", ADMIN)
        assert body["Random"] == 8912345
        assert body["MsgBody"] == MESSAGE["MsgBody"]
    assert told["MsgSeq"] == sent["MsgSeq"]
    assert {(call.platform, call.address) for call in receiver.calls} == {("RESTAPI", "127.0.0.1")}


async def test_callbacks_that_the_caller_forbids_are_left_out(
    office: Office, receiver: ScriptedReceiver
) -> None:
    await group(office, receiver)
    before, after = "ForbidBeforeSendMsgCallback", "ForbidAfterSendMsgCallback"
    for number, (forbidden, wanted) in enumerate(
        (
            ([before], ["AfterSendMsg"]),
            ([after], ["BeforeSendMsg"]),
            ([before, after], []),
        )
    ):
        body = {**MESSAGE, "Random": number, "ForbidCallbackControl": forbidden}
        await office.ok("send_group_msg", body)
        assert await names(office, receiver) == wanted


@pytest.mark.parametrize(("answer", "code"), [(says(1), 10016), (says(10137, "no"), 10137)])
async def test_a_veto_has_its_own_number(
    office: Office, receiver: ScriptedReceiver, answer: Answer, code: int
) -> None:
    await group(office, receiver)
    receiver.by_name = {SEND: answer}
    assert await office.code("send_group_msg", MESSAGE) == code


async def test_groups_and_members(office: Office, receiver: ScriptedReceiver) -> None:
    receiver.calls.clear()
    members = [{"Member_Account": "bob"}]
    made = {"Type": "Public", "Name": "-", "GroupId": "g", "MemberList": members}
    await office.ok("create_group", {**made, "Owner_Account": "leckie"})
    await office.world.deliver()
    for one in receiver.bodies:
        assert (one["Operator_Account"], one["Owner_Account"]) == (ADMIN, "leckie")
        assert one["MemberList"] == members
    assert await names(office, receiver) == ["BeforeCreateGroup", "AfterCreateGroup"]
    await office.ok("create_group", {"Type": "Public", "Name": "-", "GroupId": "h"})
    await office.world.deliver()
    assert [one["Owner_Account"] for one in receiver.bodies] == ["", ""]
    await names(office, receiver)

    for silence in (0, 1):
        added = [{"Member_Account": f"new-{silence}"}]
        body: dict[str, Any] = {"GroupId": "g", "Silence": silence, "MemberList": added}
        await office.ok("add_group_member", body)
        await office.world.deliver()
        told = receiver.told("AfterNewMemberJoin")
        assert [one["NewMemberList"] for one in told] == [added]
        assert await names(office, receiver) == ["BeforeInviteJoinGroup", "AfterNewMemberJoin"]
        gone = {"GroupId": "g", "Silence": silence, "MemberToDel_Account": [f"new-{silence}"]}
        await office.ok("delete_group_member", gone)
        await office.world.deliver()
        (one,) = receiver.bodies
        assert (one["ExitType"], one["ExitMemberList"]) == ("Kicked", added)
        assert await names(office, receiver) == ["AfterMemberExit"]


async def test_an_import_is_neither_asked_about_nor_told(
    office: Office, receiver: ScriptedReceiver
) -> None:
    await office.ok("import_group", {"Type": "Public", "Name": "-", "GroupId": "g"})
    assert await names(office, receiver) == []


async def test_a_refused_member_is_one_that_failed(
    office: Office, receiver: ScriptedReceiver
) -> None:
    await group(office, receiver)
    receiver.by_name = {
        "Group.CallbackBeforeInviteJoinGroup": says(0, RefusedMembers_Account=["jared"])
    }
    members = [{"Member_Account": "tommy"}, {"Member_Account": "jared"}]
    answer = await office.ok("add_group_member", {"GroupId": "g", "MemberList": members})
    assert [row["Result"] for row in answer["MemberList"]] == [1, 0]


async def test_recalls_of_one_call_are_told_together(
    office: Office, receiver: ScriptedReceiver
) -> None:
    await group(office, receiver)
    for number in range(3):
        await office.ok("send_group_msg", {**MESSAGE, "Random": number})
    await names(office, receiver)
    seqs = [{"MsgSeq": seq} for seq in (1, 9, 3)]
    await office.ok("group_msg_recall", {"GroupId": "g", "MsgSeqList": seqs})
    await office.world.deliver()
    (told,) = receiver.bodies
    assert told["MsgSeqList"] == [{"MsgSeq": 1}, {"MsgSeq": 3}]
    assert await names(office, receiver) == ["AfterRecallMsg"]
    await office.ok("group_msg_recall", {"GroupId": "g", "MsgSeqList": seqs})
    assert await names(office, receiver) == [], "nothing was left to be taken back"


async def test_a_members_change_is_told_once(office: Office, receiver: ScriptedReceiver) -> None:
    await group(office, receiver, MemberList=[{"Member_Account": "bob"}])
    change = {"Role": "Admin", "NameCard": "B.", "MsgFlag": "Discard"}
    await office.ok("modify_group_member_info", {"GroupId": "g", "Member_Account": "bob", **change})
    assert await names(office, receiver) == ["AfterMemberFieldChanged"]


async def test_a_broadcast_is_neither_asked_about_nor_told(
    office: Office, receiver: ScriptedReceiver
) -> None:
    await group(office, receiver, Type="AVChatRoom")
    ann = await office.world.online("ann")
    await ann.call("join_group", group_id="g")
    await names(office, receiver)
    call = {"Random": 1, "MsgBody": MESSAGE["MsgBody"]}
    await office.ok("send_broadcast_msg", call)
    assert ann.texts("g") == ["red packet"]
    assert await names(office, receiver) == []
