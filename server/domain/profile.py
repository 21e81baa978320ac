"""Changes of a group's profile and options, its attributes and its counters."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from protocol.commands import AddCounters, DeleteAttributes, SetAttributes, UpdateGroup
from protocol.errors import ErrorCode, Refused
from protocol.events import ProfileChanged
from protocol.limits import MAX_INTEGER
from protocol.results import AttributesResult, CountersResult, VersionResult
from server.domain import announcements, fields
from server.domain.model import (
    Actor,
    Attributes,
    AttributesKey,
    Counters,
    CountersKey,
    Decision,
    Entry,
    Group,
    GroupKey,
    Slice,
)
from server.domain.options import check_apply_option, check_invite_option, check_member_limit
from server.domain.refusals import living_group
from server.domain.rules import Operation, Rulebook, Standing, TipPolicy, standing_of
from server.domain.text import check_count, check_line, check_paragraph, check_value

_BASIC = ("name", "introduction", "notification", "face_url")
_OPTIONS = ("apply_join_option", "invite_join_option", "mute_all")
_OTHER = ("apply_join_option", "invite_join_option", "max_member_count")


def update_group(
    rulebook: Rulebook, state: Slice, command: UpdateGroup, actor: Actor, now_ms: int
) -> Decision:
    """The named fields have the named values; all of them or none."""
    group = living_group(state, command.group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    _require_rights(rulebook, group, command, standing)
    _check_version(command.if_version, group, ErrorCode.GROUP_VERSION_CONFLICT)
    _check_values(rulebook, group, command, standing)
    changed = {
        name: getattr(command, name)
        for name in (*_BASIC, *_OPTIONS, "max_member_count")
        if getattr(command, name) is not None and getattr(command, name) != getattr(group, name)
    }
    custom, custom_changes = fields.merged(group.custom, command.custom)
    if not changed and not custom_changes:
        return Decision(result=VersionResult(version=group.version))
    after = replace(
        group, **changed, custom=custom, version=group.version + 1, last_info_time_ms=now_ms
    )
    return Decision(
        result=VersionResult(version=after.version),
        puts={GroupKey(group.group_id): after},
        entries=_told(rulebook, after, changed, custom_changes, actor, now_ms),
    )


def set_attributes(
    rulebook: Rulebook, state: Slice, command: SetAttributes, actor: Actor, now_ms: int
) -> Decision:
    """The named attributes have the named values; the others stay."""
    return attributes_after(
        rulebook,
        state,
        command.group_id,
        command.attributes,
        command.if_version,
        actor,
        now_ms,
    )


def attributes_after(
    rulebook: Rulebook,
    state: Slice,
    group_id: str,
    changes_wanted: Mapping[str, str | None],
    if_version: int | None,
    actor: Actor,
    now_ms: int,
) -> Decision:
    """The attributes with these changes (None deletes), within their limits."""
    group, values = _attributes(rulebook, state, group_id, if_version, actor)
    for key, value in changes_wanted.items():
        check_key(rulebook, "attributes", key, "ATTRIBUTE_KEY_BYTES")
        check_value(
            rulebook,
            f"attributes.{key}",
            value or "",
            "ATTRIBUTE_VALUE_BYTES",
            ErrorCode.ATTRIBUTE_VALUE_TOO_LONG,
        )
    after, changes = fields.merged(values, changes_wanted)
    check_count(
        rulebook, "attributes", len(after), "ATTRIBUTES", code=ErrorCode.TOO_MANY_ATTRIBUTES
    )
    total = sum(len(key.encode()) + len(value.encode()) for key, value in after.items())
    most = rulebook.limit("ATTRIBUTES_BYTES")
    if most is not None and total > most:
        raise Refused(
            ErrorCode.ATTRIBUTES_TOO_LARGE, rule="attributes_bytes", have=total, need=most
        )
    return _with_attributes(rulebook, group, after, changes, actor, now_ms)


def delete_attributes(
    rulebook: Rulebook, state: Slice, command: DeleteAttributes, actor: Actor, now_ms: int
) -> Decision:
    """The named attributes are gone."""
    group, values = _attributes(rulebook, state, command.group_id, command.if_version, actor)
    check_count(rulebook, "keys", len(command.keys), "ATTRIBUTES", at_least=1)
    for key in command.keys:
        if key not in values:
            raise Refused(ErrorCode.ATTRIBUTE_NOT_FOUND, field="keys", key=key[:64])
    after, changes = fields.merged(values, dict.fromkeys(command.keys))
    return _with_attributes(rulebook, group, after, changes, actor, now_ms)


def add_counters(
    rulebook: Rulebook, state: Slice, command: AddCounters, actor: Actor, now_ms: int
) -> Decision:
    """Each named counter is larger by its delta; those connected are told the new values."""
    group = living_group(state, command.group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.ADD_COUNTERS, group.type, standing)
    check_count(
        rulebook,
        "deltas",
        len(command.deltas),
        "COUNTERS",
        at_least=1,
        code=ErrorCode.TOO_MANY_COUNTERS,
    )
    values = dict(state.counters.values) if state.counters is not None else {}
    for key, delta in command.deltas.items():
        check_key(rulebook, "deltas", key, "COUNTER_KEY_BYTES")
        values[key] = values.get(key, 0) + delta
        if not -MAX_INTEGER <= values[key] <= MAX_INTEGER:
            raise Refused(
                ErrorCode.BAD_REQUEST, f"the counter {key!r} would overflow", field="deltas"
            )
    check_count(rulebook, "deltas", len(values), "COUNTERS", code=ErrorCode.TOO_MANY_COUNTERS)
    touched = {key: values[key] for key in command.deltas}
    result = CountersResult(counters=touched)
    if state.counters is not None and values == state.counters.values:
        return Decision(result=result)
    told = announcements.profile_changed(
        group, ProfileChanged(counters=touched), actor.user_id, now_ms, TipPolicy.PUSHED
    )
    return Decision(
        result=result,
        puts={CountersKey(group.group_id): Counters(group_id=group.group_id, values=values)},
        entries=[told],
    )


def _require_rights(
    rulebook: Rulebook, group: Group, command: UpdateGroup, standing: Standing
) -> None:
    """What the command names decides which rows of the table are asked."""
    if any(getattr(command, name) is not None for name in _BASIC):
        rulebook.require(Operation.EDIT_BASIC_PROFILE, group.type, standing)
    if command.mute_all is not None:
        rulebook.require(Operation.MUTE_ALL, group.type, standing)
    names_other = any(getattr(command, name) is not None for name in _OTHER)
    if names_other or command.custom:
        rulebook.require(Operation.EDIT_OTHER_PROFILE, group.type, standing)
    if standing is Standing.NONE:
        rulebook.require(Operation.EDIT_BASIC_PROFILE, group.type, standing)


def _check_values(
    rulebook: Rulebook, group: Group, command: UpdateGroup, standing: Standing
) -> None:
    if command.name is not None:
        if not command.name:
            raise Refused(ErrorCode.BAD_REQUEST, "name must not be empty", field="name")
        check_line(rulebook, "name", command.name, "NAME_BYTES")
    if command.introduction is not None:
        check_paragraph(rulebook, "introduction", command.introduction, "INTRODUCTION_BYTES")
    if command.notification is not None:
        check_paragraph(rulebook, "notification", command.notification, "NOTIFICATION_BYTES")
    if command.face_url is not None:
        check_line(rulebook, "face_url", command.face_url, "FACE_URL_BYTES")
    traits = rulebook.traits[group.type]
    check_apply_option(group.type, traits, command.apply_join_option)
    check_invite_option(group.type, traits, command.invite_join_option)
    check_member_limit(rulebook, group.type, traits, command.max_member_count)
    if command.max_member_count is not None and command.max_member_count < group.member_count:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"the group has {group.member_count} members already",
            field="max_member_count",
            have=command.max_member_count,
            need=group.member_count,
        )
    fields.checked_group_fields(rulebook, command.custom, standing)


def _told(
    rulebook: Rulebook,
    after: Group,
    changed: Mapping[str, Any],
    custom: dict[str, str | None],
    actor: Actor,
    now_ms: int,
) -> list[Entry]:
    """One tip of what the type announces, and the rest to the actor's own devices."""
    traits = rulebook.traits[after.type]
    by_policy: dict[TipPolicy, dict[str, Any]] = {}
    for name, value in changed.items():
        policy = traits.option_tips if name in _OPTIONS else traits.profile_tips
        by_policy.setdefault(policy, {})[name] = value
    for_all, for_some = fields.parted(rulebook.group_fields, custom)
    if for_all:
        by_policy.setdefault(traits.profile_tips, {})["custom"] = for_all
    if for_some:
        # The log is read by every member; what is not for all is told to the actor only.
        by_policy.setdefault(TipPolicy.OFF, {})["custom"] = for_some
    return [
        announcements.profile_changed(
            after,
            ProfileChanged(version=after.version, **values),
            actor.user_id,
            now_ms,
            policy,
        )
        for policy, values in by_policy.items()
    ]


