"""Who is told what of profiles, messages and the pending list (``groups.md`` section 5).

The scene and the lines are those of ``test_audiences``.
"""

import msgspec
import pytest

from protocol import commands, events
from protocol.messages import text_body
from protocol.results import ApplicationKind, ApplicationStatus
from protocol.vocabulary import ApplyJoinOption, EventKind, GroupType, InviteJoinOption
from server.domain.model import Application, Attributes, Decision, Entry, ReadState, Slice
from server.domain.rules import Rulebook
from tests.domain.building import (
    ADAM,
    LONG_AGO_MS,
    MIA,
    NOW_MS,
    OLGA,
    ROOT,
    RULES,
    STORED_TYPES,
    TYPES,
    application,
    cases,
    done,
    field,
    group,
    rules,
    state,
    tea,
)
from tests.domain.outcomes import heard, said, told
from tests.domain.table import section

EVERYBODY = ("olga", "adam", "mia", "sam")
WITH_TOPIC = rules(group_fields={"topic": field()})
JOIN = ApplicationKind.JOIN
FOR_ADMIN = ApplicationKind.INVITE_NEEDS_ADMIN
FOR_INVITEE = ApplicationKind.INVITE_NEEDS_INVITEE


def place(group_type: GroupType) -> str:
    """Where a type's tips on changes of the profile go; every type has them."""
    return {"stored": "log", "pushed": "connected"}[section("tips")["profile change"][group_type]]


@pytest.mark.parametrize("group_type", TYPES)
def test_the_profile_changes(group_type: GroupType) -> None:
    command = commands.UpdateGroup(
        group_id="g", name="Coffee", introduction="", custom={"topic": "beans"}
    )
    decision = done(tea(group_type), command, "olga", WITH_TOPIC)
    assert told(decision) == [f"{place(group_type)}: tip group_profile_changed 6"]
    (changed,) = said(decision, "group_profile_changed")
    assert changed == events.ProfileChanged(version=8, name="Coffee", custom={"topic": "beans"})
    assert heard(decision, EVERYBODY) == {user: ["group_profile_changed"] for user in EVERYBODY}


@pytest.mark.parametrize("group_type", TYPES)
def test_options_and_mute_all_change_without_a_tip(group_type: GroupType) -> None:
    assert section("tips")["mute-all and join options"][group_type] == "no"
    changes: list[dict[str, object]] = [{"mute_all": True}]
    if group_type is not GroupType.WORK:
        changes.append({"apply_join_option": ApplyJoinOption.DISABLE_APPLY})
    if group_type is not GroupType.AVCHATROOM:
        changes.append({"invite_join_option": InviteJoinOption.DISABLE_INVITE})
    for changed in changes:
        command = msgspec.structs.replace(commands.UpdateGroup(group_id="g"), **changed)
        decision = done(tea(group_type), command, "olga")
        assert told(decision) == ["olga: notice group_profile_changed 26"]
        (data,) = said(decision, "group_profile_changed")
        assert msgspec.to_builtins(data) == {"version": 8, **msgspec.to_builtins(changed)}


@pytest.mark.parametrize("group_type", TYPES)
def test_only_what_is_announced_is_in_the_tip(group_type: GroupType) -> None:
    command = commands.UpdateGroup(group_id="g", name="Coffee", mute_all=True)
    decision = done(tea(group_type), command, "olga")
    assert sorted(told(decision)) == sorted(
        [
            f"{place(group_type)}: tip group_profile_changed 6",
            "olga: notice group_profile_changed 26",
        ]
    )
    of_tip, of_notice = sorted(
        said(decision, "group_profile_changed"), key=lambda d: d.name is None
    )
    assert (of_tip.name, of_tip.mute_all) == ("Coffee", None)
    assert (of_notice.name, of_notice.mute_all) == (None, True)


