"""UserSig: tokens that prove who a user is, signed and verified without a clock or any I/O.

The algorithm is the hosted original's public TLSSigAPIv2 (``protocol.md``, Connecting;
``groups.md`` keeps its user IDs), so that tokens made by its libraries work here and ours there:
a JSON object with an HMAC-SHA256 over its fields, deflated by zlib, in base64 with ``* - _`` for
``+ / =``.

A token is not the only spelling of its claims: the original's libraries compress differently,
and deflate has bits that mean nothing and more than one way to point back at the same text.
Whoever revokes or counts tokens does so by user and time of issue, never by the token's text.
"""

import base64
import enum
import hmac
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from protocol.identifiers import is_user_id

MAX_TOKEN_CHARS: Final = 4096
MAX_JSON_BYTES: Final = 4096

_VERSION: Final = "2.0"
_UINT32_MAX: Final = 2**32 - 1
# So that issue plus validity is still an integer that every JSON reader keeps exact.
_TIME_MAX_S: Final = 2**53 - 1 - _UINT32_MAX

_TO_STANDARD: Final = str.maketrans("*-_", "+/=")
_FROM_STANDARD: Final = str.maketrans("+/=", "*-_")
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
_USERBUF: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class SigCode(enum.IntEnum):
    """Why a token is refused, by the original's numbers (``facts/hosted-api.md`` section 6.2)."""

    EXPIRED = 70001
    EMPTY = 70002
    MALFORMED = 70003
    WRONG_KEY = 70009
    OTHER_USER = 70013
    OTHER_APP = 70014
    REVOKED = 70052


class SignatureRefused(Exception):
    """A token that proves nothing here.

    Args:
        code: the original's number for the cause.
        message: one sentence for the operator's log; holds nothing of the token or of a key.
    """

    def __init__(self, code: SigCode, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code.value}: {message}")


@dataclass(frozen=True, slots=True)
class VerifiedSig:
    """What a valid token says: whose it is, from when, and until when, in Unix seconds.

    The token is valid while the time is less than ``expires_s``.
    """

    user_id: str
    issued_s: int
    expires_s: int


@dataclass(frozen=True, slots=True)
class _Claims:
    """The fields that the signature covers; ``userbuf`` is base64 text, as it is signed."""

    user_id: str
    sdkappid: int
    issued_s: int
    expire_s: int
    userbuf: str | None = None


def sign(user_id: str, *, sdkappid: int, secret_key: str, now_s: int, expire_s: int) -> str:
    """Return a UserSig for ``user_id`` that is valid for ``expire_s`` seconds from ``now_s``.

    Source: the original's public algorithm TLSSigAPIv2. The JSON is what its Python library
    writes, byte for byte.

    Args:
        user_id: printable ASCII, 1 to 32 bytes.
        sdkappid: the app, 1 to 2^32-1.
        secret_key: the app's key as text, not empty; its UTF-8 bytes are the HMAC key.
        now_s: time of issue, Unix seconds.
        expire_s: seconds of validity, 1 to 2^32-1; the original's default is 180 days.

    Returns:
        ASCII text of the letters, digits and ``* - _``.

    Raises:
        ValueError: an argument is out of its range; the message names it.
    """
    if not is_user_id(user_id):
        raise ValueError("user_id must be printable ASCII of 1 to 32 bytes")
    for name, value, maximum in (
        ("sdkappid", sdkappid, _UINT32_MAX),
        ("now_s", now_s, _TIME_MAX_S),
        ("expire_s", expire_s, _UINT32_MAX),
    ):
        if not _is_positive_int(value, maximum):
            raise ValueError(f"{name} must be an integer from 1 to {maximum}")
    document = {
        "TLS.ver": _VERSION,
        "TLS.identifier": user_id,
        "TLS.sdkappid": sdkappid,
        "TLS.expire": expire_s,
        "TLS.time": now_s,
        "TLS.sig": _signature(_Claims(user_id, sdkappid, now_s, expire_s), secret_key),
    }
    return _to_text(zlib.compress(json.dumps(document).encode()))


def verify(
    token: str,
    *,
    user_id: str,
    sdkappid: int,
    secret_keys: Sequence[str],
    now_s: int,
    clock_skew_s: int = 60,
) -> VerifiedSig:
    """Return what ``token`` says, once a key of ours has signed it, for this user, app and time.

    The order of the checks is part of the contract: size, form, signature, and only then app,
    user and time, so that whoever holds no key learns nothing but that the token is not ours.
    Neither work nor memory depends on more than 4 KiB of token and 4 KiB of JSON.

    Source: the original's public algorithm TLSSigAPIv2, ``TLS.userbuf`` included (covered by the
    signature, otherwise not looked at). Fields that the algorithm does not name are ignored.

    Args:
        token: the UserSig as the client sent it.
        user_id: who the client says it is.
        sdkappid: our app.
        secret_keys: every key that is valid now, in any order, several during a rotation, none
            of them empty. With no key at all, no token is valid.
        now_s: the time, Unix seconds.
        clock_skew_s: seconds by which an issuer's clock may run ahead of ours. It does not
            lengthen a token's life.

    Returns:
        The user and the times that the signature covers.

    Raises:
        SignatureRefused: MALFORMED also when issued later than ``now_s + clock_skew_s``;
            EXPIRED from the second ``issued + expire`` on; the other codes as they are named.
        ValueError: a key is empty, with which anybody could sign.
    """
    claims, signature = _read(token)
    # Every key is tried, also after a match: the time taken does not tell which one it was.
    matches = [hmac.compare_digest(signature, _signature(claims, key)) for key in secret_keys]
    if not any(matches):
        raise SignatureRefused(SigCode.WRONG_KEY, "the signature is not by a key of this app")
    if claims.sdkappid != sdkappid:
        raise SignatureRefused(SigCode.OTHER_APP, "the token is for another app")
    if claims.user_id != user_id:
        raise SignatureRefused(SigCode.OTHER_USER, "the token is for another user")
    if claims.issued_s > now_s + clock_skew_s:
        raise _malformed("the token was issued in the future")
    expires_s = claims.issued_s + claims.expire_s
    if now_s >= expires_s:
        raise SignatureRefused(SigCode.EXPIRED, "the token has expired")
    return VerifiedSig(claims.user_id, claims.issued_s, expires_s)


