"""JSON Web Tokens in place of UserSigs, for operators whose back end makes those already.

Which algorithm may have signed is fixed by the kind of the key, never by the token: HS256 for a
secret, RS256 for an RSA key, ES256 for a key on P-256 (RFC 8725 sections 3.1 and 3.2).
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import jwt
import msgspec

from protocol.usersig import SigCode, SignatureRefused

MAX_TOKEN_CHARS: Final = 8192
LEEWAY_S: Final = 60

_LEAST_SECRET_BYTES: Final = 32
_LEAST_RSA_BITS: Final = 2048
_HS256: Final = "HS256"
_ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}


class KeysRefused(Exception):
    """These keys cannot be verified with; the message says why."""


class Key(msgspec.Struct, frozen=True):
    """Something that verifies, and the only algorithm that it does so by."""

    algorithm: str
    material: Any


class JwtVerifier:
    """Checks tokens by a secret, a key set, or both.

    Args:
        secret: of HS256, as text; its UTF-8 bytes are the key. "" for none.
        key_set: a JWK set (RFC 7517) as JSON text with public keys alone. "" for none.
        audience: what ``aud`` must name; "" when tokens have no ``aud``.
        issuer: what ``iss`` must be; "" for anything.

    Raises:
        KeysRefused: a key is too weak, private, or of another kind than RSA and P-256.
    """

    def __init__(
        self, *, secret: str = "", key_set: str = "", audience: str = "", issuer: str = ""
    ) -> None:
        if secret and len(secret.encode()) < _LEAST_SECRET_BYTES:
            raise KeysRefused(f"the secret is shorter than {_LEAST_SECRET_BYTES} bytes")
        self._secret = Key(_HS256, secret) if secret else None
        self._keys = _keys_of(key_set) if key_set else {}
        self._audience = audience or None
        self._issuer = issuer or None

    def verify(self, token: str, user_id: str) -> int | None:
        """When ``token``, signed by a key of ours, valid now and of this user, was issued.

        That is its ``iat`` in whole Unix seconds, None without one. ``sub`` is the user ID and
        ``exp`` is required; ``exp``, ``nbf`` and ``iat`` are taken with LEEWAY_S by the machine's
        clock.

        Raises:
            SignatureRefused: EXPIRED; WRONG_KEY also for an algorithm or a key that is not ours;
                OTHER_APP for another audience or issuer; OTHER_USER; MALFORMED for all else.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise SignatureRefused(SigCode.MALFORMED, "the token is too long")
        try:
            key = self._key_of(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "sub"]},
            )
            issued_s = int(claims["iat"]) if "iat" in claims else None
        except jwt.ExpiredSignatureError as error:
            raise SignatureRefused(SigCode.EXPIRED, "the token has expired") from error
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
            raise _wrong_key() from error
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
            raise SignatureRefused(SigCode.OTHER_APP, "the token is for another app") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise SignatureRefused(
                SigCode.MALFORMED, "the token is no JWT, not valid yet, or lacks exp or sub"
            ) from error
        if claims["sub"] != user_id:
            raise SignatureRefused(SigCode.OTHER_USER, "the token is for another user")
        return issued_s

    def _key_of(self, header: Mapping[str, object]) -> Key:
        """The key that a token names; a set of one key need not be named."""
        if header.get("alg") == _HS256:
            if self._secret is None:
                raise _wrong_key()
            return self._secret
        kid = header.get("kid")
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if not isinstance(kid, str) or kid not in self._keys:
            raise _wrong_key()
        return self._keys[kid]


def _wrong_key() -> SignatureRefused:
    return SignatureRefused(SigCode.WRONG_KEY, "the signature is not by a key of this app")


def _keys_of(key_set: str) -> Mapping[str, Key]:
    """The keys of a set by their ``kid``, "" for the one that has none."""
    try:
        rows = json.loads(key_set)["keys"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise KeysRefused('the key set is not JSON of the form {"keys": [...]}') from error
    keys: dict[str, Key] = {}
    for row in rows if isinstance(rows, list) else ():
        kid = row.get("kid", "") if isinstance(row, dict) else None
        if not isinstance(kid, str) or kid in keys:
            raise KeysRefused("a key is no object, or its kid is no text or there twice")
        keys[kid] = _key_of_row(row, kid)
    if not keys:
        raise KeysRefused("the key set has no keys")
    return keys


def _key_of_row(row: Mapping[str, Any], kid: str) -> Key:
    algorithm = _ALGORITHMS.get(str(row.get("kty")))
    if algorithm is None or row.get("alg", algorithm) != algorithm:
        raise KeysRefused(f"key {kid!r} is neither RSA for RS256 nor P-256 for ES256")
    if "d" in row:
        raise KeysRefused(f"key {kid!r} is a private key; give the server the public one")
    if algorithm == "ES256" and row.get("crv") != "P-256":
        raise KeysRefused(f"key {kid!r} is not on the curve P-256")
    try:
        material = jwt.PyJWK(dict(row), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, LookupError) as error:
        raise KeysRefused(f"key {kid!r} cannot be read") from error
    if algorithm == "RS256" and material.key_size < _LEAST_RSA_BITS:
        raise KeysRefused(f"key {kid!r} has fewer than {_LEAST_RSA_BITS} bits")
    return Key(algorithm, material)
