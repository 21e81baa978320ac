"""How requests and answers look: the envelope, and names as the original spells them."""

import functools
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

UINT32_MAX: Final = 2**32 - 1

Account = Annotated[str, Meta(description="a user's ID: printable ASCII, 1 to 32 bytes")]
GroupId = Annotated[str, Meta(description="a group's ID")]
Uint32 = Annotated[int, Meta(ge=0, le=UINT32_MAX)]
Natural = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Signed = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
Flag = Annotated[int, Meta(ge=0, le=1, description="0 no, 1 yes")]
Switch = Literal["On", "Off"]


@functools.cache
def wire_name(name: str) -> str:
    """``to_members__account`` as ``ToMembers_Account``: an underscore stays where there are two."""
    words = [part.split("_") for part in name.split("__")]
    return "_".join("".join(word[:1].upper() + word[1:] for word in part) for part in words)


class Body(msgspec.Struct, frozen=True, kw_only=True, rename=wire_name):
    """A JSON object of the dialect. Fields that we do not know are left out of account."""


class Request(Body, frozen=True, kw_only=True):
    """What a call asks for."""


class GroupRequest(Request, frozen=True, kw_only=True):
    """A call about one group."""

    group_id: GroupId


class TopicRequest(GroupRequest, frozen=True, kw_only=True):
    """A call that the original takes for one topic of a group, too; this server has none."""

    topic_id: str = ""


class Answer(Body, frozen=True, kw_only=True):
    """The envelope of every answer; the HTTP status is 200 also when ActionStatus is FAIL."""

    action_status: Literal["OK", "FAIL"] = "OK"
    error_info: str = ""
    error_code: int = 0


class KeyValue(Body, frozen=True, kw_only=True):
    """A custom field, or a counter's key and number."""

    key: str
    value: str


AppData = list[KeyValue]


def without_nulls(value: object) -> object:
    """``value`` without the fields that are null: they are as good as absent.

    What a message holds is the sender's and stays as it is.
    """
    if isinstance(value, dict):
        return {
            key: item if key == "MsgContent" else without_nulls(item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def custom_of(data: list[KeyValue] | None) -> dict[str, str]:
    """Custom fields as our map; of the same key twice the last one holds."""
    return {field.key: field.value for field in data or ()}


def changes_of(data: list[KeyValue] | None) -> dict[str, str | None]:
    """Like ``custom_of`` for a change: an empty value deletes."""
    return {field.key: field.value or None for field in data or ()}


def app_data(custom: dict[str, str], keys: list[str] | None = None) -> AppData:
    """Our map as custom fields, all of them or those of ``keys``."""
    return [
        KeyValue(key=key, value=value)
        for key, value in custom.items()
        if keys is None or key in keys
    ]


def seconds(time_ms: int) -> int:
    """Unix seconds; the original's times."""
    return time_ms // 1000


def until_seconds(time_ms: int, now_ms: int) -> int:
    """The end of a mute or ban in Unix seconds, rounded up; 0 when it is over.

    What goes on for good ends with the original's 32 bits.
    """
    return min(-(-time_ms // 1000), UINT32_MAX) if time_ms > now_ms else 0


def switched(on: bool) -> Switch:
    """On or Off."""
    return "On" if on else "Off"


def is_on(*spellings: Switch | None) -> bool | None:
    """The first that is given of the spellings of one field."""
    return next((word == "On" for word in spellings if word is not None), None)


def first_given(*spellings: int | None) -> int | None:
    """The first that is given of the spellings of one field."""
    return next((value for value in spellings if value is not None), None)


def filtered(
    fields: Mapping[str, Any], names: Collection[str] | None, asked_for: Collection[str] = ()
) -> dict[str, Any]:
    """Those of ``fields`` that a filter lets through.

    Args:
        fields: values by the names of our structs.
        names: the filter, of wire names; None lets everything through but ``asked_for``.
        asked_for: wire names of what is shown only to who asks for it.
    """
    return {
        field: value
        for field, value in fields.items()
        if (wire_name(field) not in asked_for if names is None else wire_name(field) in names)
    }


__all__ = [
    "UNSET",
    "Account",
    "Answer",
    "AppData",
    "Body",
    "Flag",
    "GroupId",
    "GroupRequest",
    "KeyValue",
    "Natural",
    "Positive",
    "Request",
    "Signed",
    "Switch",
    "TopicRequest",
    "Uint32",
    "UnsetType",
    "app_data",
    "changes_of",
    "custom_of",
    "filtered",
    "first_given",
    "is_on",
    "seconds",
    "switched",
    "until_seconds",
    "wire_name",
    "without_nulls",
]