def _signature(claims: _Claims, secret_key: str) -> str:
    """The ``TLS.sig`` of these claims: standard base64 of an HMAC-SHA256.

    The fields are joined by newlines, so no claim may contain one: ``_read`` and ``sign`` see to
    it before a claim comes here.
    """
    if not secret_key:
        raise ValueError("a secret key must not be empty")
    text = (
        f"TLS.identifier:{claims.user_id}\n"
        f"TLS.sdkappid:{claims.sdkappid}\n"
        f"TLS.time:{claims.issued_s}\n"
        f"TLS.expire:{claims.expire_s}\n"
    )
    if claims.userbuf is not None:
        text += f"TLS.userbuf:{claims.userbuf}\n"
    return base64.b64encode(hmac.digest(secret_key.encode(), text.encode(), "sha256")).decode()


def _read(token: str) -> tuple[_Claims, str]:
    """The claims of a well-formed token and the signature beside them, nothing of it proved."""
    if not token:
        raise SignatureRefused(SigCode.EMPTY, "the token is empty")
    if len(token) > MAX_TOKEN_CHARS:
        raise _malformed("the token is too long")
    fields = _to_fields(_inflate(_to_bytes(token)))
    if fields.get("TLS.ver") != _VERSION:
        raise _malformed("TLS.ver is missing or not supported")
    user_id = fields.get("TLS.identifier")
    if not isinstance(user_id, str) or not is_user_id(user_id):
        raise _malformed("TLS.identifier is missing or not a user ID")
    signature = fields.get("TLS.sig")
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise _malformed("TLS.sig is missing or not the base64 of 32 bytes")
    claims = _Claims(
        user_id=user_id,
        sdkappid=_positive_int(fields, "TLS.sdkappid", _UINT32_MAX),
        issued_s=_positive_int(fields, "TLS.time", _TIME_MAX_S),
        expire_s=_positive_int(fields, "TLS.expire", _UINT32_MAX),
        userbuf=_userbuf(fields),
    )
    return claims, signature


def _to_text(compressed: bytes) -> str:
    return base64.b64encode(compressed).decode().translate(_FROM_STANDARD)


def _to_bytes(token: str) -> bytes:
    try:
        compressed = base64.b64decode(token.translate(_TO_STANDARD), validate=True)
    except ValueError as error:
        raise _malformed("the token is not base64") from error
    # The decoder takes "+" for "*" and ignores the last digit's spare bits; one spelling is ours.
    if _to_text(compressed) != token:
        raise _malformed("the token is not in the alphabet of a UserSig")
    return compressed


def _inflate(compressed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        # The byte more than is allowed tells what is too long from what is cut off.
        document = inflater.decompress(compressed, MAX_JSON_BYTES + 1)
    except zlib.error as error:
        raise _malformed("the token is not zlib data") from error
    if len(document) > MAX_JSON_BYTES:
        raise _malformed("the token inflates to too much")
    if not inflater.eof:
        raise _malformed("the token's zlib data is cut off")
    if inflater.unused_data:
        raise _malformed("the token goes on after its zlib data")
    return document


def _to_fields(document: bytes) -> dict[str, object]:
    try:
        # Decoded here, because json.loads would also guess UTF-16 and UTF-32.
        fields = json.loads(document.decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _malformed("the token holds no JSON, or JSON with duplicate keys") from error
    if not isinstance(fields, dict):
        raise _malformed("the token's JSON is not an object")
    return fields


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate key")
    return fields


def _positive_int(fields: dict[str, object], name: str, maximum: int) -> int:
    value = fields.get(name)
    if not _is_positive_int(value, maximum):
        raise _malformed(f"{name} is missing or not an integer in its range")
    return value


def _is_positive_int(value: object, maximum: int) -> TypeGuard[int]:
    # True is an int and equals 1, but its text in the signed fields is another.
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= maximum


def _userbuf(fields: dict[str, object]) -> str | None:
    if "TLS.userbuf" not in fields:
        return None
    userbuf = fields["TLS.userbuf"]
    if not isinstance(userbuf, str) or not _USERBUF.fullmatch(userbuf):
        raise _malformed("TLS.userbuf is not base64")
    return userbuf


def _malformed(message: str) -> SignatureRefused:
    return SignatureRefused(SigCode.MALFORMED, message)
