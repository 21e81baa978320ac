"""The keys that JSON Web Tokens are verified with: those of a text, or of a file that may change.

Which algorithm may have signed is fixed by the kind of the key, never by the token: HS256 for a
secret, RS256 for an RSA key, ES256 for a key on P-256 (RFC 8725 sections 3.1 and 3.2).
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import jwt
import msgspec

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
"""How long a change of the file may go unseen: also a key that was taken out is good for so long."""

LOOK_FOR_UNKNOWN_S: Final = 1.0
"""How often the file is looked at for a key that is not known, whoever names how many of those."""

HS256: Final = "HS256"

_MOST_BYTES: Final = 1024 * 1024
_LEAST_SECRET_BYTES: Final = 32
_LEAST_RSA_BITS: Final = 2048
_ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}


class KeysRefused(Exception):
    """These keys cannot be verified with; the message says why."""


class Key(msgspec.Struct, frozen=True):
    """Something that verifies, and the only algorithm that it does so by."""

    algorithm: str
    material: Any


class Keys(Protocol):
    """Keys by their ``kid``, "" for the one that has none."""

    def current(self, wanted: str | None) -> Mapping[str, Key]:
        """Those that hold now, of which the key ``wanted`` is asked for; None for the only one."""


class FixedKeys:
    """``Keys`` of a JWK set that does not change.

    Raises:
        KeysRefused: as ``keys_of``.
    """

    def __init__(self, key_set: str) -> None:
        self._keys = keys_of(key_set) if key_set else {}

    def current(self, _wanted: str | None) -> Mapping[str, Key]:
        """See ``Keys.current``."""
        return self._keys


class KeyFile:
    """``Keys`` of a file with a JWK set, read again when it was changed.

    It is looked at when a token is to be checked, but only every LOOK_EVERY_S, or
    LOOK_FOR_UNKNOWN_S for a key that is not known. When it cannot be read any more, or holds no
    usable keys, those that it had are kept, and a warning is logged once.

    Raises:
        KeysRefused: it cannot be read, or holds no usable keys.
    """

    def __init__(self, path: Path, monotonic_s: Callable[[], float]) -> None:
        self._path = path
        self._monotonic_s = monotonic_s
        self._looked_s = monotonic_s()
        self._stamp = _stamp(path)
        self._keys = _read(path)

    def current(self, wanted: str | None) -> Mapping[str, Key]:
        """See ``Keys.current``."""
        is_known = wanted in self._keys or (wanted is None and len(self._keys) == 1)
        pause_s = LOOK_EVERY_S if is_known else LOOK_FOR_UNKNOWN_S
        now_s = self._monotonic_s()
        if now_s - self._looked_s >= pause_s:
            self._looked_s = now_s
            self._look()
        return self._keys

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = _read(self._path)
        except KeysRefused as error:
            log.warning("%s is not taken, and the keys that it had are kept: %s", self._path, error)
        else:
            names = ", ".join(map(repr, self._keys))
            log.info("%s was read again; its keys are %s", self._path, names)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes with the file's content; None where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _read(path: Path) -> Mapping[str, Key]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise KeysRefused(f"it has more than {_MOST_BYTES} bytes")
        text = data.decode()
    except (OSError, UnicodeError) as error:
        raise KeysRefused(f"it cannot be read: {error}") from error
    if not text.strip():
        raise KeysRefused("it is empty; a JWK set was expected")
    return keys_of(text)


def secret_key(secret: str) -> Key | None:
    """The key of HS256 whose bytes are the text's UTF-8; None for "".

    Raises:
        KeysRefused: it is too short.
    """
    if secret and len(secret.encode()) < _LEAST_SECRET_BYTES:
        raise KeysRefused(f"the secret is shorter than {_LEAST_SECRET_BYTES} bytes")
    return Key(HS256, secret) if secret else None


def keys_of(key_set: str) -> Mapping[str, Key]:
    """The keys of a JWK set (RFC 7517) by their ``kid``, "" for the one that has none.

    Those that are for something else are left out, as its section 5 has it.

    Raises:
        KeysRefused: it is no such set; one of its keys is private, too weak or there twice; or
            none is left.
    """
    try:
        rows = json.loads(key_set)["keys"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise KeysRefused('the key set is not JSON of the form {"keys": [...]}') from error
    keys: dict[str, Key] = {}
    left_out: list[str] = []
    for row in rows if isinstance(rows, list) else ():
        kid = row.get("kid", "") if isinstance(row, dict) else None
        if not isinstance(kid, str):
            raise KeysRefused("a key is no object, or its kid is no text")
        if (reason := _why_not(row)) is not None:
            left_out.append(f"key {kid!r} {reason}")
            continue
        if kid in keys:
            raise KeysRefused(f"key {kid!r} is there twice")
        keys[kid] = _key_of_row(row, kid)
    if not keys:
        reasons = "".join(f"; {one}" for one in left_out[:5])
        raise KeysRefused(f"the key set has no keys of RS256 or ES256{reasons}")
    return keys


def _why_not(row: Mapping[str, Any]) -> str | None:
    """Why a key is not for what we do; None if it is."""
    algorithm = _ALGORITHMS.get(str(row.get("kty")))
    if algorithm is None or row.get("alg", algorithm) != algorithm:
        return "is neither RSA for RS256 nor P-256 for ES256"
    if algorithm == "ES256" and row.get("crv") != "P-256":
        return "is not on the curve P-256"
    if row.get("use", "sig") != "sig":
        return "is not for signatures"
    return None


def _key_of_row(row: Mapping[str, Any], kid: str) -> Key:
    algorithm = _ALGORITHMS[str(row["kty"])]
    if "d" in row:
        raise KeysRefused(f"key {kid!r} is a private key; give the server the public one")
    try:
        material = jwt.PyJWK(dict(row), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, LookupError) as error:
        raise KeysRefused(f"key {kid!r} cannot be read") from error
    if algorithm == "RS256" and material.key_size < _LEAST_RSA_BITS:
        raise KeysRefused(f"key {kid!r} has fewer than {_LEAST_RSA_BITS} bits")
    return Key(algorithm, material)
