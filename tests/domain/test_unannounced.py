"""What is not announced as a tip, and who hears of it all the same (``groups.md`` section 2).

The scene is that of ``test_audiences``.
"""

import msgspec
import pytest

from protocol import commands
from protocol.vocabulary import GroupType
from server.domain.model import Decision, Remembered
from tests.domain.building import (
    NOW_MS,
    ROOT,
    STORED_TYPES,
    done,
    field,
    invite,
    rules,
    tea,
)
from tests.domain.outcomes import heard, said, told
from tests.domain.table import section

ROLES_TIPS, MEMBERS_TIPS = "mute, admin set or cancelled", "join, invite, kick, quit"
OPTION_TIPS = "mute-all and join options"


def is_silent(kind: str, group_type: GroupType) -> bool:
    """Whether the type has no tips of this kind."""
    return section("tips")[kind][group_type] == "no"


@pytest.mark.parametrize("group_type", STORED_TYPES)
@pytest.mark.parametrize("who", ["mia", "olga"])
def test_a_name_card_or_a_custom_field_changes(group_type: GroupType, who: str) -> None:
    """No row of section 2 silences this tip, in a Meeting either: that row is of mutes, admins."""
    as_own = rules(member_fields={"team": field(write="member")})
    for changed in ({"name_card": "M."}, {"custom": {"team": "red"}}):
        decision = done(tea(group_type), _member_change("mia", **changed), who, as_own)
        assert told(decision) == [
            "mia: notice member_profile_changed 25",
            "log: tip member_profile_changed 7",
        ]


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_what_is_not_announced_reaches_the_actors_own_devices(group_type: GroupType) -> None:
    """``groups.md`` section 2, last paragraph."""
    of = tea(group_type)
    unannounced: dict[str, Decision] = {}
    if is_silent(MEMBERS_TIPS, group_type):
        remove = commands.RemoveMembers(group_id="g", user_ids=["mia"])
        invite = commands.InviteMembers(group_id="g", user_ids=["zoe"])
        unannounced |= {"remove": done(of, remove, "olga"), "invite": done(of, invite, "olga")}
    if is_silent(OPTION_TIPS, group_type):
        mute_all = commands.UpdateGroup(group_id="g", mute_all=True)
        unannounced["mute all"] = done(of, mute_all, "olga")
    if is_silent(ROLES_TIPS, group_type):
        unannounced["mute"] = done(of, _member_change("mia", mute_s=5), "olga")
    unheard = [name for name, decision in unannounced.items() if "olga" not in heard(decision, ())]
    assert unheard == []


@pytest.mark.parametrize("level", ["member", "admin", "owner", "app_admin", "self"])
def test_a_field_that_not_every_member_may_read_is_in_no_log(level: str) -> None:
    """The log is read by every member; a read level above member keeps a value out of it."""
    rulebook = rules(
        group_fields={"topic": field(level if level != "self" else "admin")},
        member_fields={"team": field(level, write="admin")},
    )
    for command, custom in (
        (commands.UpdateGroup(group_id="g", name="C", custom={"topic": "x"}), {"topic": "x"}),
        (_member_change("mia", name_card="M.", custom={"team": "x"}), {"team": "x"}),
    ):
        decision = done(tea(), command, "olga", rulebook)
        (tip,) = [entry for entry in decision.entries if entry.inbox_of is None]
        assert tip.data.custom == (custom if level == "member" else {})


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_field_that_is_in_no_log_reaches_the_actors_own_devices(group_type: GroupType) -> None:
    """``groups.md`` section 2: whatever is not announced reaches the actor and the subject."""
    rulebook = rules(group_fields={"topic": field("owner")}, member_fields={"team": field("admin")})
    topic = commands.UpdateGroup(group_id="g", custom={"topic": "x"})
    of_group = done(tea(group_type), topic, "olga", rulebook)
    assert list(heard(of_group, ())) == ["olga"]
    team = _member_change("mia", custom={"team": "x"})
    of_member = done(tea(group_type), team, "olga", rulebook)
    assert set(heard(of_member, ())) == {"olga", "mia"}
    values = [data.custom for data in said(of_member, "member_profile_changed")]
    assert {"team": "x"} in values, "the owner, who may read it"


def test_of_a_change_that_is_partly_announced_the_actor_hears_the_rest() -> None:
    """A Meeting announces name cards and no mutes; both are changed at once."""
    both = _member_change("mia", name_card="M.", mute_s=60)
    decision = done(tea(GroupType.MEETING), both, "olga")
    changes = {
        entry.inbox_of: (entry.data.name_card, entry.data.mute_until_ms)
        for entry in decision.entries
    }
    until_ms = NOW_MS + 60_000
    assert changes[None] == ("M.", None)
    assert changes["mia"] == ("M.", until_ms)
    assert changes["olga"][1] == until_ms


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_mute_that_goes_on_when_a_member_comes_back_is_told(group_type: GroupType) -> None:
    until_ms = NOW_MS + 60_000
    remembered = Remembered(group_id="g", user_id="zoe", mute_until_ms=until_ms)
    of = tea(group_type, seen={"remembered": {"zoe": remembered}})
    decision = done(of, invite("zoe"), "olga")
    mutes = [entry for entry in decision.entries if entry.event == "member_profile_changed"]
    inboxes = [entry.inbox_of for entry in mutes]
    assert "zoe" in inboxes
    assert (None in inboxes) == (not is_silent(ROLES_TIPS, group_type))
    assert {entry.data.mute_until_ms for entry in mutes} == {until_ms}


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_members_learn_that_the_operator_removed_the_owner(group_type: GroupType) -> None:
    """The owner changed, to nobody; no type silences changes of the profile."""
    command = commands.RemoveMembers(group_id="g", user_ids=["olga"])
    decision = done(tea(group_type), command, ROOT)
    in_the_log = [entry.data for entry in decision.entries if entry.inbox_of is None]
    assert [data.owner_id for data in in_the_log if data.owner_id is not None] == [""]


def test_members_learn_that_a_work_group_lost_its_owner() -> None:
    decision = done(tea(GroupType.WORK), commands.QuitGroup(group_id="g"), "olga")
    assert [data.owner_id for data in said(decision, "member_quit")] == [""]
    other = done(tea(GroupType.WORK), commands.QuitGroup(group_id="g"), "mia")
    assert [data.owner_id for data in said(other, "member_quit")] == [None]


def _member_change(user_id: str, **fields: object) -> commands.UpdateMember:
    command = commands.UpdateMember(group_id="g", user_id=user_id)
    return msgspec.structs.replace(command, **fields)
