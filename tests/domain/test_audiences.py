"""Who is told what when people come, go and are changed (``groups.md`` section 5).

In every scene olga owns the group, adam is its admin, mia and sam are members; zoe and root, an
account of the operator, are not in it. The lines are those of ``building.told``.
"""

import msgspec
import pytest

from protocol import commands, events
from protocol.results import ApplicationKind
from protocol.vocabulary import ApplyJoinOption, GroupType, InviteJoinOption, ReceiveOption, Role
from server.domain.jobs import RecycleGroup
from server.domain.model import Actor
from tests.domain.building import (
    ADAM,
    MIA,
    NOW_MS,
    OLGA,
    ROOT,
    SAM,
    STORED_TYPES,
    TYPES,
    done,
    group,
    member,
    rules,
    state,
    tea,
)
from tests.domain.outcomes import heard, said, told
from tests.domain.table import section

EVERYBODY = ("olga", "adam", "mia", "sam")
ROLES_TIPS, MEMBERS_TIPS = "mute, admin set or cancelled", "join, invite, kick, quit"

WITH_ADMINS = (GroupType.PUBLIC, GroupType.MEETING, GroupType.COMMUNITY)


def tip_place(kind: str, group_type: GroupType) -> str | None:
    """Where the type's tips of this kind go: "log", "connected" or nowhere."""
    return {"stored": "log", "pushed": "connected"}.get(section("tips")[kind][group_type])


def test_a_group_is_created() -> None:
    for group_type in TYPES:
        command = commands.CreateGroup(type=group_type, name="Tea")
        decision = done(state(fresh_token="a"), command, "olga")
        assert told(decision) == ["olga: notice group_created 6 joined=olga"]
        assert heard(decision, ()) == {"olga": ["group_created"]}


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_group_is_created_with_members(group_type: GroupType) -> None:
    initial = [commands.InitialMember(user_id="mia"), commands.InitialMember(user_id="x" * 33)]
    command = commands.CreateGroup(type=group_type, name="Tea", members=initial)
    decision = done(state(fresh_token="a"), command, "olga")
    assert told(decision) == [
        "olga: notice group_created 6 joined=olga",
        "mia: notice invited 7 joined=mia",
    ]
    assert [data.group.member_count for data in said(decision, "group_created")] == [2]
    assert [data.role for data in said(decision, "invited")] == [Role.MEMBER]


@pytest.mark.parametrize("group_type", TYPES)
def test_a_group_is_disbanded_or_recycled(group_type: GroupType) -> None:
    disbanded = done(tea(group_type), commands.DisbandGroup(group_id="g"), ROOT)
    assert told(disbanded) == ["log: notice group_disbanded 5 closes"]
    assert heard(disbanded, EVERYBODY) == {user: ["group_disbanded"] for user in EVERYBODY}
    recycled = done(tea(group_type), RecycleGroup(group_id="g"), Actor("", is_app_admin=True))
    assert told(recycled) == ["log: notice group_recycled 11 closes"]
    assert heard(recycled, EVERYBODY) == {user: ["group_recycled"] for user in EVERYBODY}


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_the_owner_changes(group_type: GroupType) -> None:
    decision = done(tea(group_type), commands.TransferGroup(group_id="g", new_owner_id="mia"), ROOT)
    assert told(decision) == [
        "olga: notice owner_changed 24",
        "mia: notice owner_changed 24",
        "log: tip group_profile_changed 6",
    ]
    assert said(decision, "owner_changed")[0] == events.OwnerChanged(
        old_owner_id="olga", new_owner_id="mia", version=8
    )
    assert said(decision, "group_profile_changed") == [
        events.ProfileChanged(version=8, owner_id="mia")
    ]


def test_an_ownerless_group_gets_an_owner() -> None:
    ownerless = state(group(GroupType.WORK, owner_id=""), MIA, SAM)
    decision = done(ownerless, commands.TransferGroup(group_id="g", new_owner_id="mia"), ROOT)
    assert told(decision) == ["mia: notice owner_changed 24", "log: tip group_profile_changed 6"]


