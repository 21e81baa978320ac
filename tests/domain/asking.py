"""How each operation of the table is asked for, in a scene of any actor and any target."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from protocol import commands
from protocol.commands import ChangingCommand
from protocol.events import MessageData
from protocol.messages import text_body
from protocol.vocabulary import (
    ApplyJoinOption,
    EventKind,
    GroupType,
    InviteJoinOption,
    Role,
)
from server.domain.model import Actor, Attributes, Entry, Group, Member, Slice
from tests.domain.building import (
    NOW_MS,
    field,
    group,
    member,
    rules,
)
from tests.domain.table import ACTORS, section

RULEBOOK: Final = rules(
    group_fields={"topic": field(write="member")}, member_fields={"team": field(write="member")}
)

NO, YES = InviteJoinOption.DISABLE_INVITE, InviteJoinOption.FREE_ACCESS


class Scene(NamedTuple):
    """One cell: a group of a type, somebody who acts, and somebody on whom."""

    group: Group
    members: Mapping[str, Member]
    actor: Actor
    target_id: str
    is_self: bool

    def state(self, **fields: object) -> Slice:
        """What the decision looks at; there is always somebody to ask."""
        shown = msgspec.structs.replace(Slice(group=self.group, members=self.members), handlers=[])
        return msgspec.structs.replace(shown, **fields)

    def with_group(self, **fields: object) -> "Scene":
        return self._replace(group=msgspec.structs.replace(self.group, **fields))

    def with_actor(self, **fields: object) -> "Scene":
        own = self.members.get(self.actor.user_id)
        if own is None:
            return self
        changed = msgspec.structs.replace(own, **fields)
        return self._replace(members={**self.members, own.user_id: changed})


Ask = Callable[[Scene], tuple[Slice, ChangingCommand]]


class Row(NamedTuple):
    """How an operation is asked for; its row of the table for others and for oneself."""

    ask: Ask
    row: str
    row_for_self: str | None = None


def scene(group_type: GroupType, actor: str, target: str) -> Scene:
    standing, role = ACTORS[actor]
    people: dict[str, Member] = {}
    if role != "none":
        people["actor"] = member("actor", Role(role))
    target_id = "actor" if target == "self" else "target"
    if target not in {"self", "none"}:
        people["target"] = member("target", Role(target))
    owners = [one.user_id for one in people.values() if one.role is Role.OWNER]
    owner_id = owners[0] if owners else "somebody"
    return Scene(
        group(group_type, owner_id=owner_id),
        people,
        Actor("actor", is_app_admin=standing == "app_admin"),
        target_id,
        target == "self",
    )


def update(**fields: object) -> Ask:
    """A change of the group's profile."""

    def ask(at: Scene) -> tuple[Slice, ChangingCommand]:
        return at.state(), msgspec.convert({"group_id": "g", **fields}, commands.UpdateGroup)

    return ask


def change(**fields: object) -> Ask:
    """A change of the target."""

    def ask(at: Scene) -> tuple[Slice, ChangingCommand]:
        named = {"group_id": "g", "user_id": at.target_id, **fields}
        return at.state(), msgspec.convert(named, commands.UpdateMember)

    return ask


def create(*initial: str) -> Ask:
    """A new group of the scene's type."""

    def ask(at: Scene) -> tuple[Slice, ChangingCommand]:
        return Slice(group=None, fresh_token="aaaa"), commands.CreateGroup(
            type=at.group.type,
            name="Tea",
            members=[commands.InitialMember(user_id=user_id) for user_id in initial],
        )

    return ask


def apply(option: ApplyJoinOption | None) -> Ask:
    """To ask to be let in, with this option or the type's own."""

    def ask(at: Scene) -> tuple[Slice, ChangingCommand]:
        used = option or ApplyJoinOption(
            section("keeps")["default apply_join_option"][at.group.type]
        )
        return at.with_group(apply_join_option=used).state(), commands.JoinGroup(group_id="g")

    return ask


def invite(option: InviteJoinOption | None) -> Ask:
    """To bring the target in, with this option or the type's own."""

    def ask(at: Scene) -> tuple[Slice, ChangingCommand]:
        used = option or InviteJoinOption(
            section("keeps")["default invite_join_option"][at.group.type]
        )
        shown = at.with_group(invite_join_option=used).state()
        return shown, commands.InviteMembers(group_id="g", user_ids=[at.target_id])

    return ask


def say(*, all_muted: bool = False, muted: bool = False) -> Ask:
    """To send a message."""

    def ask(at: Scene) -> tuple[Slice, ChangingCommand]:
        spoken = at.with_group(mute_all=all_muted)
        if muted:
            spoken = spoken.with_actor(mute_until_ms=NOW_MS + 1)
        return spoken.state(), commands.SendMessage(group_id="g", body=text_body("hello"))

    return ask