@pytest.mark.parametrize("group_type", TYPES)
def test_attributes_change(group_type: GroupType) -> None:
    of = tea(group_type, seen={"attributes": Attributes(group_id="g", values={"a": "1", "b": "2"})})
    put = commands.SetAttributes(group_id="g", attributes={"a": "1", "c": "3"})
    dropped = commands.DeleteAttributes(group_id="g", keys=["b"])
    expected: list[tuple[commands.ChangingCommand, dict[str, str | None]]]
    expected = [(put, {"c": "3"}), (dropped, {"b": None})]
    for command, changes in expected:
        decision = done(of, command, "olga")
        assert told(decision) == [f"{place(group_type)}: tip group_profile_changed 6"]
        assert said(decision, "group_profile_changed") == [
            events.ProfileChanged(version=8, attributes=changes)
        ]


@pytest.mark.parametrize("group_type", TYPES)
def test_counters_are_pushed_and_never_stored(group_type: GroupType) -> None:
    decision = done(tea(group_type), commands.AddCounters(group_id="g", deltas={"likes": 2}), "mia")
    assert told(decision) == ["connected: tip group_profile_changed 6"]
    assert said(decision, "group_profile_changed") == [events.ProfileChanged(counters={"likes": 2})]


@pytest.mark.parametrize("group_type", TYPES)
def test_a_message_is_sent(group_type: GroupType) -> None:
    for online_only in (False, True):
        command = commands.SendMessage(
            group_id="g", body=text_body("hello"), online_only=online_only, at_user_ids=["sam"]
        )
        decision = done(tea(group_type, seen={"fresh_token": "m1"}), command, "mia")
        is_kept = section("keeps")["history is kept"][group_type] == "yes" and not online_only
        where = "log" if is_kept else "connected"
        assert told(decision) == [f"{where}: message message"]
        (entry,) = decision.entries
        assert (entry.from_id, entry.message_id, entry.actor_id) == ("mia", "m1", None)
        assert heard(decision, EVERYBODY) == {user: ["message"] for user in EVERYBODY}
        assert (decision.spoke is not None) == is_kept


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_message_is_recalled(group_type: GroupType) -> None:
    entry = Entry(
        kind=EventKind.MESSAGE,
        event="message",
        group_id="g",
        time_ms=NOW_MS,
        from_id="mia",
        data=events.MessageData(body=text_body("oops")),
    )
    command = commands.RecallMessage(group_id="g", seq=3, reason="typo")
    decision = done(tea(group_type, seen={"entry": entry}), command, "adam")
    assert told(decision) == ["log: message message_recalled"]
    assert said(decision, "message_recalled") == [
        events.MessageRecalled(recalled_seq=3, from_id="mia", reason="typo")
    ]


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_read_position_is_told_to_the_own_devices(group_type: GroupType) -> None:
    of = tea(group_type, seen={"read_state": ReadState(head_seq=9, read_seq=2)})
    decision = done(of, commands.MarkRead(group_id="g", seq=5), "mia")
    assert told(decision) == ["mia: notice read 15"]
    counts = section("keeps")["unread counts"][group_type] == "yes"
    assert said(decision, "read") == [events.Read(read_seq=5, unread=4 if counts else 0)]


def test_a_list_that_was_read_is_told_to_the_own_devices() -> None:
    decision = done(Slice(group=None), commands.ReadApplications(up_to_ms=5), "olga")
    assert told(decision) == ["olga: notice applications_read 15"]


def _handled(
    group_type: GroupType,
    waiting: Application,
    who: str,
    *,
    accept: bool = True,
    rulebook: Rulebook = RULES,
) -> Decision:
    of = cases((waiting, tea(group_type)))
    command = commands.HandleApplications(
        application_ids=[waiting.application_id], accept=accept, message="well"
    )
    return done(of, command, ROOT if who == "root" else who, rulebook)


def _but_for_copies(decision: Decision, actor: str) -> list[str]:
    """The lines without what shows the actor's own devices what no tip tells (26 and above)."""
    return [
        line
        for entry, line in zip(decision.entries, told(decision), strict=True)
        if entry.inbox_of != actor or entry.op not in range(26, 255)
    ]


def _arrival(group_type: GroupType, notice: str, tip: str) -> list[str]:
    """The lines of zoe's coming in."""
    if section("tips")["join, invite, kick, quit"][group_type] == "no":
        return [f"{notice} joined=zoe"]
    return [notice, f"log: tip {tip} 1 joined=zoe"]


