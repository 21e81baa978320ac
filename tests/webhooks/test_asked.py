"""What is asked before a change: the documented fields, and what the answers do."""

import asyncio
from typing import Any

import msgspec
import pytest

from protocol.errors import ERRORS, ErrorCode, Refused
from server.service.ports import RequestKey, Store
from server.storage.memory import MemoryStore
from server.webhooks.receiver import Answer, NoConnection
from tests.kit.devices import ADMIN, Device, Gone, World, body, rulebook_with, world_on
from tests.kit.fakes import HookedStore, until
from tests.kit.receivers import DOWN, OK, Reaction, ScriptedReceiver, says
from tests.webhooks.expected import account, group_callback, group_of, text_message

SEND = "Group.CallbackBeforeSendMsg"
INVITE = "Group.CallbackBeforeInviteJoinGroup"
JOIN = "Group.CallbackBeforeApplyJoinGroup"
CREATE = "Group.CallbackBeforeCreateGroup"


class TestFields:
    async def test_before_a_group_is_made(self, world: World, receiver: ScriptedReceiver) -> None:
        alice = await group_of(world, receiver)
        params: dict[str, Any] = {
            "type": "Public",
            "name": "Crew",
            "members": [{"user_id": "bob"}],
        }
        await alice.call("create_group", **params)
        (call,) = receiver.calls
        assert receiver.bodies == [
            group_callback(
                "BeforeCreateGroup",
                Operator_Account="alice",
                Owner_Account="alice",
                Type="Public",
                Name="Crew",
                CreateGroupNum=1,
                MemberList=account("bob"),
            )
        ]
        assert (call.platform, call.address) == ("Unknown", "192.0.2.1")

    async def test_before_somebody_joins(self, world: World, receiver: ScriptedReceiver) -> None:
        await group_of(world, receiver)
        bob = world.connect("bob", platform="ios")
        await bob.call("join_group", group_id="g")
        assert receiver.bodies == [
            group_callback(
                "BeforeApplyJoinGroup", GroupId="g", Type="Public", Requestor_Account="bob"
            )
        ]
        assert receiver.calls[0].platform == "iOS"

    async def test_before_somebody_is_brought_in(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        await group_of(world, receiver)
        operator = await world.online(ADMIN)
        await operator.call("invite_members", group_id="g", user_ids=["bob", "carol"])
        assert receiver.bodies == [
            group_callback(
                "BeforeInviteJoinGroup",
                GroupId="g",
                Type="Public",
                Operator_Account=ADMIN,
                DestinationMembers=account("bob", "carol"),
            )
        ]

    async def test_before_a_message(self, world: World, receiver: ScriptedReceiver) -> None:
        alice = await group_of(world, receiver)
        await alice.call("send_message", group_id="g", body=body("hi"), custom_data="c")
        (asked,) = receiver.bodies
        assert asked == group_callback(
            "BeforeSendMsg",
            GroupId="g",
            Type="Public",
            Random=asked["Random"],
            **text_message("hi"),
        )
        await world.deliver()
        (told,) = receiver.told("AfterSendMsg")
        assert told["Random"] == asked["Random"], "the two are about the same message"

    async def test_nobody_is_asked_about_a_group_that_is_not_there(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await world.online("alice")
        refusal = await alice.refusal("send_message", group_id="g", body=body("hi"))
        assert refusal.code is ErrorCode.GROUP_NOT_FOUND
        assert not receiver.calls


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "code", "number", "message"),
        [
            (says(1), ErrorCode.CALLBACK_REFUSED, 10016, None),
            (says(1, "no"), ErrorCode.CALLBACK_REFUSED, 10016, "no"),
            (says(10100, "rude"), ErrorCode.VETOED, 10100, "rude"),
            (says(10137, "rude"), ErrorCode.VETOED, 10137, "rude"),
            (says(10200), ErrorCode.VETOED, 10200, None),
        ],
    )
    async def test_a_veto_reaches_the_caller_and_nothing_happens(
        self,
        world: World,
        receiver: ScriptedReceiver,
        answer: Answer,
        code: ErrorCode,
        number: int,
        message: str | None,
    ) -> None:
        alice = await group_of(world, receiver)
        bob = await world.online("bob")
        for name, device, method, params in (
            (SEND, alice, "send_message", {"group_id": "g", "body": body("hi")}),
            (JOIN, bob, "join_group", {"group_id": "g"}),
            (CREATE, bob, "create_group", {"type": "Work", "name": "-", "group_id": "h"}),
        ):
            position = (await world.store.heads(0)).position
            receiver.by_name = {name: answer}
            reply = await device.send(method, **params)
            assert reply.error is not None
            assert (reply.error.code, reply.error.name) == (number, code.name)
            assert reply.error.message == (message or Refused(code).message)
            assert (await world.store.heads(0)).position == position

    async def test_a_dropped_message_looks_sent_to_its_sender(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver, "bob")
        bob = await world.online("bob")
        receiver.by_name = {SEND: says(2)}
        sent = await alice.call("send_message", group_id="g", body=body("x"), request_id="r1")
        assert sorted(sent) == ["message_id", "time_ms"]
        receiver.by_name = {}
        again = await alice.call("send_message", group_id="g", body=body("x"), request_id="r1")
        assert again == sent, "also when it is repeated, after the operator has changed his mind"
        assert (await alice.say("g", "y"))["seq"] == 1
        assert alice.texts("g") == bob.texts("g") == ["y"]
        await world.deliver()
        assert len(receiver.told("AfterSendMsg")) == 1

    @pytest.mark.parametrize(
        "nothing",
        [
            dict.fromkeys(("MsgBody", "CloudCustomData", "RefusedMembers_Account")),
            {"MsgBody": [], "CloudCustomData": "", "RefusedMembers_Account": []},
        ],
        ids=["null", "empty"],
    )
    async def test_null_is_as_good_as_nothing(
        self, world: World, receiver: ScriptedReceiver, nothing: dict[str, Any]
    ) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {
            SEND: Answer(
                200,
                msgspec.json.encode(
                    {"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": None, **nothing}
                ),
            )
        }
        await alice.call("send_message", group_id="g", body=body("hi"), custom_data="c")
        assert alice.texts("g") == ["hi"]
        assert [event.data["custom_data"] for event in alice.events[-1:]] == ["c"]

    async def test_the_word_is_about_the_request_and_the_rules_about_the_moment(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        """What was allowed is decided on the group as it is when the word has come."""
        alice = await group_of(world, receiver, "bob")
        bob, carol = await world.online("bob"), await world.online("carol")
        receiver.by_name = {SEND: receiver.hold, JOIN: receiver.hold}
        said = bob.send("send_message", group_id="g", body=body("late"))
        joins = carol.send("join_group", group_id="g")
        await until(lambda: len(receiver.held) == 2)
        await alice.call("disband_group", group_id="g")
        receiver.answer("late")
        receiver.answer(JOIN)
        for reply in (await said, await joins):
            assert reply.error is not None
            assert reply.error.name == "GROUP_NOT_FOUND"

    async def test_who_may_not_send_is_told_so_also_when_it_would_be_dropped(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        await group_of(world, receiver)
        bob = await world.online("bob")
        receiver.by_name = {SEND: says(2)}
        refusal = await bob.refusal("send_message", group_id="g", body=body("x"))
        assert refusal.code is ErrorCode.NO_PERMISSION

    async def test_a_rewritten_message_is_sent_as_it_was_rewritten(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        new = [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "***"}}]
        receiver.by_name = {SEND: says(0, MsgBody=new, CloudCustomData="masked")}
        await alice.call("send_message", group_id="g", body=body("rude"), request_id="r")
        await alice.call("send_message", group_id="g", body=body("rude"), request_id="r")
        assert alice.texts("g") == ["***"]
        (event,) = [event for event in alice.events if event.event == "message"]
        assert event.data["custom_data"] == "masked"
        receiver.by_name = {SEND: says(0, CloudCustomData="only this")}
        await alice.say("g", "polite")
        assert alice.texts("g") == ["***", "polite"]

    @pytest.mark.parametrize(
        ("rewritten", "code"),
        [
            ([{"MsgType": "TIMTextElem", "MsgContent": {}}], ErrorCode.CALLBACK_REFUSED),
            ([{"MsgType": "Nope"}], ErrorCode.CALLBACK_REFUSED),
            ("text", ErrorCode.CALLBACK_REFUSED),
            ({}, ErrorCode.CALLBACK_REFUSED),
            (
                [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "x" * 20_000}}],
                ErrorCode.MESSAGE_TOO_LARGE,
            ),
        ],
    )
    async def test_a_message_is_never_sent_as_it_was_if_it_was_rewritten_wrongly(
        self, world: World, receiver: ScriptedReceiver, rewritten: object, code: ErrorCode
    ) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {SEND: says(0, MsgBody=rewritten)}
        refusal = await alice.refusal("send_message", group_id="g", body=body("rude"))
        assert refusal.code is code
        assert not ERRORS[refusal.code].retryable, "it would be asked again and again"
        assert not alice.texts("g")
        if code is ErrorCode.CALLBACK_REFUSED:
            assert "has changed this into something" in refusal.message

    @pytest.mark.parametrize(
        ("name", "method", "changes"),
        [
            (SEND, "send_message", {"CloudCustomData": {"a": 1}}),
            (INVITE, "invite_members", {"RefusedMembers_Account": "carol"}),
            (INVITE, "invite_members", {"RefusedMembers_Account": [1]}),
        ],
    )
    async def test_a_change_that_is_none_refuses_all_of_it(
        self,
        world: World,
        receiver: ScriptedReceiver,
        name: str,
        method: str,
        changes: dict[str, Any],
    ) -> None:
        alice = await world.online("alice")
        await alice.call("create_group", type="Work", name="-", group_id="g")
        params: dict[str, dict[str, Any]] = {
            "send_message": {"group_id": "g", "body": body("x")},
            "invite_members": {"group_id": "g", "user_ids": ["bob", "carol"]},
        }
        receiver.by_name = {name: says(0, **changes)}
        position = (await world.store.heads(0)).position
        refusal = await alice.refusal(method, **params[method])
        assert refusal.code is ErrorCode.CALLBACK_REFUSED
        assert (await world.store.heads(0)).position == position

    async def test_what_is_not_about_the_question_does_not_matter(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        """A veto counts whatever else is said, and a word on who joins rewrites no message."""
        alice = await group_of(world, receiver)
        nonsense: dict[str, Any] = {"MsgBody": "-", "RefusedMembers_Account": 1}
        receiver.by_name = {
            SEND: says(1, CloudCustomData=[], **nonsense),
            JOIN: says(0, **nonsense),
        }
        refusal = await alice.refusal("send_message", group_id="g", body=body("x"))
        assert refusal.code is ErrorCode.CALLBACK_REFUSED
        receiver.by_name[SEND] = Answer(200, b'{"ActionStatus":"FAIL","ErrorCode":1,"ErrorInfo":7}')
        refusal = await alice.refusal("send_message", group_id="g", body=body("x"))
        assert refusal.code is ErrorCode.CALLBACK_REFUSED
        bob = await world.online("bob")
        assert (await bob.call("join_group", group_id="g"))["status"] == "pending"

    @pytest.mark.parametrize("code", [-1, 3, 5, 10_002, 10_099, 10_201, 120_001, 2**31 + 1])
    async def test_any_other_number_refuses(
        self, world: World, receiver: ScriptedReceiver, code: int
    ) -> None:
        """Found by a reviewer: what was refused with such a number was let through."""
        alice = await group_of(world, receiver)
        bob = await world.online("bob")
        receiver.by_name = {SEND: says(code, "no"), JOIN: says(code), CREATE: says(code)}
        refusal = await alice.refusal("send_message", group_id="g", body=body("x"))
        assert (refusal.number, refusal.message) == (10016, "no")
        for method, params in (
            ("join_group", {"group_id": "g"}),
            ("create_group", {"type": "Work", "name": "-"}),
        ):
            assert (await bob.refusal(method, **params)).number == 10016
        assert not alice.texts("g")

    async def test_some_of_those_to_be_brought_in_are_refused(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await world.online("alice")
        await alice.call("create_group", type="Work", name="-", group_id="g")
        receiver.by_name = {INVITE: says(0, RefusedMembers_Account=["carol", "nobody"])}
        users = ["bob", "carol", "dave", "bob"]
        rows = (await alice.call("invite_members", group_id="g", user_ids=users))["members"]
        assert [(row["user_id"], row["result"]) for row in rows] == [
            ("bob", "added"),
            ("carol", "failed"),
            ("dave", "added"),
            ("bob", "already_member"),
        ]
        assert rows[1]["error"]["code"] == 10016
        receiver.by_name = {INVITE: says(0, RefusedMembers_Account=["erin"])}
        rows = (await alice.call("invite_members", group_id="g", user_ids=["erin"]))["members"]
        assert [row["result"] for row in rows] == ["failed"]


USELESS = {
    "down": DOWN,
    "500": Answer(500, b"{}"),
    "302": Answer(302, b""),
    "204": Answer(204, b""),
    "too long": Answer(200, None),
    "no JSON": Answer(200, b"<html>"),
    "a list": Answer(200, b"[]"),
    "no code": Answer(200, b'{"ActionStatus":"OK"}'),
    "a text as code": Answer(200, b'{"ActionStatus":"OK","ErrorCode":"0"}'),
    "no number": Answer(200, b'{"ActionStatus":"FAIL","ErrorCode":1e30}'),
    "failed without a code": Answer(200, b'{"ActionStatus":"FAIL","ErrorCode":0}'),
    "deep": Answer(200, b'{"MsgBody":' + b"[" * 30_000 + b"]" * 30_000 + b"}"),
}


class TestNoUsableAnswer:
    @pytest.mark.parametrize("useless", USELESS.values(), ids=USELESS)
    @pytest.mark.parametrize("blocks", [False, True])
    async def test_it_allows_or_blocks_as_configured(
        self, receiver: ScriptedReceiver, useless: Answer, blocks: bool
    ) -> None:
        async with world_on(MemoryStore(), receiver=receiver, blocks_on_failure=blocks) as world:
            alice = await group_of(world, receiver)
            receiver.by_name = {SEND: useless}
            reply = await alice.send("send_message", group_id="g", body=body("hi"))
            if blocks:
                assert reply.error is not None
                assert (reply.error.code, reply.error.retryable) == (80003, True)
            assert alice.texts("g") == ([] if blocks else ["hi"])

    async def test_code_2_means_something_for_messages_only(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        """For others it is a number like any other: it refuses."""
        await group_of(world, receiver)
        bob = await world.online("bob")
        receiver.by_name = {JOIN: says(2)}
        assert (await bob.refusal("join_group", group_id="g")).code is ErrorCode.CALLBACK_REFUSED

    async def test_one_that_answers_nonsense_is_asked_about_the_next_one_all_the_same(
        self, receiver: ScriptedReceiver
    ) -> None:
        """Found by reading: five messages that it could not read, and nobody's were looked at."""
        async with world_on(MemoryStore(), receiver=receiver, blocks_on_failure=True) as world:
            alice = await group_of(world, receiver)
            for useless in [*USELESS.values()] * 2:
                if isinstance(useless, Answer):
                    receiver.by_name = {SEND: useless}
                    await alice.send("send_message", group_id="g", body=body("unreadable"))
            receiver.by_name = {SEND: says(1)}
            reply = await alice.send("send_message", group_id="g", body=body("rude"))
            assert reply.error is not None
            assert reply.error.code == 10016

    async def test_whoever_waits_for_a_connection_says_nothing_about_the_receiver(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        assert world.questions is not None
        receiver.by_name = {SEND: NoConnection("none was free")}
        for number in range(20):
            await alice.say("g", str(number))
        assert len(receiver.told("BeforeSendMsg")) == 20
        assert (world.questions.outcomes["crowded"], world.questions.outcomes["failed"]) == (20, 0)
        receiver.by_name = {SEND: DOWN}
        for number in range(6):
            await alice.say("g", str(number))
        world.clock.advance(1_000)
        for reaction in (NoConnection("none was free"), OK):
            receiver.by_name = {SEND: reaction}
            asked = len(receiver.calls)
            await alice.say("g", "now")
            assert len(receiver.calls) == asked + 1, "it was no try, so the next one is"

    async def test_a_dead_receiver_is_not_asked_about_everything(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {SEND: DOWN}
        for number in range(20):
            await alice.say("g", str(number))
        assert len(receiver.told("BeforeSendMsg")) == 5
        receiver.by_name = {}
        world.clock.advance(1_000)
        await alice.say("g", "now")
        await alice.say("g", "and always")
        assert len(receiver.told("BeforeSendMsg")) == 7
        assert len(alice.texts("g")) == 22


async def test_what_is_not_taken_is_given_up_where_questions_are_answered(
    receiver: ScriptedReceiver,
) -> None:
    """Found by a reviewer: told in vain for ever, while each message was asked about."""
    told = "Group.CallbackAfterSendMsg"
    rulebook = rulebook_with({"WEBHOOK_ATTEMPTS": 3})
    async with world_on(MemoryStore(), rulebook, receiver=receiver) as world:
        alice, deliveries = await group_of(world, receiver), world.deliveries
        assert deliveries is not None

        async def told_again() -> int:
            """How many are given up after some more attempts."""
            for _ in range(3):
                world.clock.advance(600_000)
                await world.deliver()
            return deliveries.buried

        receiver.by_name = {told: Answer(500, b"")}
        await alice.say("g", "poison")
        assert await told_again() == 0
        for unusable in (Answer(500, b""), DOWN):
            receiver.by_name[SEND] = unusable
            await alice.say("g", "unasked")
            assert await told_again() == 0
        for word in (OK, says(1)):
            buried = deliveries.buried
            receiver.by_name[SEND] = word
            await alice.send("send_message", group_id="g", body=body("asked"))
            assert await told_again() == buried + 1


class TestCounts:
    async def test_what_came_of_each_question_is_counted(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        questions = world.questions
        assert questions is not None
        before = dict(questions.outcomes)
        text = [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "x"}}]
        answers: dict[str, Reaction] = {
            "allowed": OK,
            "refused": says(1),
            "vetoed": says(10_123),
            "dropped": says(2),
            "rewritten": says(0, MsgBody=text),
            "failed": DOWN,
        }
        for answer in answers.values():
            receiver.by_name = {SEND: answer}
            await alice.send("send_message", group_id="g", body=body("x"))
        receiver.by_name = {SEND: says(0, MsgBody="none")}
        await alice.send("send_message", group_id="g", body=body("x"))
        receiver.by_name = {SEND: DOWN}
        for _ in range(6):
            await alice.send("send_message", group_id="g", body=body("x"))
        grown = {name: count - before[name] for name, count in questions.outcomes.items()}
        assert grown == {
            **dict.fromkeys(answers, 1),
            "failed": 7,
            "some refused": 0,
            "crowded": 0,
            "not asked": 1,
        }
        assert sum(questions.durations.counts) == sum(questions.outcomes.values()) - 1

    async def test_the_time_that_it_takes_is_counted(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        assert world.questions is not None
        before = world.questions.durations.total
        receiver.by_name = {SEND: receiver.hold}
        said = alice.send("send_message", group_id="g", body=body("x"))
        await until(lambda: receiver.held)
        world.clock.advance(150)
        receiver.answer("x")
        await said
        assert world.questions.durations.total == before + 150


class TestOrder:
    async def test_changes_of_a_group_keep_their_order_behind_one_that_waits(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {SEND: receiver.hold}
        first = alice.send("send_message", group_id="g", body=body("1"))
        second = alice.send("send_message", group_id="g", body=body("2"))
        renamed = alice.send("update_group", group_id="g", name="new")
        read = alice.send("list_messages", group_id="g")
        await until(lambda: len(receiver.held) == 2)
        receiver.answer("2")
        for _ in range(50):
            await asyncio.sleep(0)
        assert not any(one.done() for one in (first, second, renamed, read))
        receiver.answer("1")
        await asyncio.wait([first, second, renamed, read])
        assert [event.event for event in alice.events[-3:]] == [
            "message",
            "message",
            "group_profile_changed",
        ]
        assert alice.texts("g") == ["1", "2"]
        events = (await read).result["events"]
        assert [one["event"] for one in events][-3:] == [
            "message",
            "message",
            "group_profile_changed",
        ]

    async def test_other_groups_and_connections_do_not_wait(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver, "bob")
        await alice.call("create_group", type="Work", name="-", group_id="h")
        bob = await world.online("bob")
        receiver.by_name = {SEND: receiver.hold}
        waiting = alice.send("send_message", group_id="g", body=body("1"))
        await alice.call("update_group", group_id="h", name="new")
        await bob.call("mark_read", group_id="g", seq=0)
        assert not waiting.done()
        receiver.answer("1")
        assert (await waiting).error is None

    async def test_what_names_no_group_waits_for_all_and_all_for_it(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {SEND: receiver.hold}
        said = alice.send("send_message", group_id="g", body=body("1"))
        handled = alice.send("handle_applications", application_ids=["a"], accept=True)
        renamed = alice.send("update_group", group_id="g", name="new")
        await until(lambda: receiver.held)
        assert not any(one.done() for one in (handled, renamed))
        receiver.answer("1")
        await asyncio.wait([said, handled, renamed])

    async def test_a_refused_one_lets_the_next_go_on(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {SEND: receiver.hold}
        first = alice.send("send_message", group_id="g", body=body("1"))
        second = alice.send("send_message", group_id="g", body=body("2"))
        await until(lambda: len(receiver.held) == 2)
        receiver.answer("1", says(1))
        receiver.answer("2")
        await asyncio.wait([first, second])
        assert alice.texts("g") == ["2"]

    async def test_a_drain_waits_for_the_word(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {SEND: receiver.hold}
        said = alice.send("send_message", group_id="g", body=body("1"))
        settled = asyncio.ensure_future(world.dispatcher.settled())
        await until(lambda: receiver.held)
        assert not settled.done()
        receiver.answer("1")
        await settled
        assert said.done()


class TestExactlyOnce:
    async def send(self, device: Device, text: str, request_id: str) -> dict[str, Any]:
        return await device.call(
            "send_message", group_id="g", body=body(text), request_id=request_id
        )

    async def test_what_was_done_is_not_vetoed_when_it_is_repeated(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        sent = await self.send(alice, "hi", "r1")
        receiver.by_name = {SEND: says(1)}
        phone = await world.online("alice", "d2")
        assert await self.send(phone, "hi", "r1") == sent
        assert len(receiver.told("BeforeSendMsg")) == 1

    async def test_who_repeats_while_it_is_asked_gets_the_same_word(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        phone = await world.online("alice", "d2")
        tablet = await world.online("alice", "d3")
        for number, answer in ((1, OK), (2, says(10150, "no"))):
            receiver.by_name = {SEND: receiver.hold}
            request: dict[str, Any] = {
                "group_id": "g",
                "body": body("hi"),
                "request_id": f"r{number}",
            }
            first = alice.send("send_message", **request)
            await until(lambda: receiver.held)
            second = phone.send("send_message", **request)
            other = tablet.send("send_message", **{**request, "body": body("other")})
            receiver.answer("hi", answer)
            one, two, three = await first, await second, await other
            assert three.error is not None
            assert three.error.name == "REQUEST_ID_CONFLICT"
            assert (one.result, one.error) == (two.result, two.error)
            assert not receiver.held
        assert alice.texts("g") == ["hi"]

    async def test_what_is_repeated_is_never_done_as_it_was_before_the_word(
        self, store: Store, receiver: ScriptedReceiver
    ) -> None:
        """Found by reading: the repeat of a request that was rewritten and then refused was done
        without a word, as it had been."""
        hooked = HookedStore(store)
        async with world_on(hooked.store, receiver=receiver) as world:
            owner = await group_of(world, receiver, "bob")
            bob, phone = await world.online("bob"), await world.online("bob", "d2")
            receiver.by_name = {SEND: receiver.hold}
            earlier = phone.send("send_message", group_id="g", body=body("earlier"))
            first = bob.send("send_message", group_id="g", body=body("rude"), request_id="r1")
            await until(lambda: len(receiver.held) == 2)
            release = asyncio.Event()
            hooked.before["commit"] = release.wait  # type: ignore[assignment]
            muted = owner.send("update_group", group_id="g", mute_all=True)
            await until(lambda: hooked.calls["commit"] == 2)
            masked = [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "***"}}]
            receiver.answer("rude", says(0, MsgBody=masked))
            await until(lambda: world.executor.has_taken(RequestKey("bob", "r1")))
            again = phone.send("send_message", group_id="g", body=body("rude"), request_id="r1")
            for _ in range(20):
                await asyncio.sleep(0)
            hooked.before.clear()
            release.set()
            refusal = (await first).error
            assert refusal is not None
            assert refusal.name == "MUTED"
            await muted
            await owner.call("update_group", group_id="g", mute_all=False)
            receiver.answer("earlier")
            assert (await earlier).error is None
            late = (await again).error
            assert bob.texts("g") == ["earlier"]
            assert late is not None
            assert late.retryable
            receiver.by_name = {SEND: says(0, MsgBody=masked)}
            await phone.call("send_message", group_id="g", body=body("rude"), request_id="r1")
            assert bob.texts("g") == ["earlier", "***"]

    async def test_a_veto_is_not_remembered(self, world: World, receiver: ScriptedReceiver) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {SEND: says(1)}
        request: dict[str, Any] = {"group_id": "g", "body": body("hi"), "request_id": "r1"}
        assert (await alice.refusal("send_message", **request)).code is ErrorCode.CALLBACK_REFUSED
        receiver.by_name = {}
        assert (await alice.call("send_message", **request))["seq"] == 1

    async def test_whoever_goes_while_it_is_asked_finds_it_done(
        self, world: World, receiver: ScriptedReceiver
    ) -> None:
        alice = await group_of(world, receiver)
        receiver.by_name = {SEND: receiver.hold}
        request: dict[str, Any] = {"group_id": "g", "body": body("hi"), "request_id": "r1"}
        said = alice.send("send_message", **request)
        await until(lambda: receiver.held)
        alice.drop()
        with pytest.raises(Gone):
            await said
        receiver.answer("hi")
        phone = await world.online("alice", "d2")
        assert (await phone.call("send_message", **request))["seq"] == 1


async def test_nothing_is_asked_that_nobody_wants_to_be_asked(
    store: Store, receiver: ScriptedReceiver
) -> None:
    async with world_on(store, receiver=receiver, callbacks={JOIN}) as world:
        alice = await group_of(world, receiver)
        await alice.say("g", "hi")
        assert not receiver.calls
        assert rulebook_with().limits["WEBHOOK_BEFORE_MS"] == 2_000
