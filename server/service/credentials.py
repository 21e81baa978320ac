"""What proves who somebody is: UserSigs, tokens of the operator's own, and what was revoked of them.

Devices and the operator's programs are let in by the same check.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from protocol import usersig
from protocol.usersig import SigCode, SignatureRefused


class TokenVerifier(Protocol):
    """Checks tokens of another kind than UserSig."""

    def verify(self, token: str, user_id: str) -> int | None:
        """When ``token``, which proves that its bearer is ``user_id``, was issued; Unix seconds.

        None where it does not say.

        Raises:
            SignatureRefused: it proves no such thing, or not now.
        """


class Credentials:
    """Checks tokens.

    Args:
        sdkappid: our app.
        secret_keys: keys that may have signed UserSigs; several while keys are being changed.
        now_s: Unix time in seconds, as the world has it.
        jwt: who checks tokens that are no UserSig; None where there are none.
        revoked: by user, the second up to which what was issued is refused, as it is stored.
    """

    def __init__(
        self,
        *,
        sdkappid: int,
        secret_keys: Sequence[str],
        now_s: Callable[[], int],
        jwt: TokenVerifier | None = None,
        revoked: Mapping[str, int] | None = None,
    ) -> None:
        self.sdkappid = sdkappid
        self.now_s = now_s
        self._secret_keys = secret_keys
        self._jwt = jwt
        self._revoked = dict(revoked or {})

    def verify(self, token: str, user_id: str) -> None:
        """Return if ``token`` proves that its bearer is ``user_id``, now.

        Raises:
            SignatureRefused: with the original's number for the reason; REVOKED last of all, so
                that nobody learns of it who has no token of ours.
        """
        issued_s = self._issued_s(token, user_id)
        up_to_s = self._revoked.get(user_id)
        if up_to_s is not None and (issued_s is None or issued_s <= up_to_s):
            raise SignatureRefused(SigCode.REVOKED, "the token was revoked; show a newer one")

    def revoke(self, user_id: str, up_to_s: int) -> None:
        """What was issued for the user up to then is refused from now on; it must be stored."""
        self._revoked[user_id] = max(up_to_s, self._revoked.get(user_id, 0))

    def _issued_s(self, token: str, user_id: str) -> int | None:
        # A dot is in every JWT and in no UserSig.
        if self._jwt is not None and "." in token:
            return self._jwt.verify(token, user_id)
        sig = usersig.verify(
            token,
            user_id=user_id,
            sdkappid=self.sdkappid,
            secret_keys=self._secret_keys,
            now_s=self.now_s(),
        )
        return sig.issued_s
