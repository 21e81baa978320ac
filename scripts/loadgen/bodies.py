"""What people write: message bodies of realistic kinds and sizes."""

from random import Random
from typing import Any, Final

import msgspec

Element = dict[str, Any]

_PHRASES: Final = (
    "ok yes no the a to and of in is it you that we for on are this with have not be at so what "
    "can will do just there tomorrow meeting coffee server deploy release train late lunch "
    "thanks great really maybe already später grüße déjà vu señor übermorgen Привет спасибо "
    'завтра 你好 谢谢 明天见 ありがとう 了解です नमस्ते مرحبا 👍 😂 🎉 👩‍👩‍👧‍👦 ¯\\_(ツ)_/¯ :-) "quoted" back\\slash'
)
_WORDS: Final = _PHRASES.split()
_TYPICAL_WORDS: Final = 9
_SPREAD: Final = 1.1
_MOST_WORDS: Final = 1_200
"""About 9 KB of text: a body holds 12 KiB."""
_NEARLY_FULL: Final = 0.004
_FULL_BYTES: Final = (9_000, 12_200)


def body(random: Random) -> list[Element]:
    """A body as ``protocol.md`` has it: mostly short text, sometimes pictures, now and then nearly 12 KiB."""
    draw = random.random()
    if draw < _NEARLY_FULL:
        return [_nearly_full(random)]
    if draw < 0.86:
        return [_text(random)]
    if draw < 0.90:
        return [{"type": "face", "content": {"index": random.randrange(200)}}]
    if draw < 0.94:
        return [_image(random), _text(random)]
    if draw < 0.96:
        return [_custom(random)]
    if draw < 0.98:
        return [_location(random)]
    return [_file(random), _text(random)]


def _text(random: Random) -> Element:
    count = min(_MOST_WORDS, 1 + int(random.lognormvariate(0, _SPREAD) * _TYPICAL_WORDS))
    return {"type": "text", "content": {"text": " ".join(random.choices(_WORDS, k=count))}}


def _nearly_full(random: Random) -> Element:
    """Text that comes near to what a body holds."""
    element = _text(random)
    missing = random.randint(*_FULL_BYTES) - len(msgspec.json.encode([element]))
    element["content"]["text"] += "." * max(0, missing)
    return element


def _image(random: Random) -> Element:
    name = f"{random.getrandbits(128):032x}"
    sizes = ((1, 4000, 3000), (2, 1280, 960), (3, 198, 149))
    images = [
        {
            "type": kind,
            "size": width * height // 8,
            "width": width,
            "height": height,
            "url": f"https://files.example/{name}/{kind}.jpg",
        }
        for kind, width, height in sizes
    ]
    return {"type": "image", "content": {"uuid": name, "format": 1, "images": images}}


def _custom(random: Random) -> Element:
    data = f'{{"poll":{random.randrange(1000)},"choice":"{random.choice("abc")}"}}'
    return {"type": "custom", "content": {"data": data, "desc": "a vote"}}


def _location(random: Random) -> Element:
    # Away from whole numbers, which some JSON writers turn into integers.
    content = {
        "desc": random.choice(_WORDS),
        "latitude": random.randrange(-80, 80) + 0.137,
        "longitude": random.randrange(-170, 170) + 0.25,
    }
    return {"type": "location", "content": content}


def _file(random: Random) -> Element:
    name = f"{random.getrandbits(64):016x}"
    content = {
        "url": f"https://files.example/{name}",
        "uuid": name,
        "size": random.randrange(1, 10**9),
        "name": "minutes.pdf",
    }
    return {"type": "file", "content": content}
