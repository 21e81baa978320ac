"""How a receiver knows that a request is ours and new."""

import hashlib
import hmac
from collections.abc import Sequence


def token_sign(token: str, request_time_s: int) -> str:
    """The original's ``Sign``: hex SHA-256 of the token and the time (``hosted-api.md`` section 7).

    It says nothing of the body; ``signature`` does.
    """
    return hashlib.sha256(f"{token}{request_time_s}".encode()).hexdigest()


def signature(secrets: Sequence[str], time_s: int, body: bytes) -> str:
    """The value of ``Muster-Signature``: ``t=SECONDS`` and a ``v1=HEX`` for each secret.

    Each is the HMAC-SHA256 (RFC 2104), under the secret's UTF-8, of the time in decimal, a full
    stop, and the body. Several secrets are for the time in which one replaces another.
    """
    content = b"%d.%s" % (time_s, body)
    macs = [hmac.new(one.encode(), content, hashlib.sha256).hexdigest() for one in secrets]
    return ",".join([f"t={time_s}", *(f"v1={mac}" for mac in macs)])
