"""The elements of a message's body, typed (``protocol.md``, Message bodies)."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class _Content(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What an element holds."""


class TextContent(_Content, frozen=True):
    """Plain text."""

    text: str


class CustomContent(_Content, frozen=True):
    """Whatever the application wants; at most one such element in a body."""

    data: str
    desc: str | None = None
    ext: str | None = None
    sound: str | None = None


class FaceContent(_Content, frozen=True):
    """An emoticon by its index in the application's set."""

    index: Count
    data: str | None = None


class LocationContent(_Content, frozen=True):
    """A place: degrees, as floats."""

    desc: str
    latitude: Latitude
    longitude: Longitude


class ImageVariant(_Content, frozen=True):
    """One size of a picture: type 1 original, 2 large, 3 thumbnail; size in bytes."""

    type: Count
    size: Count
    width: Count
    height: Count
    url: str


class ImageContent(_Content, frozen=True):
    """A picture in several sizes; format 1 JPG, 2 GIF, 3 PNG, 4 BMP, 255 other."""

    uuid: str
    format: Count
    images: list[ImageVariant]


class SoundContent(_Content, frozen=True):
    """A recording; size in bytes, length in seconds."""

    url: str
    uuid: str
    size: Count
    seconds: Count


class FileContent(_Content, frozen=True):
    """A file that lives elsewhere; size in bytes."""

    url: str
    uuid: str
    size: Count
    name: str


class VideoContent(_Content, frozen=True):
    """A video and its still picture; sizes in bytes, length in seconds."""

    url: str
    uuid: str
    size: Count
    seconds: Count
    format: str
    thumb_url: str
    thumb_uuid: str
    thumb_size: Count
    thumb_width: Count
    thumb_height: Count
    thumb_format: str


class RelayContent(_Content, frozen=True):
    """Forwarded messages: a title, a line for each, and the messages as the sender has them."""

    title: str
    abstracts: list[str]
    compatible_text: str
    messages: list[dict[str, Any]]


class _Element(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """One element of a body; ``type`` names it."""


class TextElement(_Element, frozen=True, tag="text"):
    """Text."""

    content: TextContent


class CustomElement(_Element, frozen=True, tag="custom"):
    """Application data."""

    content: CustomContent


class FaceElement(_Element, frozen=True, tag="face"):
    """Emoticon."""

    content: FaceContent


class LocationElement(_Element, frozen=True, tag="location"):
    """Place."""

    content: LocationContent


class ImageElement(_Element, frozen=True, tag="image"):
    """Picture."""

    content: ImageContent


class SoundElement(_Element, frozen=True, tag="sound"):
    """Recording."""

    content: SoundContent


class FileElement(_Element, frozen=True, tag="file"):
    """File."""

    content: FileContent


class VideoElement(_Element, frozen=True, tag="video"):
    """Video."""

    content: VideoContent


class RelayElement(_Element, frozen=True, tag="relay"):
    """Forwarded messages."""

    content: RelayContent


Element = (
    TextElement
    | CustomElement
    | FaceElement
    | LocationElement
    | ImageElement
    | SoundElement
    | FileElement
    | VideoElement
    | RelayElement
)
"""One element; a body is a list of 1 to 16 of them."""


def text_body(text: str) -> list[Element]:
    """The body of a plain text message."""
    return [TextElement(content=TextContent(text=text))]
