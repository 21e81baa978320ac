"""JSON Web Tokens in place of UserSigs, for operators whose back end makes those already."""

from collections.abc import Mapping
from typing import Final

import jwt

from protocol.usersig import SigCode, SignatureRefused
from server.transport.jwt_keys import HS256, FixedKeys, Key, Keys, secret_key

MAX_TOKEN_CHARS: Final = 8192
LEEWAY_S: Final = 60


class JwtVerifier:
    """Checks tokens by a secret, a key set, or both.

    Args:
        secret: of HS256, as text; its UTF-8 bytes are the key. "" for none.
        key_set: a JWK set (RFC 7517) as JSON text with public keys alone, "" for none; or what
            holds one that may change.
        audience: what ``aud`` must name; "" when tokens have no ``aud``.
        issuer: what ``iss`` must be; "" for anything.

    Raises:
        KeysRefused: the secret is too short, or the set as ``keys_of``.
    """

    def __init__(
        self, *, secret: str = "", key_set: str | Keys = "", audience: str = "", issuer: str = ""
    ) -> None:
        self._secret = secret_key(secret)
        self._keys: Keys = FixedKeys(key_set) if isinstance(key_set, str) else key_set
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
        if header.get("alg") == HS256:
            if self._secret is None:
                raise _wrong_key()
            return self._secret
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise _wrong_key()
        keys = self._keys.current(kid)
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        if kid is None or kid not in keys:
            raise _wrong_key()
        return keys[kid]


def _wrong_key() -> SignatureRefused:
    return SignatureRefused(SigCode.WRONG_KEY, "the signature is not by a key of this app")
