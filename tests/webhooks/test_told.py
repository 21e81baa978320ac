"""What is told after a change: the documented fields, exactly, once for each change."""

from pathlib import Path
from typing import Any, cast

from protocol.callbacks import OFFERED
from server.hub.session import Parting
from server.service.outbox import Outbox
from server.service.ports import Store
from tests.kit.devices import ADMIN, Device, World, body, rulebook_with, world_on
from tests.kit.fakes import NOON_MS
from tests.kit.office import office_on
from tests.kit.receivers import ScriptedReceiver
from tests.webhooks.expected import (
    BEFORE,
    NOW,
    STATE,
    account,
    group_callback,
    group_of,
    text_message,
)


async def told(world: World, receiver: ScriptedReceiver) -> list[dict[str, Any]]:
    """What was told since the last time, without what was asked and whose devices came."""
    await world.deliver()
    bodies = [one for one in receiver.bodies if one["CallbackCommand"] not in BEFORE | {STATE}]
    receiver.calls.clear()
    return bodies


class TestFields:
    async def test_a_group_from_its_beginning_to_its_end(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await world.online("alice")
        await world.online("carol")
        members = [{"user_id": "bob"}, {"user_id": "alice"}]
        await alice.call("create_group", type="Public", name="Crew", group_id="g", members=members)
        public = {"GroupId": "g", "Type": "Public"}
        assert await told(world, receiver) == [
            group_callback(
                "AfterCreateGroup",
                Operator_Account="alice",
                Owner_Account="alice",
                Name="Crew",
                MemberList=account("bob"),
                UserDefinedDataList=[],
                **public,
            )
        ]
        await alice.call(
            "update_group", group_id="g", name="Crew", notification="9!", mute_all=True
        )
        await alice.call("update_group", group_id="g", mute_all=False)
        assert await told(world, receiver) == [
            group_callback(
                "AfterGroupInfoChanged", Operator_Account="alice", Notification="9!", **public
            )
        ]
        await alice.call("transfer_group", group_id="g", new_owner_id="bob")
        assert await told(world, receiver) == [
            group_callback(
                "AfterChangeGroupOwner",
                Operator_Account="alice",
                OldOwner_Account="alice",
                NewOwner_Account="bob",
                **public,
            )
        ]
        bob = await world.online("bob")
        await bob.call("remove_members", group_id="g", user_ids=["alice", "nobody"])
        assert await told(world, receiver) == [
            group_callback(
                "AfterMemberExit",
                ExitType="Kicked",
                Operator_Account="bob",
                ExitMemberList=account("alice"),
                **public,
            )
        ]
        await bob.call("disband_group", group_id="g")
        assert await told(world, receiver) == [
            group_callback(
                "AfterGroupDestroyed",
                Owner_Account="bob",
                Name="Crew",
                MemberList=account("bob"),
                **public,
            )
        ]

    async def test_a_message_and_its_recall(self, world: World, receiver: ScriptedReceiver) -> None:
        alice = await group_of(world, receiver, kind="Work")
        sent = await alice.call(
            "send_message", group_id="g", body=body("hi"), custom_data="c", request_id="r-1"
        )
        await alice.call("send_message", group_id="g", body=body("psst"), online_only=True)
        said, whispered = await told(world, receiver)
        assert said == group_callback(
            "AfterSendMsg",
            GroupId="g",
            Type="Private",
            Random=said["Random"],
            MsgSeq=sent["seq"],
            MsgTime=NOON_MS // 1000,
            **text_message("hi"),
        )
        assert 0 <= said["Random"] < 2**32
        assert (whispered["OnlineOnlyFlag"], whispered["MsgSeq"]) == (1, 0)
        await alice.call("recall_message", group_id="g", seq=sent["seq"])
        assert await told(world, receiver) == [
            group_callback(
                "AfterRecallMsg",
                GroupId="g",
                Type="Private",
                Operator_Account="alice",
                MsgSeqList=[{"MsgSeq": sent["seq"]}],
            )
        ]

    async def test_those_who_come_and_go(self, world: World, receiver: ScriptedReceiver) -> None:
        alice, bob = await world.online("alice"), await world.online("bob")
        await alice.call("create_group", type="Meeting", name="-", group_id="m", max_member_count=3)
        await told(world, receiver)
        room = {"GroupId": "m", "Type": "ChatRoom"}
        await bob.call("join_group", group_id="m")
        assert await told(world, receiver) == [
            group_callback(
                "AfterNewMemberJoin",
                JoinType="Apply",
                Operator_Account="bob",
                NewMemberList=account("bob"),
                **room,
            )
        ]
        operator = await world.online(ADMIN)
        await operator.call("invite_members", group_id="m", user_ids=["carol", "bob"])
        assert await told(world, receiver) == [
            group_callback(
                "AfterNewMemberJoin",
                JoinType="Invited",
                Operator_Account=ADMIN,
                NewMemberList=account("carol"),
                **room,
            ),
            group_callback("AfterGroupFull", GroupId="m"),
        ]
        await bob.call("quit_group", group_id="m")
        assert await told(world, receiver) == [
            group_callback(
                "AfterMemberExit",
                ExitType="Quit",
                Operator_Account="bob",
                ExitMemberList=account("bob"),
                **room,
            )
        ]

    async def test_an_approved_application_is_told_in_the_name_of_who_approved(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice, bob = await world.online("alice"), await world.online("bob")
        await alice.call("create_group", type="Public", name="-", group_id="g", max_member_count=2)
        await bob.call("join_group", group_id="g")
        await told(world, receiver)
        waiting = (await alice.call("list_applications"))["applications"]
        ids = [one["application_id"] for one in waiting]
        await alice.call("handle_applications", application_ids=ids, accept=True)
        joined, full = await told(world, receiver)
        assert joined["Operator_Account"] == "alice"
        assert (joined["JoinType"], joined["NewMemberList"]) == ("Apply", account("bob"))
        assert full == group_callback("AfterGroupFull", GroupId="g")

    async def test_a_room_that_stores_no_members(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice, bob = await world.online("alice"), await world.online("bob")
        await alice.call("create_group", type="AVChatRoom", name="-", group_id="r")
        await told(world, receiver)
        for leave, cause in ((True, "Quit"), (False, "HeartbeatInterrupt")):
            await bob.call("join_group", group_id="r")
            joined, online = await told(world, receiver)
            assert joined["CallbackCommand"] == "Group.CallbackAfterNewMemberJoin"
            state = {"GroupId": "r", "MemberList": account("bob")}
            assert online == group_callback(
                "OnMemberStateChange", EventType="Online", EventCause="Join", **state
            )
            if leave:
                await bob.call("quit_group", group_id="r")
            else:
                bob.drop()
            left, offline = await told(world, receiver)
            assert left["CallbackCommand"] == "Group.CallbackAfterMemberExit"
            assert offline == group_callback(
                "OnMemberStateChange", EventType="Offline", EventCause=cause, **state
            )

    async def test_the_operator_is_who_asked_also_in_another_name(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        operator = await world.online(ADMIN)
        await operator.call("create_group", type="Work", name="-", group_id="g", as_user_id="alice")
        await operator.call("send_message", group_id="g", body=body("hi"), as_user_id="alice")
        created, said = await told(world, receiver)
        assert (created["Operator_Account"], created["Owner_Account"]) == (ADMIN, "alice")
        assert (said["Operator_Account"], said["From_Account"]) == (ADMIN, "alice")

    async def test_a_community_ends_without_its_members(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await world.online("alice")
        await alice.call("create_group", type="Community", name="-", group_id="@TGS#_c")
        await alice.call("disband_group", group_id="@TGS#_c")
        _, ended = await told(world, receiver)
        assert ended["CallbackCommand"].endswith("AfterGroupDestroyed")
        assert "MemberList" not in ended

    async def test_what_changes_of_a_member(self, world: World, receiver: ScriptedReceiver) -> None:
        """The fields of the original's document 60393."""
        alice = await group_of(world, receiver, "bob")
        bob = await world.online("bob")
        await told(world, receiver)

        async def change(device: Device, params: dict[str, Any]) -> None:
            await device.call("update_member", group_id="g", user_id="bob", **params)

        await change(alice, {"role": "admin"})
        await change(bob, {"name_card": "jacky"})
        await change(alice, {"role": "member", "name_card": "", "mute_s": 60})
        await change(alice, {"role": "member", "mute_s": 0})
        await change(bob, {"receive_option": "Discard"})
        common = {"GroupId": "g", "Type": "Public", "Member_Account": "bob"}
        kind = "AfterMemberFieldChanged"
        assert await told(world, receiver) == [
            group_callback(kind, Operator_Account="alice", Role="Admin", **common),
            group_callback(kind, Operator_Account="bob", NameCard="jacky", **common),
            group_callback(kind, Operator_Account="alice", Role="Member", NameCard="", **common),
        ]

    async def test_what_changes_of_attributes(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        """The fields of the original's document 60394, for each way to change them."""
        async with office_on(store, receiver=receiver) as office:
            alice = await group_of(office.world, receiver)
            kind = "AfterGroupAttrChanged"
            common = {"GroupId": "g", "Type": "Public"}

            def row(key: str, value: str) -> dict[str, str]:
                return {"key": key, "value": value}

            await alice.call("set_attributes", group_id="g", attributes={"a": "1", "b": "2"})
            await alice.call("set_attributes", group_id="g", attributes={"a": "1", "b": "3"})
            await alice.call("set_attributes", group_id="g", attributes={"a": "1"})
            await alice.call("delete_attributes", group_id="g", keys=["a"])
            mine = {"Operator_Account": "alice", **common}
            assert await told(office.world, receiver) == [
                group_callback(
                    kind, OptionType="modify", GroupAttr=[row("a", "1"), row("b", "2")], **mine
                ),
                group_callback(kind, OptionType="modify", GroupAttr=[row("b", "3")], **mine),
                group_callback(kind, OptionType="delete", GroupAttr=[row("a", "")], **mine),
            ]
            new = {"GroupId": "g", "GroupAttr": [row("c", "4")]}
            await office.ok("set_group_attr", new)
            await office.ok("clear_group_attr", {"GroupId": "g"})
            theirs = {"Operator_Account": ADMIN, **common}
            assert await told(office.world, receiver) == [
                group_callback(kind, OptionType="set", GroupAttr=[row("c", "4")], **theirs),
                group_callback(kind, OptionType="clear", GroupAttr=[], **theirs),
            ]

    async def test_most_of_the_groups_of_a_day_are_made(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        """The fields of the original's document 57455; a Community does not count."""
        rules = rulebook_with({"GROUPS_PER_DAY": 10})
        async with world_on(store, rules, receiver=receiver) as world:
            alice = await world.online("alice")
            for number in range(7):
                await alice.call("create_group", type="Work", name="-", group_id=f"g{number}")
            await alice.call("create_group", type="Community", name="-", group_id="@TGS#_c")
            assert {one["CallbackCommand"] for one in await told(world, receiver)} == {
                "Group.CallbackAfterCreateGroup"
            }
            await alice.call("create_group", type="Work", name="-", group_id="g7")
            _, alarm = await told(world, receiver)
            assert alarm == group_callback("OnDailyGroupQuotaAlarm", QuotaUsed=8, Quota=10)

    async def test_a_refused_message_is_told_with_its_code(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        await group_of(world, receiver)
        bob = await world.online("bob")
        refusal = await bob.refusal("send_message", group_id="g", body=body("hi"))
        await bob.refusal("send_message", group_id="nowhere", body=body("hi"))
        await bob.refusal("update_group", group_id="g", name="mine")
        (failed,) = await told(world, receiver)
        assert failed["CallbackCommand"] == "Group.CallbackSendMsgException"
        assert failed["From_Account"] == "bob"
        assert failed["ErrorCode"] == refusal.code
        assert failed["ErrorInfo"] == refusal.message


class TestDevices:
    async def states(self, world: World, receiver: ScriptedReceiver) -> list[dict[str, Any]]:
        await world.deliver()
        bodies = receiver.told(STATE)
        receiver.calls.clear()
        return bodies

    def state(self, action: str, reason: str, **fields: object) -> dict[str, object]:
        info = {"Action": action, "To_Account": "alice", "Reason": reason}
        return {"CallbackCommand": STATE, "EventTime": NOW, "Info": info, **fields}

    async def test_a_device_comes_and_its_connection_breaks(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        phone = world.connect("alice", platform="ios")
        await world.deliver()
        (call,) = receiver.calls
        assert (call.platform, call.address) == ("IOS", "192.0.2.1")
        assert await self.states(world, receiver) == [self.state("Login", "Register")]
        phone.drop()
        assert await self.states(world, receiver) == [self.state("Disconnect", "LinkClose")]

    async def test_how_it_ends_is_told(self, world: World, receiver: ScriptedReceiver) -> None:
        for parting, words in (
            (Parting.LOGOUT, ("Logout", "Unregister")),
            (Parting.SILENT, ("Disconnect", "TimeOut")),
        ):
            phone = await world.online("alice")
            await self.states(world, receiver)
            world.hub.remove(phone.session, parting)
            phone.drop()
            assert await self.states(world, receiver) == [self.state(*words)]

    async def test_one_that_had_to_go_is_told_of_by_the_login_of_the_other(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        rules = rulebook_with({"DEVICES_PER_USER": 1})
        async with world_on(store, rules, receiver=receiver) as world:
            world.connect("alice", "d1", platform="iOS")
            world.connect("alice", "d1", platform="iOS")
            assert await self.states(world, receiver) == [self.state("Login", "Register")] * 2
            world.connect("alice", "d2", platform="web")
            assert await self.states(world, receiver) == [
                self.state("Login", "Register", KickedDevice=[{"Platform": "IOS"}])
            ]


class TestWhoPays:
    async def test_without_a_receiver_nothing_is_written(self, store: Store) -> None:
        async with world_on(store) as world:
            alice = await world.online("alice")
            await alice.call("create_group", type="Work", name="-", group_id="g")
            await alice.say("g", "hi")
            assert not await cast(Outbox, store).waiting(0, 10)

    async def test_only_what_is_wanted_is_told(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        wanted = {"Group.CallbackAfterRecallMsg"}
        async with world_on(store, receiver=receiver, callbacks=wanted) as world:
            alice = await world.online("alice")
            await alice.call("create_group", type="Work", name="-", group_id="g")
            seq = (await alice.say("g", "hi"))["seq"]
            await alice.call("recall_message", group_id="g", seq=seq)
            await world.deliver()
            assert {call.name for call in receiver.calls} == wanted

    async def test_a_repeated_request_is_told_once(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await world.online("alice")
        await alice.call("create_group", type="Work", name="-", group_id="g")
        for _ in range(3):
            await alice.call("send_message", group_id="g", body=body("hi"), request_id="once")
        bodies = await told(world, receiver)
        assert [one["CallbackCommand"] for one in bodies].count("Group.CallbackAfterSendMsg") == 1


def test_every_callback_that_is_told_has_a_test() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for name in OFFERED - BEFORE - {"State.StateChange"}:
        assert name.removeprefix("Group.Callback") in tested, name
