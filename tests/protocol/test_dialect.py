"""The original's words for types and elements mean the same both ways."""

from typing import get_args

import msgspec
import pytest
from msgspec import inspect

from protocol.dialect import TYPE_WORDS, body_of, msg_body
from protocol.messages import Element
from protocol.vocabulary import GroupType

_VALUES: dict[type[inspect.Type], object] = {inspect.StrType: "x", inspect.IntType: 3}


def _value(kind: inspect.Type) -> object:
    match kind:
        case inspect.UnionType(types):
            return _value(next(one for one in types if not isinstance(one, inspect.NoneType)))
        case inspect.FloatType():
            return 1.5
        case inspect.ListType(item_type=item):
            return [_value(item)]
        case inspect.DictType():
            return {"k": 1}
        case inspect.StructType(cls=cls, fields=fields):
            return msgspec.convert({one.encode_name: _value(one.type) for one in fields}, cls)
        case _:
            return _VALUES[type(kind)]


def full(element: type[Element]) -> Element:
    """An element of that class with every field it may have."""
    content = msgspec.to_builtins(
        _value(inspect.type_info(msgspec.structs.fields(element)[0].type))
    )
    return msgspec.convert({"type": element.__struct_config__.tag, "content": content}, element)


@pytest.mark.parametrize("element", get_args(Element), ids=lambda element: element.__name__)
def test_every_element_comes_back_as_it_went(element: type[Element]) -> None:
    whole = full(element)
    written = msg_body([whole])
    assert body_of(msgspec.json.decode(msgspec.json.encode(written))) == [whole]
    ours = msgspec.to_builtins(whole)["content"]
    assert len(written[0]["MsgContent"]) >= len(ours), "no field is lost"


def test_the_documented_body_is_understood() -> None:
    given = [
        {"MsgType": "TIMTextElem", "MsgContent": {"Text": "red packet"}},
        {"MsgType": "TIMFaceElem", "MsgContent": {"Index": 6, "Data": "abc\u0000\u0001"}},
        {
            "MsgType": "TIMSoundElem",
            "MsgContent": {"Url": "u", "UUID": "i", "Size": 1, "Second": 2, "Download_Flag": 2},
        },
    ]
    assert msg_body(body_of(given)) == given


@pytest.mark.parametrize(
    "given",
    [
        {},
        [{"MsgType": "TIMTextElem"}],
        [{"MsgType": "TIMGroupTipElem", "MsgContent": {}}],
        [{"MsgType": "TIMTextElem", "MsgContent": {"Text": 1}}],
        [{"MsgType": "TIMImageElem", "MsgContent": {"ImageInfoArray": [1]}}],
        ["text"],
    ],
)
def test_what_is_no_body_is_refused(given: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        body_of(given)


def test_types_are_written_in_the_older_words_and_read_in_both() -> None:
    assert TYPE_WORDS[GroupType.WORK] == "Private"
    assert TYPE_WORDS[GroupType.MEETING] == "ChatRoom"
    for group_type, word in TYPE_WORDS.items():
        assert GroupType(word) is GroupType(str(group_type)) is group_type
