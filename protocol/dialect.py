"""The hosted original's words for what we name otherwise: group types, elements of messages.

Its admin REST API and its callbacks use them (``facts/hosted-api.md`` sections 0.1 and 5.4). Both
directions are one table.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec

from protocol.messages import Element
from protocol.vocabulary import TYPE_ALIASES, GroupType, Role

TYPE_WORDS: Final[Mapping[GroupType, str]] = {
    **{group_type: str(group_type) for group_type in GroupType},
    **{group_type: word for word, group_type in TYPE_ALIASES.items()},
}
"""How the original's servers write each type; ``GroupType`` reads both spellings."""

RoleWord = Literal["Owner", "Admin", "Member"]

ROLE_WORDS: Final[Mapping[Role, RoleWord]] = {
    Role.OWNER: "Owner",
    Role.ADMIN: "Admin",
    Role.MEMBER: "Member",
}


REST_PLATFORM: Final = "RESTAPI"
"""The platform of whoever asks by the admin REST API."""

_PLATFORMS: Final[Mapping[str, str]] = {
    "web": "Web",
    "android": "Android",
    "ios": "iOS",
    "windows": "Windows",
    "win": "Windows",
    "mac": "Mac",
    "macos": "Mac",
    "ipad": "iPad",
    "restapi": REST_PLATFORM,
}


def platform_word(platform: str) -> str:
    """The original's word for the platform that a device says it is, whatever it says."""
    return _PLATFORMS.get(platform.lower(), "Unknown")


class _Words(msgspec.Struct, frozen=True):
    """One kind of element: our tag, and its fields by our names.

    ``fixed`` is what the original's clients expect beside them.
    """

    tag: str
    fields: Mapping[str, str]
    fixed: Mapping[str, object] = {}


_PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "images": {
        "type": "Type",
        "size": "Size",
        "width": "Width",
        "height": "Height",
        "url": "URL",
    },
}
"""Fields that are lists of structs, with the words of those."""

_ELEMENTS: Final[Mapping[str, _Words]] = {
    "TIMTextElem": _Words("text", {"text": "Text"}),
    "TIMCustomElem": _Words(
        "custom", {"data": "Data", "desc": "Desc", "ext": "Ext", "sound": "Sound"}
    ),
    "TIMFaceElem": _Words("face", {"index": "Index", "data": "Data"}),
    "TIMLocationElem": _Words(
        "location", {"desc": "Desc", "latitude": "Latitude", "longitude": "Longitude"}
    ),
    "TIMImageElem": _Words(
        "image", {"uuid": "UUID", "format": "ImageFormat", "images": "ImageInfoArray"}
    ),
    "TIMSoundElem": _Words(
        "sound",
        {"url": "Url", "uuid": "UUID", "size": "Size", "seconds": "Second"},
        {"Download_Flag": 2},
    ),
    "TIMFileElem": _Words(
        "file",
        {"url": "Url", "uuid": "UUID", "size": "FileSize", "name": "FileName"},
        {"Download_Flag": 2},
    ),
    "TIMVideoFileElem": _Words(
        "video",
        {
            "url": "VideoUrl",
            "uuid": "VideoUUID",
            "size": "VideoSize",
            "seconds": "VideoSecond",
            "format": "VideoFormat",
            "thumb_url": "ThumbUrl",
            "thumb_uuid": "ThumbUUID",
            "thumb_size": "ThumbSize",
            "thumb_width": "ThumbWidth",
            "thumb_height": "ThumbHeight",
            "thumb_format": "ThumbFormat",
        },
        {"VideoDownloadFlag": 2, "ThumbDownloadFlag": 2},
    ),
    "TIMRelayElem": _Words(
        "relay",
        {
            "title": "Title",
            "abstracts": "AbstractList",
            "compatible_text": "CompatibleText",
            "messages": "MsgList",
        },
    ),
}
_IDS: Final = frozenset({"uuid", "thumb_uuid"})
"""Fields that may be missing; they are empty then."""

_NAMES: Final[Mapping[str, str]] = {words.tag: name for name, words in _ELEMENTS.items()}


