"""From a request to its answer: shapes, ids, rates, order, and who may speak for whom."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from protocol.codec import JSON, MSGPACK, Codec
from protocol.errors import CloseCode, ErrorCode, Refused
from protocol.methods import METHODS
from server.service.ports import OutcomeUnknown, Unavailable
from server.storage.memory import MemoryStore
from tests.kit.devices import ADMIN, EPOCH, World, body, refusal_of, rulebook_with, world_on
from tests.kit.fakes import Gate, HookedStore, until_idle

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])

A_WORK_GROUP: dict[str, Any] = {"type": "Work", "name": "-"}


class Held:
    """A world in memory whose store can be held back."""

    def __init__(self, world: World, hooked: HookedStore, gate: Gate) -> None:
        self.world = world
        self.hooked = hooked
        self.gate = gate


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    hooked, gate = HookedStore(MemoryStore(epoch=EPOCH)), Gate()
    gate.stand_in(hooked, ["commit"])
    async with world_on(hooked.store, rulebook_with({"REQUESTS_IN_FLIGHT": 4})) as world:
        yield Held(world, hooked, gate)
        gate.open()


# Order.


async def test_a_read_sees_what_the_same_connection_changed_before_it(world: World) -> None:
    alice = await world.online("alice")
    for number in range(5):
        made = alice.send("create_group", **A_WORK_GROUP, group_id=f"g{number}")
        seen = await alice.call("get_groups", group_ids=[f"g{number}"])
        assert "error" not in seen["groups"][0]
        assert made.done()


async def test_a_read_does_not_wait_for_other_connections(held: Held) -> None:
    alice, bob = await held.world.online("alice"), await held.world.online("bob")
    held.gate.shut(["before commit"])
    made = alice.send("create_group", **A_WORK_GROUP)
    read = bob.send("list_joined_groups")
    await until_idle()
    assert read.done()
    assert not made.done()


async def test_a_read_ends_with_the_dispatcher_though_the_change_before_it_does_not(
    held: Held,
) -> None:
    alice = await held.world.online("alice")
    held.gate.shut(["before commit"])
    made = alice.send("create_group", **A_WORK_GROUP)
    read = alice.send("list_joined_groups")
    await until_idle()
    assert not made.done()
    [task] = held.world.dispatcher._reads
    await held.world.dispatcher.stop()
    assert task.cancelled()
    assert not read.done()


async def test_a_read_does_not_wait_for_later_changes(held: Held) -> None:
    alice = await held.world.online("alice")
    held.gate.shut(["before commit"])
    read = alice.send("list_joined_groups")
    made = alice.send("create_group", **A_WORK_GROUP)
    await until_idle()
    assert read.done()
    assert not made.done()


async def test_a_read_waits_for_every_earlier_change_also_beside_a_refused_one(
    held: Held,
) -> None:
    alice = await held.world.online("alice")
    held.gate.shut(["before commit"])
    for group_id in ("g", "h"):
        alice.send("create_group", request_id="x", **A_WORK_GROUP, group_id=group_id).done()
    read = alice.send("get_groups", group_ids=["g"])
    await until_idle()
    (conflict,) = alice.replies["x"]
    assert conflict.error is not None
    assert conflict.error.name == "REQUEST_ID_CONFLICT"
    assert not read.done()
    held.gate.open()
    await until_idle()
    assert alice.replies["x"][1].error is None
    assert "error" not in read.result().result["groups"][0]


async def test_a_read_waits_for_every_earlier_change_also_beside_a_copy(held: Held) -> None:
    alice, other = await held.world.online("alice"), await held.world.online("alice", "other")
    held.gate.shut(["before commit"])
    first = other.send("create_group", request_id="x", **A_WORK_GROUP)
    await until_idle()
    made = alice.send("create_group", **A_WORK_GROUP, group_id="g")
    copy = alice.send("create_group", request_id="x", **A_WORK_GROUP)
    read = alice.send("get_groups", group_ids=["g"])
    held.gate.let_through()
    await until_idle()
    assert [first.done(), copy.done(), made.done(), read.done()] == [True, True, False, False]
    held.gate.open()
    await until_idle()
    assert "error" not in read.result().result["groups"][0]


# How many, how fast.


async def test_one_request_too_many_in_flight_is_refused_and_the_others_are_answered(
    held: Held,
) -> None:
    alice = await held.world.online("alice")
    held.gate.shut(["before commit"])
    taken = [alice.send("create_group", **A_WORK_GROUP) for _ in range(4)]
    refused = await alice.refusal("list_devices")
    assert refused.code is ErrorCode.TOO_MANY_REQUESTS
    assert refused.detail == {"rule": "requests_in_flight", "have": 4, "need": 4}
    held.gate.open()
    await until_idle()
    assert [reply.result().error for reply in taken] == [None] * 4
    await alice.call("list_devices")


async def test_the_limit_in_flight_is_of_one_connection(held: Held) -> None:
    alice, other = await held.world.online("alice"), await held.world.online("alice", "other")
    held.gate.shut(["before commit"])
    for _ in range(4):
        alice.send("create_group", **A_WORK_GROUP).done()
    await other.call("list_devices")


async def test_a_refused_shape_is_no_longer_in_flight(held: Held) -> None:
    alice = await held.world.online("alice")
    for _ in range(20):
        await alice.refusal("no_such_method")
        await alice.refusal("create_group")
    await alice.call("list_devices")


async def test_requests_over_the_rate_are_refused_until_the_time_that_is_named() -> None:
    limits = {"REQUESTS_PER_S": 2, "REQUESTS_BURST": 3}
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(limits)) as world:
        alice = await world.online("alice")
        for _ in range(3):
            await alice.call("list_devices")
        refused = await alice.refusal("list_devices")
        assert refused.code is ErrorCode.TOO_MANY_REQUESTS
        assert refused.detail == {"rule": "requests_per_s", "retry_after_ms": 500}
        world.clock.advance(499)
        await alice.refusal("list_devices")
        world.clock.advance(1)
        await alice.call("list_devices")


async def test_the_rate_of_a_user_is_that_of_all_devices() -> None:
    limits = {"USER_REQUESTS_PER_S": 1}
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(limits)) as world:
        one, two = await world.online("alice", "d1"), await world.online("alice", "d2")
        bob = await world.online("bob")
        await one.call("list_devices")
        await two.call("list_devices")
        refused = await one.refusal("list_devices")
        assert refused.detail["rule"] == "user_requests_per_s"
        await bob.call("list_devices")


async def test_whoever_goes_on_after_many_warnings_is_sent_away() -> None:
    limits = {"REQUESTS_PER_S": 1, "REQUESTS_BURST": 1, "RATE_WARNINGS": 5}
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(limits)) as world:
        alice = await world.online("alice")
        for _ in range(7):
            alice.send("list_devices").done()
        assert alice.closed is not None
        assert alice.closed.code is CloseCode.TOO_MANY
        assert alice.closed.retry_after_ms


# Shapes.


@BOTH
async def test_a_method_that_does_not_exist_is_named(codec: Codec, held: Held) -> None:
    alice = await held.world.online("alice", codec=codec)
    refused = await alice.refusal("make_coffee")
    assert refused.code is ErrorCode.UNKNOWN_METHOD
    assert refused.detail["field"] == "method"
    assert "make_coffee" in refused.message
    refused = await alice.refusal("x" * 10_000)
    assert len(refused.message) < 200


@BOTH
@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("create_group", {"type": "Work"}, "params.name"),
        ("create_group", {"type": "Work", "name": 1}, "params.name"),
        ("create_group", {"type": "Work", "name": None}, "params.name"),
        ("create_group", {"type": "Club", "name": "-"}, "params.type"),
        ("create_group", {**A_WORK_GROUP, "owner": "x"}, "params.owner"),
        ("create_group", {**A_WORK_GROUP, "members": {}}, "params.members"),
        ("create_group", {**A_WORK_GROUP, "members": [1]}, "params.members[0]"),
        ("create_group", {**A_WORK_GROUP, "members": [{}]}, "params.members[0].user_id"),
        (
            "create_group",
            {**A_WORK_GROUP, "members": [{"user_id": "a"}, {"user_id": "b", "x": 1}]},
            "params.members[1].x",
        ),
        ("create_group", {**A_WORK_GROUP, "max_member_count": 0}, "params.max_member_count"),
        ("create_group", {**A_WORK_GROUP, "max_member_count": True}, "params.max_member_count"),
        ("create_group", {**A_WORK_GROUP, "max_member_count": 1.5}, "params.max_member_count"),
        ("list_members", {"group_id": "g", "limit": 0}, "params.limit"),
        ("list_messages", {"group_id": "g", "after_seq": -1}, "params.after_seq"),
        ("send_message", {"group_id": "g", "body": [{"type": "text"}]}, "params.body[0].content"),
        (
            "send_message",
            {"group_id": "g", "body": [{"type": "text", "content": {"text": "-", "y": 1}}]},
            "params.body[0].content.y",
        ),
        ("send_message", {"group_id": "g", "body": [{"type": "?"}]}, "params.body[0].type"),
        ("list_devices", {"as_user_id": "bob"}, "params.as_user_id"),
    ],
)
async def test_what_is_wrong_with_the_parameters_is_named_by_its_place(
    codec: Codec, held: Held, method: str, params: dict[str, Any], field: str
) -> None:
    alice = await held.world.online("alice", codec=codec)
    refused = await alice.refusal(method, **params)
    assert refused.code is ErrorCode.BAD_REQUEST
    assert refused.detail["field"] == field
    assert field in refused.message


@pytest.mark.parametrize("name", ["a`b", "x - at `$.y", "`", "", "é" * 500, "a\nb", "$[0]"])
async def test_an_unknown_field_of_any_name_is_refused(held: Held, name: str) -> None:
    alice = await held.world.online("alice")
    params: dict[str, Any] = {name: 1}
    refused = await alice.refusal("list_devices", **params)
    assert refused.code is ErrorCode.BAD_REQUEST
    assert str(refused.detail["field"]).startswith("params")


@pytest.mark.parametrize(
    "request_id", ["", "x" * 65, "a\nb", "\x7f", "é", "\x00", "a\x00", "\u200b", "x\n"]
)
async def test_an_id_under_which_no_answer_can_be_given_ends_the_connection(
    held: Held, request_id: str
) -> None:
    alice = await held.world.online("alice")
    message = {"type": "request", "id": request_id, "method": "list_devices"}
    alice.send_bytes(JSON.encode(message))
    assert alice.closed is not None
    assert alice.closed.code is CloseCode.MALFORMED


@pytest.mark.parametrize("request_id", ["x" * 64, " ", "~", "01J9-a_b.c:d/e", "'; drop table--"])
async def test_an_id_of_printable_characters_is_answered(world: World, request_id: str) -> None:
    alice = await world.online("alice")
    made = await alice.call("create_group", request_id=request_id, **A_WORK_GROUP)
    again = await alice.call("create_group", request_id=request_id, **A_WORK_GROUP)
    assert again == made


async def test_a_message_over_the_value_limits_is_answered_and_the_connection_lives(
    held: Held,
) -> None:
    alice = await held.world.online("alice", codec=MSGPACK)
    refused = await alice.refusal("get_groups", group_ids=["g"] * 1001)
    assert refused.code is ErrorCode.BAD_REQUEST
    await alice.call("list_devices")


@pytest.mark.parametrize("method", list(METHODS))
async def test_every_method_has_somebody_who_answers_it(
    method: str, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await held.world.online("alice")
    params: dict[str, Any] = {
        field: example_of(schema)
        for field, schema in METHODS[method].describe().params["properties"].items()  # type: ignore[attr-defined]
        if field in METHODS[method].describe().params.get("required", [])  # type: ignore[operator]
    }
    reply = await alice.send(method, **params)
    if reply.error is not None:
        assert ErrorCode(reply.error.code) not in (ErrorCode.INTERNAL, ErrorCode.UNKNOWN_METHOD)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def example_of(schema: dict[str, Any]) -> object:
    """The simplest value of a parameter."""
    if "$ref" in schema:
        return "Work"
    kinds = {"string": "x", "integer": 1, "boolean": True, "array": [], "object": {}}
    return kinds[schema["type"]]


PARAMETERS = st.dictionaries(
    st.sampled_from(
        sorted(
            {
                field
                for method in METHODS.values()
                for field in method.command.__struct_encode_fields__
            }
        )
    ),
    st.none()
    | st.booleans()
    | st.integers(-5, 2**53 - 1)
    | st.text(max_size=5)
    | st.sampled_from(["g", "alice", "bob", "Work", "Public", "owner", "Discard", "MQ"])
    | st.lists(st.sampled_from(["g", "alice", "bob", ""]), max_size=3)
    | st.dictionaries(st.sampled_from(["a", "k"]), st.text(max_size=3) | st.integers(), max_size=2),
    max_size=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    requests=st.lists(st.tuples(st.sampled_from(list(METHODS)), PARAMETERS), max_size=8),
    user_id=st.sampled_from(["alice", ADMIN]),
)
def test_whatever_is_asked_nothing_breaks(
    requests: list[tuple[str, dict[str, Any]]], user_id: str
) -> None:
    async def ask() -> None:
        async with world_on(MemoryStore(epoch=EPOCH)) as world:
            device = await world.online(user_id)
            await device.call("create_group", **A_WORK_GROUP, group_id="g")
            for method, params in requests:
                params.setdefault("group_id", "g")
                reply = await device.send(method, **params)
                assert reply.error is None or reply.error.code != ErrorCode.INTERNAL
            assert world.fatal == 0

    asyncio.run(ask())


# Who speaks for whom.


async def test_only_an_operator_acts_in_another_users_name(world: World) -> None:
    alice = await world.online("alice")
    refused = await alice.refusal("create_group", **A_WORK_GROUP, as_user_id="bob")
    assert refused.code is ErrorCode.NO_PERMISSION
    assert refused.detail["rule"] == "as_user_id"
    refused = await alice.refusal("create_group", **A_WORK_GROUP, as_user_id="alice")
    assert refused.code is ErrorCode.NO_PERMISSION
    assert not await world.log()


async def test_what_an_operator_does_in_a_users_name_is_that_users(world: World) -> None:
    admin, bob = await world.online(ADMIN), await world.online("bob")
    made = await admin.call("create_group", **A_WORK_GROUP, group_id="g", as_user_id="bob")
    assert made["group"]["owner_id"] == "bob"
    await admin.call("send_message", group_id="g", body=body("hi"), as_user_id="bob")
    await world.settle()
    assert [event.from_id for event in bob.events if event.event == "message"] == ["bob"]
    assert not admin.events


async def test_an_operators_request_ids_are_the_operators(world: World) -> None:
    admin, bob = await world.online(ADMIN), await world.online("bob")
    params = {**A_WORK_GROUP, "group_id": "g"}
    await admin.call("create_group", request_id="x", **params, as_user_id="bob")
    refused = await bob.refusal("create_group", request_id="x", **params)
    assert refused.code is ErrorCode.GROUP_ID_TAKEN_BY_YOU


@pytest.mark.parametrize("user_id", ["", "x" * 33, "a\nb", "é"])
async def test_nobody_acts_in_the_name_of_what_is_no_user_id(world: World, user_id: str) -> None:
    admin = await world.online(ADMIN)
    await admin.call("create_group", **A_WORK_GROUP, group_id="g")
    refused = await admin.refusal("send_message", group_id="g", body=body("hi"), as_user_id=user_id)
    assert refused.code is ErrorCode.INVALID_USER_ID


# Failures.


@pytest.mark.parametrize("error", [Unavailable("busy"), OutcomeUnknown("fenced")])
async def test_a_read_that_the_store_cannot_serve_may_be_tried_again(
    held: Held, error: Exception
) -> None:
    alice = await held.world.online("alice")
    held.hooked.fail("groups_version", error)
    refused = await alice.refusal("list_joined_groups")
    assert refused.code is ErrorCode.UNAVAILABLE
    await alice.call("list_joined_groups")


async def test_a_bug_in_a_read_is_answered_and_logged(
    held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await held.world.online("alice")
    held.hooked.fail("groups_version", ZeroDivisionError())
    refused = await alice.refusal("list_joined_groups")
    assert refused.code is ErrorCode.INTERNAL
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    await alice.call("list_joined_groups")


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
async def test_an_error_travels_with_code_name_message_and_detail(codec: Codec, held: Held) -> None:
    alice = await held.world.online("alice", codec=codec)
    reply = await alice.send("disband_group", group_id="nowhere")
    assert reply.result is None
    error = reply.error
    assert error is not None
    assert (error.code, error.name, error.retryable) == (10010, "GROUP_NOT_FOUND", False)
    assert error.detail == {"group_id": "nowhere"}
    assert isinstance(refusal_of(error), Refused)
