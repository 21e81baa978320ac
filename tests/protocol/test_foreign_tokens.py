"""Tokens that the hosted original's own libraries made, of Python and of Node.js, with fixed clocks.

``scripts/usersigs`` makes them anew, and says whether they would still be the same.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.usersig import SigCode, SignatureRefused, VerifiedSig, verify

Row = dict[str, Any]

ROWS: Final[list[Row]] = json.loads(
    (Path(__file__).parent / "foreign_tokens.json").read_text(encoding="utf-8")
)
every_token = pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row['library'].split()[0]}-{row['user_id']}"
)


def checked(row: Row, after_s: int = 0, **changed: Any) -> VerifiedSig:  # noqa: ANN401 - a row's
    row = row | changed
    return verify(
        row["token"],
        user_id=row["user_id"],
        sdkappid=row["sdkappid"],
        secret_keys=[row["secret_key"]],
        now_s=row["time_s"] + after_s,
    )


def refusal(row: Row, after_s: int = 0, **changed: Any) -> SigCode:  # noqa: ANN401 - a row's
    with pytest.raises(SignatureRefused) as caught:
        checked(row, after_s, **changed)
    return caught.value.code


@every_token
def test_a_token_is_good_from_its_time_to_its_end(row: Row) -> None:
    assert checked(row).user_id == row["user_id"]
    assert checked(row).issued_s == row["time_s"]
    checked(row, row["expire_s"] - 1)
    assert refusal(row, row["expire_s"]) is SigCode.EXPIRED


@every_token
def test_it_is_for_one_user_of_one_app_by_one_key(row: Row) -> None:
    assert refusal(row, user_id="somebody else") is SigCode.OTHER_USER
    assert refusal(row, sdkappid=row["sdkappid"] + 1) is SigCode.OTHER_APP
    assert refusal(row, secret_key="another key") is SigCode.WRONG_KEY


def test_there_are_tokens_of_both_libraries() -> None:
    libraries = [row["library"].split()[0] for row in ROWS]
    assert {name: libraries.count(name) for name in libraries} == {"PyPI": 10, "npm": 10}