def _attributes(
    rulebook: Rulebook, state: Slice, group_id: str, if_version: int | None, actor: Actor
) -> tuple[Group, dict[str, str]]:
    """The group and its attributes, once the actor may change them."""
    group = living_group(state, group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.SET_ATTRIBUTES, group.type, standing)
    _check_version(if_version, group, ErrorCode.ATTRIBUTE_CONFLICT)
    return group, state.attributes.values if state.attributes is not None else {}


def _with_attributes(
    rulebook: Rulebook,
    group: Group,
    values: dict[str, str],
    changes: dict[str, str | None],
    actor: Actor,
    now_ms: int,
) -> Decision:
    if not changes:
        return Decision(result=AttributesResult(version=group.version, attributes=values))
    after = replace(group, version=group.version + 1, last_info_time_ms=now_ms)
    policy = rulebook.traits[group.type].profile_tips
    told = announcements.profile_changed(
        after,
        ProfileChanged(version=after.version, attributes=changes),
        actor.user_id,
        now_ms,
        policy,
    )
    return Decision(
        result=AttributesResult(version=after.version, attributes=values),
        puts={
            GroupKey(group.group_id): after,
            AttributesKey(group.group_id): Attributes(group_id=group.group_id, values=values),
        },
        entries=[told],
    )


def check_key(rulebook: Rulebook, field: str, key: str, limit: str) -> None:
    """Return if ``key`` can name an attribute or a counter.

    Raises:
        Refused: BAD_REQUEST or ATTRIBUTE_KEY_TOO_LONG.
    """
    if not key:
        raise Refused(ErrorCode.BAD_REQUEST, "a key must not be empty", field=field)
    check_value(rulebook, field, key, limit, ErrorCode.ATTRIBUTE_KEY_TOO_LONG)
    check_line(rulebook, field, key, limit)


def _check_version(if_version: int | None, group: Group, code: ErrorCode) -> None:
    if if_version is not None and if_version != group.version:
        raise Refused(code, rule="if_version", have=if_version, need=group.version)