@pytest.mark.parametrize("group_type", TYPES)
def test_somebody_joins(group_type: GroupType) -> None:
    if group_type is GroupType.WORK:
        return  # nobody joins a Work group by asking
    decision = done(tea(group_type), commands.JoinGroup(group_id="g"), "zoe")
    expected = {
        "log": ["zoe: notice joined 23", "log: tip member_joined 1 joined=zoe"],
        "connected": ["zoe now: notice joined 23", "connected: tip member_joined 1 joined=zoe"],
        None: ["zoe: notice joined 23 joined=zoe"],
    }
    place = tip_place(MEMBERS_TIPS, group_type)
    assert told(decision) == expected[place]
    assert heard(decision, EVERYBODY) == {
        "zoe": ["joined", "member_joined"] if place else ["joined"],
        **{user: ["member_joined"] for user in EVERYBODY if place},
    }


@pytest.mark.parametrize("group_type", TYPES[1:])
def test_somebody_asks_to_join(group_type: GroupType) -> None:
    of = tea(group_type, apply_join_option=ApplyJoinOption.NEED_PERMISSION)
    decision = done(of, commands.JoinGroup(group_id="g", message="please"), "zoe")
    assert told(decision) == ["olga: notice join_requested 1", "adam: notice join_requested 1"]
    (first, _) = said(decision, "join_requested")
    assert (first.user_id, first.message, first.kind) == ("zoe", "please", ApplicationKind.JOIN)


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_members_are_invited(group_type: GroupType) -> None:
    command = commands.InviteMembers(group_id="g", user_ids=["zoe", "mia", "yan"], message="come")
    decision = done(tea(group_type), command, "sam")
    announced = [
        "zoe: notice invited 7",
        "yan: notice invited 7",
        "log: tip member_invited 1 joined=zoe,yan",
    ]
    place = tip_place(MEMBERS_TIPS, group_type)
    if place:
        assert told(decision) == announced
        assert said(decision, "member_invited") == [
            events.MembersChanged(user_ids=["zoe", "yan"], member_count=6, version=8)
        ]
    else:
        to_others = [line for line in told(decision) if not line.startswith("sam:")]
        assert to_others == ["zoe: notice invited 7 joined=zoe,yan", "yan: notice invited 7"]
    assert [data.message for data in said(decision, "invited")] == ["come", "come"]
    assert "mia" not in heard(decision, ()) or place


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_an_invitation_waits(group_type: GroupType) -> None:
    of = tea(group_type, invite_join_option=InviteJoinOption.NEED_PERMISSION)
    command = commands.InviteMembers(group_id="g", user_ids=["zoe"])
    for_admins = done(of, command, "mia")
    assert told(for_admins) == ["olga: notice join_requested 1", "adam: notice join_requested 1"]
    for_invitee = done(tea(group_type), command, "mia", rules(consent=True))
    assert told(for_invitee) == ["zoe: notice invite_requested 12"]
    assert said(for_invitee, "invite_requested")[0].inviter_id == "mia"


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_members_are_removed(group_type: GroupType) -> None:
    command = commands.RemoveMembers(group_id="g", user_ids=["mia", "sam"], reason="rude")
    decision = done(tea(group_type), command, "olga")
    if tip_place(MEMBERS_TIPS, group_type):
        assert told(decision) == [
            "log: tip member_kicked 3 left=mia,sam",
            "mia: notice kicked 4",
            "sam: notice kicked 4",
        ]
        assert said(decision, "member_kicked") == [
            events.MembersChanged(user_ids=["mia", "sam"], member_count=2, version=8, reason="rude")
        ]
    else:
        to_others = [line for line in told(decision) if not line.startswith("olga:")]
        assert to_others == ["mia: notice kicked 4 left=mia,sam", "sam: notice kicked 4"]
    hears = heard(decision, EVERYBODY)
    tip = ["member_kicked"] if tip_place(MEMBERS_TIPS, group_type) else []
    assert hears["mia"] == hears["sam"] == [*tip, "kicked"]
    assert hears.get("adam", []) == tip
    assert [data.reason for data in said(decision, "kicked")] == ["rude", "rude"]