def recall(age_ms: int) -> Ask:
    """To take back a message of the target's."""

    def ask(at: Scene) -> tuple[Slice, ChangingCommand]:
        entry = Entry(
            kind=EventKind.MESSAGE,
            event="message",
            group_id="g",
            time_ms=NOW_MS - age_ms,
            from_id=at.target_id,
            data=MessageData(body=text_body("hello")),
        )
        return at.state(entry=entry), commands.RecallMessage(group_id="g", seq=3)

    return ask


def plain(make: Callable[[str], ChangingCommand]) -> Ask:
    """A command that names the group, and perhaps the target."""
    return lambda at: (at.state(), make(at.target_id))


def with_attributes(make: ChangingCommand) -> Ask:
    """A command about the group's attributes, of which it has one."""
    return lambda at: (
        at.state(attributes=Attributes(group_id="g", values={"mood": "calm"})),
        make,
    )


OPERATIONS: Final[Mapping[str, Row]] = {
    "create": Row(create(), "create"),
    "create with members": Row(create("zoe"), "create with initial members"),
    "name": Row(update(name="Coffee"), "edit name"),
    "introduction": Row(update(introduction="hot"), "edit introduction"),
    "notification": Row(update(notification="now"), "edit notification"),
    "face_url": Row(update(face_url="http://a/b"), "edit face_url"),
    "max_member_count": Row(update(max_member_count=50), "edit max_member_count"),
    "group custom": Row(update(custom={"topic": "oolong"}), "edit a group custom field"),
    "apply option": Row(update(apply_join_option="NeedPermission"), "edit apply_join_option"),
    "invite option": Row(update(invite_join_option="NeedPermission"), "edit invite_join_option"),
    "mute all": Row(update(mute_all=True), "mute all"),
    "unmute all": Row(update(mute_all=False), "unmute all"),
    "disband": Row(plain(lambda _: commands.DisbandGroup(group_id="g")), "disband"),
    "transfer": Row(
        plain(lambda user: commands.TransferGroup(group_id="g", new_owner_id=user)),
        "transfer ownership",
    ),
    "set attributes": Row(
        with_attributes(commands.SetAttributes(group_id="g", attributes={"mood": "glad"})),
        "set attributes",
    ),
    "delete attributes": Row(
        with_attributes(commands.DeleteAttributes(group_id="g", keys=["mood"])),
        "delete attributes",
    ),
    "counters": Row(
        plain(lambda _: commands.AddCounters(group_id="g", deltas={"likes": 1})),
        "add to counters",
    ),
    "apply, free": Row(apply(ApplyJoinOption.FREE_ACCESS), "apply, FreeAccess"),
    "apply, asked": Row(apply(ApplyJoinOption.NEED_PERMISSION), "apply, NeedPermission"),
    "apply, never": Row(apply(ApplyJoinOption.DISABLE_APPLY), "apply, DisableApply"),
    "apply": Row(apply(None), "apply, default"),
    "invite, free": Row(invite(YES), "invite, FreeAccess"),
    "invite, asked": Row(invite(InviteJoinOption.NEED_PERMISSION), "invite, NeedPermission"),
    "invite, never": Row(invite(NO), "invite, DisableInvite"),
    "invite": Row(invite(None), "invite, default"),
    "appoint": Row(change(role="admin"), "appoint an admin"),
    "dismiss": Row(change(role="member"), "dismiss an admin"),
    "remove": Row(
        plain(lambda user: commands.RemoveMembers(group_id="g", user_ids=[user])),
        "remove a member",
    ),
    "mute": Row(change(mute_s=60), "mute a member"),
    "unmute": Row(change(mute_s=0), "unmute a member"),
    "name card": Row(change(name_card="T"), "edit another's name card", "edit own name card"),
    "member custom": Row(
        change(custom={"team": "red"}), "edit another's custom field", "edit own custom field"
    ),
    "receive option": Row(
        change(receive_option="Discard"),
        "edit another's receive option",
        "edit own receive option",
    ),
    "quit": Row(plain(lambda _: commands.QuitGroup(group_id="g")), "quit"),
    "quit, successor": Row(
        plain(lambda user: commands.QuitGroup(group_id="g", successor_id=user)),
        "quit with a successor",
    ),
    "send": Row(say(), "send a message"),
    "send, all muted": Row(say(all_muted=True), "send a message, all muted"),
    "send, muted": Row(say(muted=True), "send a message, oneself muted"),
    "recall in time": Row(recall(120_000), "recall another's in time", "recall one's own in time"),
    "recall too late": Row(
        recall(120_001), "recall another's too late", "recall one's own too late"
    ),
    "mark read": Row(
        plain(lambda _: commands.MarkRead(group_id="g", seq=3)), "move one's read position"
    ),
}
"""Everything that is asked for with a command."""
