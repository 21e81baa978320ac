"""What was revoked is refused, whatever kind of token shows it, and nothing else is."""

import pytest

from protocol import usersig
from protocol.usersig import SigCode, SignatureRefused
from server.service.credentials import Credentials

NOW_S = 1_750_000_000


class Stamped:
    """Tokens of another kind: ``alice.N`` was issued at N, ``alice.`` does not say when."""

    def verify(self, token: str, user_id: str) -> int | None:
        name, _, issued = token.partition(".")
        if name != user_id:
            raise SignatureRefused(SigCode.OTHER_USER, "the token is for another user")
        return int(issued) if issued else None


def credentials(**revoked: int) -> Credentials:
    return Credentials(
        sdkappid=1, secret_keys=["k"], now_s=lambda: NOW_S, jwt=Stamped(), revoked=revoked
    )


def sig(issued_s: int, user_id: str = "alice") -> str:
    return usersig.sign(user_id, sdkappid=1, secret_key="k", now_s=issued_s, expire_s=86_400)


def code_of(token: str, of: Credentials, user_id: str = "alice") -> SigCode | None:
    try:
        of.verify(token, user_id)
    except SignatureRefused as refused:
        return refused.code
    return None


@pytest.mark.parametrize("age_s", [0, 1, 5, 6])
def test_what_was_issued_up_to_then_is_refused(age_s: int) -> None:
    of = credentials(alice=NOW_S - 5)
    expected = SigCode.REVOKED if age_s >= 5 else None
    assert code_of(sig(NOW_S - age_s), of) is expected
    assert code_of(f"alice.{NOW_S - age_s}", of) is expected


def test_what_does_not_say_when_it_was_issued_is_refused_once_anything_was_revoked() -> None:
    of = credentials()
    assert code_of("alice.", of) is None
    of.revoke("alice", 1)
    assert code_of("alice.", of) is SigCode.REVOKED
    assert code_of(sig(NOW_S), of) is None


def test_others_are_not_concerned() -> None:
    of = credentials(bob=NOW_S)
    assert code_of(sig(NOW_S - 9), of) is None
    assert code_of(sig(NOW_S, "bob"), of, "bob") is SigCode.REVOKED


def test_a_revocation_is_never_taken_back() -> None:
    of = credentials(alice=NOW_S)
    of.revoke("alice", NOW_S - 9)
    assert code_of(sig(NOW_S - 1), of) is SigCode.REVOKED


def test_only_who_has_a_token_of_ours_hears_of_it() -> None:
    of = credentials(alice=NOW_S)
    forged = usersig.sign("alice", sdkappid=1, secret_key="x", now_s=NOW_S, expire_s=9)
    assert code_of(forged, of) is SigCode.WRONG_KEY
    assert code_of(sig(NOW_S - 86_400), of) is SigCode.EXPIRED