@pytest.mark.parametrize("group_type", [kind for kind in STORED_TYPES if kind != GroupType.WORK])
@pytest.mark.parametrize("who", ["adam", "root"])
def test_an_application_is_approved_or_rejected(group_type: GroupType, who: str) -> None:
    in_step = [f"{user}: notice application_handled 22" for user in ("olga", "adam")]
    in_step += ["root: notice application_handled 22"] if who == "root" else []
    approved = _handled(group_type, application(), who)
    assert _but_for_copies(approved, who) == [
        *_arrival(group_type, "zoe: notice join_approved 2", "member_joined"),
        *in_step,
    ]
    (answer,) = said(approved, "join_approved")
    assert (answer.handler_id, answer.message, answer.status) == (who, "well", "approved")
    assert answer.group is not None
    assert answer.group.member_count == 5
    tips = [entry.actor_id for entry in approved.entries if entry.kind is EventKind.TIP]
    assert set(tips) <= {"zoe"}, "who joins does it, whoever agreed"
    rejected = _handled(group_type, application(), who, accept=False)
    assert told(rejected) == ["zoe: notice join_rejected 3", *in_step]
    assert said(rejected, "join_rejected")[0].status is ApplicationStatus.REJECTED


@pytest.mark.parametrize("group_type", STORED_TYPES)
@pytest.mark.parametrize(("kind", "who"), [(FOR_ADMIN, "olga"), (FOR_INVITEE, "zoe")])
def test_an_invitation_is_accepted_or_refused(
    group_type: GroupType, kind: ApplicationKind, who: str
) -> None:
    waiting = application(kind=kind)
    listed = ["olga", "adam"] if kind is FOR_ADMIN else ["zoe"]
    in_step = [f"{user}: notice application_handled 22" for user in listed]
    accepted = _handled(group_type, waiting, who)
    assert _but_for_copies(accepted, who) == [
        *_arrival(group_type, "zoe: notice invited 7", "member_invited"),
        "mia: notice invite_accepted 13",
        *in_step,
    ]
    brought = [
        entry
        for entry in accepted.entries
        if entry.event == "invited" or entry.kind is EventKind.TIP
    ]
    assert {entry.actor_id for entry in brought} == {"mia"}, "who invited, not who agreed"
    refused = _handled(group_type, waiting, who, accept=False)
    assert told(refused) == ["mia: notice invite_rejected 14", *in_step]


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_an_invitation_that_an_admin_approved_waits_for_the_invitee(group_type: GroupType) -> None:
    decision = _handled(
        group_type, application(kind=FOR_ADMIN), "olga", rulebook=rules(consent=True)
    )
    assert told(decision) == [
        "olga: notice application_handled 22",
        "adam: notice application_handled 22",
        "zoe: notice invite_requested 12",
    ]


def test_the_oldest_is_dropped_and_its_applicant_and_handlers_hear_of_it() -> None:
    """Mia asked for yan in another group of olga's, whose other admin is eve."""
    oldest = application("yan", kind=FOR_ADMIN, group_id="h")
    others = [application(f"u{number}", created_ms=LONG_AGO_MS + number) for number in range(1, 50)]
    of = state(
        group(GroupType.PUBLIC, apply_join_option=ApplyJoinOption.NEED_PERMISSION),
        OLGA,
        ADAM,
        MIA,
        handlers=["olga", "adam"],
        pending={"olga": [oldest, *others], "adam": others},
        handlers_of={"g": ["olga", "adam"], "h": ["olga", "eve"]},
    )
    decision = done(of, commands.JoinGroup(group_id="g"), "zoe")
    assert told(decision) == [
        "olga: notice application_handled 22",
        "eve: notice application_handled 22",
        "mia: notice invite_rejected 14",
        "olga: notice join_requested 1",
        "adam: notice join_requested 1",
    ]
    dropped = [entry for entry in decision.entries if entry.group_id == "h"]
    assert len(dropped) == 3
    assert {entry.data.status for entry in dropped} == {ApplicationStatus.DROPPED}