class _Given(msgspec.Struct, frozen=True):
    """An element as the original writes it."""

    type_name: str = msgspec.field(name="MsgType")
    content: dict[str, Any] = msgspec.field(name="MsgContent")


def content_schemas() -> dict[str, dict[str, Any]]:
    """By MsgType the JSON Schema of its MsgContent; other fields are left out of account."""
    contents = {
        str(kind.__struct_config__.tag): msgspec.structs.fields(kind)[0].type
        for kind in get_args(Element)
    }
    return {
        name: _schema_of(contents[words.tag], words.fields, _IDS)
        for name, words in _ELEMENTS.items()
    }


def _schema_of(
    kind: Any,  # noqa: ANN401 - a struct
    words: Mapping[str, str],
    optional: Collection[str],
) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([kind])
    whole = components[kind.__name__]
    properties = {words[ours]: shape for ours, shape in whole["properties"].items()}
    for ours, part in _PARTS.items():
        if ours in words:
            items = get_args(
                next(one.type for one in msgspec.structs.fields(kind) if one.name == ours)
            )
            properties[words[ours]] = {"type": "array", "items": _schema_of(items[0], part, ())}
    required = [words[ours] for ours in whole["required"] if ours not in optional]
    return {"type": "object", "properties": properties, "required": required}


def msg_body(body: Sequence[Element]) -> list[dict[str, Any]]:
    """A body as the original's ``MsgBody``."""
    return [_written(msgspec.to_builtins(element)) for element in body]


def body_of(value: object) -> list[Element]:
    """The body that a ``MsgBody`` means; fields that we do not know are left out.

    Raises:
        msgspec.ValidationError: it is none, or has an element that we do not have; the place and
            the field are named in the original's words.
    """
    given = msgspec.convert(value, list[_Given])
    body = []
    for place, one in enumerate(given):
        try:
            body.append(msgspec.convert(_read(one), Element))
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(_told(str(error), one.type_name, place)) from error
    return body


def _written(element: Mapping[str, Any]) -> dict[str, Any]:
    name = _NAMES[element["type"]]
    words = _ELEMENTS[name]
    content = {word: element["content"].get(ours) for ours, word in words.fields.items()}
    content = {word: value for word, value in content.items() if value is not None}
    for ours, part in _PARTS.items():
        word = words.fields.get(ours)
        if word is not None:
            content[word] = [{part[key]: one[key] for key in part} for one in content[word]]
    if words.tag == "relay":
        content["MsgNum"] = len(content["MsgList"])
    return {"MsgType": name, "MsgContent": {**content, **words.fixed}}


def _told(text: str, type_name: str, place: int) -> str:
    """What is wrong with our element of the type, told of the original's at ``place``."""
    words = _ELEMENTS.get(type_name)
    names = dict(words.fields) if words is not None else {}
    for ours in tuple(names):
        names.update(_PARTS.get(ours, {}))
    what, _, path = text.rpartition(" - at `$")
    what = re.sub(r"(?<=field `)\w+", lambda found: names.get(found[0], found[0]), what)
    path = path.replace(".content", ".MsgContent", 1)
    path = re.sub(r"(?<=\.)\w+", lambda found: names.get(found[0], found[0]), path)
    return f"{what} - at `$[{place}]{path}"


def _read(given: _Given) -> dict[str, Any]:
    words = _ELEMENTS.get(given.type_name)
    if words is None:
        known = ", ".join(_ELEMENTS)
        raise msgspec.ValidationError(
            f"no MsgType {given.type_name[:32]!r}; known are {known} - at `$.MsgType`"
        )
    content = {
        ours: given.content[word] for ours, word in words.fields.items() if word in given.content
    }
    # Published clients of the original send what lives elsewhere without an ID of the original's.
    content = {**{ours: "" for ours in words.fields if ours in _IDS}, **content}
    for ours, part in _PARTS.items():
        found = content.get(ours)
        if isinstance(found, list):
            content[ours] = [
                {key: one[word] for key, word in part.items() if word in one}
                if isinstance(one, dict)
                else one
                for one in found
            ]
    return {"type": words.tag, "content": content}