@pytest.mark.parametrize("group_type", TYPES)
def test_somebody_quits(group_type: GroupType) -> None:
    decision = done(tea(group_type), commands.QuitGroup(group_id="g"), "mia")
    expected = {
        "log": ["log: tip member_quit 2 left=mia", "mia: notice quit 8"],
        "connected": ["connected: tip member_quit 2 left=mia", "mia now: notice quit 8"],
        None: ["mia: notice quit 8 left=mia"],
    }
    place = tip_place(MEMBERS_TIPS, group_type)
    assert told(decision) == expected[place]
    assert heard(decision, EVERYBODY) == {
        "mia": ["member_quit", "quit"] if place else ["quit"],
        **{user: ["member_quit"] for user in ("olga", "adam", "sam") if place},
    }


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_the_owner_quits_with_a_successor(group_type: GroupType) -> None:
    command = commands.QuitGroup(group_id="g", successor_id="adam")
    decision = done(tea(group_type), command, "olga")
    leaving = ["log: tip member_quit 2 left=olga", "olga: notice quit 8"]
    if not tip_place(MEMBERS_TIPS, group_type):
        leaving = ["olga: notice quit 8 left=olga"]
    assert told(decision) == [
        "olga: notice owner_changed 24",
        "adam: notice owner_changed 24",
        "log: tip group_profile_changed 6",
        *leaving,
    ]


@pytest.mark.parametrize("group_type", WITH_ADMINS)
def test_an_admin_is_made_and_dismissed(group_type: GroupType) -> None:
    made = done(tea(group_type), _member_change("mia", role=Role.ADMIN), "olga")
    dismissed = done(tea(group_type), _member_change("adam", role=Role.MEMBER), "olga")
    if tip_place(ROLES_TIPS, group_type):
        assert told(made) == ["mia: notice admin_granted 9", "log: tip admin_set 4"]
        assert told(dismissed) == ["adam: notice admin_revoked 10", "log: tip admin_cancelled 5"]
        assert said(made, "admin_set") == [
            events.RoleChange(user_id="mia", role=Role.ADMIN, version=8)
        ]
    else:
        copy = "olga: notice member_profile_changed 25"
        assert told(made) == ["mia: notice admin_granted 9", copy]
        assert told(dismissed) == ["adam: notice admin_revoked 10", copy]


@pytest.mark.parametrize("group_type", TYPES[1:])
@pytest.mark.parametrize("mute_s", [60, 0])
def test_a_member_is_muted_and_unmuted(group_type: GroupType, mute_s: int) -> None:
    muted = member("mia", mute_until_ms=0 if mute_s else NOW_MS + 1)
    decision = done(
        state(group(group_type), OLGA, ADAM, muted, SAM),
        _member_change("mia", mute_s=mute_s),
        "olga",
    )
    tip = "log: tip member_profile_changed 7"
    if not tip_place(ROLES_TIPS, group_type):
        tip = "olga: notice member_profile_changed 25"
    assert told(decision) == ["mia: notice member_profile_changed 25", tip]
    until_ms = NOW_MS + 60_000 if mute_s else 0
    assert said(decision, "member_profile_changed")[0] == events.MemberChange(
        user_id="mia", version=8, mute_until_ms=until_ms
    )
    assert "sam" not in heard(decision, ()), "nobody else's inbox"


@pytest.mark.parametrize("group_type", TYPES)
def test_a_receive_option_is_a_matter_of_its_user(group_type: GroupType) -> None:
    change = _member_change("mia", receive_option=ReceiveOption.DISCARD)
    decision = done(tea(group_type), change, "mia")
    assert told(decision) == ["mia: notice receive_option_changed 20"]


def test_nothing_is_told_of_what_changes_nothing() -> None:
    for command, who in (
        (_member_change("mia", role=Role.MEMBER, name_card=""), "olga"),
        (_member_change("mia", mute_s=0), "olga"),
        (_member_change("mia", receive_option=MIA.receive_option), "mia"),
        (commands.InviteMembers(group_id="g", user_ids=["mia"]), "olga"),
        (commands.RemoveMembers(group_id="g", user_ids=["zoe"]), "olga"),
        (commands.JoinGroup(group_id="g"), "mia"),
    ):
        decision = done(tea(), command, who)
        assert (told(decision), dict(decision.puts)) == ([], {})


def _member_change(user_id: str, **fields: object) -> commands.UpdateMember:
    command = commands.UpdateMember(group_id="g", user_id=user_id)
    return msgspec.structs.replace(command, **fields)
