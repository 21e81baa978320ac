"""UserSig: what is accepted, what is refused and with which number, and at what cost."""

import base64
import gzip
import hashlib
import hmac
import json
import random
import string
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from TLSSigAPIv2 import TLSSigAPIv2

from protocol.usersig import (
    MAX_JSON_BYTES,
    MAX_TOKEN_CHARS,
    SigCode,
    SignatureRefused,
    VerifiedSig,
    sign,
    verify,
)

APP = 1400000000
KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
OLD_KEY = "a key of last year"
USER = "xiaojun"
ISSUED_S = 1700000000
EXPIRE_S = 15552000
NOW_S = ISSUED_S + 1

# Made by the original's Python library (tls-sig-api-v2 1.1) with its clock at ISSUED_S.
VECTOR = (
    "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkKjIT87NK82CSxSnZiQUFmSlAKUMTAyiAyqVWFGQWpYJkTE1N"
    "jRDiJZm5YFFzNPXFmekgG3zKHM1T9D3LzdODi-OKs8vCqpxcAvydnV2SSv2cy03cPcpDnA2SMgu0nUxslWoBHdYzUg__"
)
VECTOR_SIG = "LvA7d/Iw7gSsnskvVzBDPOCCDbuNCw4GHwTC0bip+B4="

ALPHABET = string.ascii_letters + string.digits + "*-_"
user_ids = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=32)


def check(token: str, user_id: str = USER, now_s: int = NOW_S) -> VerifiedSig:
    return verify(token, user_id=user_id, sdkappid=APP, secret_keys=[KEY], now_s=now_s)


def refusal(token: str, user_id: str = USER, now_s: int = NOW_S) -> SigCode:
    with pytest.raises(SignatureRefused) as caught:
        check(token, user_id, now_s)
    return caught.value.code


def outcome(token: str, user_id: str) -> VerifiedSig | SigCode:
    try:
        return check(token, user_id)
    except SignatureRefused as refused:
        return refused.code


def sign_here(user_id: str = USER, expire_s: int = EXPIRE_S, key: str = KEY, app: int = APP) -> str:
    return sign(user_id, sdkappid=app, secret_key=key, now_s=ISSUED_S, expire_s=expire_s)


# A second implementation, so that tokens can be built that sign() refuses to build.


def text_of(compressed: bytes) -> str:
    return base64.b64encode(compressed).decode().translate(str.maketrans("+/=", "*-_"))


def bytes_of(token: str) -> bytes:
    return base64.b64decode(token.translate(str.maketrans("*-_", "+/=")))


def document_of(token: str) -> dict[str, object]:
    fields: dict[str, object] = json.loads(zlib.decompress(bytes_of(token)))
    return fields


def hmac_of(fields: dict[str, object], key: str = KEY) -> str:
    names = ["identifier", "sdkappid", "time", "expire", "userbuf"]
    lines = [f"TLS.{n}:{fields[f'TLS.{n}']}\n" for n in names if f"TLS.{n}" in fields]
    digest = hmac.new(key.encode(), "".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def signed_fields(**changes: object) -> dict[str, object]:
    """The fields of a good token with ``changes`` (``None`` removes one), truly signed."""
    fields: dict[str, object] = {
        "TLS.ver": "2.0",
        "TLS.identifier": USER,
        "TLS.sdkappid": APP,
        "TLS.expire": EXPIRE_S,
        "TLS.time": ISSUED_S,
    }
    fields |= {f"TLS.{name}": value for name, value in changes.items()}
    fields = {name: value for name, value in fields.items() if value is not None}
    return {**fields, "TLS.sig": hmac_of(fields)}


def token_of(fields: object) -> str:
    return text_of(zlib.compress(json.dumps(fields).encode()))


class TestVector:
    def test_is_accepted(self) -> None:
        assert check(VECTOR) == VerifiedSig(USER, ISSUED_S, ISSUED_S + EXPIRE_S)

    def test_is_what_we_sign(self) -> None:
        # Compared after decoding: another build of zlib may compress differently.
        assert document_of(sign_here()) == document_of(VECTOR)
        assert document_of(sign_here())["TLS.sig"] == VECTOR_SIG

    def test_every_flip_of_one_character_is_refused(self) -> None:
        for i in range(len(VECTOR)):
            for other in (ALPHABET + "+/= \n\0é").replace(VECTOR[i], ""):
                assert refusal(VECTOR[:i] + other + VECTOR[i + 1 :]) is SigCode.MALFORMED

    def test_every_truncation_is_refused(self) -> None:
        for length in range(1, len(VECTOR)):
            assert refusal(VECTOR[:length]) is SigCode.MALFORMED
            assert refusal(VECTOR[length:]) is SigCode.MALFORMED


class TestAgainstThePublicPackage:
    IDS = (USER, "a", "x" * 32, 'a"b\\c/d', " ~ ", "a<b>&c", "TLS.time:1")

    @pytest.mark.parametrize("user_id", IDS)
    def test_its_tokens_are_accepted_here(self, user_id: str) -> None:
        token = TLSSigAPIv2(APP, KEY).gen_sig(user_id, 86400)
        issued_s = document_of(token)["TLS.time"]
        assert isinstance(issued_s, int)
        assert check(token, user_id, issued_s) == VerifiedSig(user_id, issued_s, issued_s + 86400)

    @pytest.mark.parametrize("user_id", IDS)
    def test_our_tokens_say_the_same_as_its_own(self, user_id: str) -> None:
        # The package cannot verify; equal documents are the next best: nothing else travels.
        theirs = document_of(TLSSigAPIv2(APP, KEY).gen_sig(user_id, 86400))
        now_s = theirs["TLS.time"]
        assert isinstance(now_s, int)
        ours = sign(user_id, sdkappid=APP, secret_key=KEY, now_s=now_s, expire_s=86400)
        assert document_of(ours) == theirs

    @pytest.mark.parametrize("userbuf", [b"abc", b"", bytes(range(256))])
    def test_its_userbuf_is_accepted_and_covered_by_the_signature(self, userbuf: bytes) -> None:
        fields = document_of(TLSSigAPIv2(APP, KEY).gen_sig_with_userbuf(USER, 86400, userbuf))
        issued_s = fields["TLS.time"]
        assert isinstance(issued_s, int)
        assert check(token_of(fields), now_s=issued_s).expires_s == issued_s + 86400

        fields["TLS.userbuf"] = "YWJk"
        assert refusal(token_of(fields), now_s=issued_s) is SigCode.WRONG_KEY
        del fields["TLS.userbuf"]
        assert refusal(token_of(fields), now_s=issued_s) is SigCode.WRONG_KEY

    def test_its_wrong_key_is_refused(self) -> None:
        token = TLSSigAPIv2(APP, OLD_KEY).gen_sig(USER)
        assert refusal(token, now_s=2**40) is SigCode.WRONG_KEY


class TestOtherLibrariesOfTheOriginal:
    """What the others write differently; each would be easy to refuse by mistake."""

    def test_go_does_not_compress_and_ends_the_json_with_a_newline(self) -> None:
        document = json.dumps(signed_fields(identifier="a<b")).replace("<", "\\u003c") + "\n"
        assert check(text_of(zlib.compress(document.encode(), 0)), "a<b").user_id == "a<b"

    def test_php_escapes_slashes(self) -> None:
        document = json.dumps(signed_fields(identifier="a/b")).replace("/", "\\/")
        assert check(text_of(zlib.compress(document.encode())), "a/b").user_id == "a/b"

    def test_cpp_has_another_order_no_spaces_and_the_fastest_level(self) -> None:
        fields = dict(reversed(signed_fields(userbuf="YWJj").items()))
        document = json.dumps(fields, separators=(",", ":")).encode()
        assert check(text_of(zlib.compress(document, 1))).user_id == USER

    def test_a_field_that_nobody_names_is_ignored(self) -> None:
        assert check(token_of({**signed_fields(), "TLS.later": [1, {"a": None}]})).user_id == USER


class TestTime:
    def test_is_valid_until_just_before_its_expiry(self) -> None:
        token = sign_here(expire_s=10)
        assert check(token, now_s=ISSUED_S + 9).expires_s == ISSUED_S + 10
        assert refusal(token, now_s=ISSUED_S + 10) is SigCode.EXPIRED
        assert refusal(token, now_s=ISSUED_S + EXPIRE_S) is SigCode.EXPIRED

    def test_the_issuers_clock_may_run_ahead_by_the_skew(self) -> None:
        token = sign_here()
        assert check(token, now_s=ISSUED_S - 60).issued_s == ISSUED_S
        assert refusal(token, now_s=ISSUED_S - 61) is SigCode.MALFORMED

    @pytest.mark.parametrize("skew_s", [0, 5])
    def test_the_skew_is_the_callers(self, skew_s: int) -> None:
        def at(now_s: int) -> VerifiedSig:
            return verify(
                VECTOR,
                user_id=USER,
                sdkappid=APP,
                secret_keys=[KEY],
                now_s=now_s,
                clock_skew_s=skew_s,
            )

        assert at(ISSUED_S - skew_s).issued_s == ISSUED_S
        with pytest.raises(SignatureRefused, match="70003"):
            at(ISSUED_S - skew_s - 1)


class TestWhoAndWhere:
    def test_another_user(self) -> None:
        for other in ("xiaojuN", "xiaojun ", "xiaoju", ""):
            assert refusal(VECTOR, user_id=other) is SigCode.OTHER_USER

    def test_another_app(self) -> None:
        assert refusal(sign_here(app=APP + 1)) is SigCode.OTHER_APP

    def test_empty(self) -> None:
        assert refusal("") is SigCode.EMPTY

    @pytest.mark.parametrize(
        "changes",
        [{"identifier": "bob"}, {"sdkappid": 1}, {"time": 1}, {"expire": 1}, {"time": 2**40}],
        ids=str,
    )
    def test_an_unsigned_token_is_told_nothing_but_that(self, changes: dict[str, object]) -> None:
        fields = signed_fields(**changes)
        fields["TLS.sig"] = hmac_of(fields, OLD_KEY)
        assert refusal(token_of(fields)) is SigCode.WRONG_KEY

    @pytest.mark.parametrize("name", ["identifier", "sdkappid", "time", "expire"])
    def test_every_claim_is_covered_by_the_signature(self, name: str) -> None:
        changed = signed_fields(**{name: USER + "2" if name == "identifier" else EXPIRE_S - 1})
        fields = {**changed, "TLS.sig": VECTOR_SIG}
        assert refusal(token_of(fields)) is SigCode.WRONG_KEY

    def test_the_message_tells_neither_token_nor_key(self) -> None:
        with pytest.raises(SignatureRefused) as caught:
            check(sign_here("somebody"))
        assert str(caught.value) == "70013: the token is for another user"
        assert caught.value.message == "the token is for another user"


class TestKeys:
    @pytest.mark.parametrize("keys", [[KEY, OLD_KEY], [OLD_KEY, KEY], (OLD_KEY, "third", KEY)])
    def test_any_key_that_is_valid_now_will_do(self, keys: list[str]) -> None:
        for key in (KEY, OLD_KEY):
            token = sign_here(key=key)
            proved = verify(token, user_id=USER, sdkappid=APP, secret_keys=keys, now_s=NOW_S)
            assert proved.user_id == USER

    @pytest.mark.parametrize("keys", [[], [OLD_KEY], [KEY.upper()], [KEY[:-1]], [KEY + " "]])
    def test_no_other_key_will(self, keys: list[str]) -> None:
        with pytest.raises(SignatureRefused, match="70009"):
            verify(VECTOR, user_id=USER, sdkappid=APP, secret_keys=keys, now_s=NOW_S)

    def test_a_key_may_be_any_text(self) -> None:
        token = sign_here(key="ключ")
        verify(token, user_id=USER, sdkappid=APP, secret_keys=["ключ"], now_s=NOW_S)

    @pytest.mark.parametrize("keys", [[""], [KEY, ""], ["", KEY]])
    def test_an_empty_key_is_the_operators_mistake(self, keys: list[str]) -> None:
        with pytest.raises(ValueError, match="secret key"):
            verify(VECTOR, user_id=USER, sdkappid=APP, secret_keys=keys, now_s=NOW_S)
        with pytest.raises(ValueError, match="secret key"):
            sign_here(key="")


class TestIdentifier:
    BAD = ("", "x" * 33, "a\nb", "alice\n", "\nalice", "a\tb", "a\0", "a\x7f", "é", "\ud800", "爱")

    @pytest.mark.parametrize("user_id", BAD, ids=ascii)
    def test_is_printable_ascii_of_1_to_32_bytes(self, user_id: str) -> None:
        with pytest.raises(ValueError, match="user_id"):
            sign_here(user_id)
        if "\ud800" not in user_id:  # no UTF-8, so nobody can sign it
            token = token_of(signed_fields(identifier=user_id))
            assert refusal(token, user_id) is SigCode.MALFORMED

    def test_a_lone_surrogate_is_malformed_not_a_crash(self) -> None:
        fields = {**signed_fields(), "TLS.identifier": "\ud800"}
        assert refusal(token_of(fields)) is SigCode.MALFORMED

    def test_an_issuer_that_signs_newlines_cannot_be_used_to_become_another_user(self) -> None:
        # The public package signs any identifier. This one's signed text is also the signed text
        # of a token of the administrator whose userbuf goes on for several lines.
        name = (
            f"administrator\nTLS.sdkappid:{APP}\nTLS.time:{ISSUED_S}\nTLS.expire:99\nTLS.userbuf:"
        )
        theirs = document_of(TLSSigAPIv2(APP, KEY).gen_sig(name, 60))
        rest = f"\nTLS.sdkappid:{APP}\nTLS.time:{theirs['TLS.time']}\nTLS.expire:60"
        forged = signed_fields(identifier="administrator", expire=99, userbuf=rest)
        assert forged["TLS.sig"] == theirs["TLS.sig"]
        assert refusal(token_of(forged), "administrator") is SigCode.MALFORMED
        assert refusal(token_of(theirs), name) is SigCode.MALFORMED


class TestFields:
    @pytest.mark.parametrize("name", ["ver", "identifier", "sdkappid", "time", "expire", "sig"])
    def test_a_missing_one_is_malformed(self, name: str) -> None:
        fields = signed_fields()
        del fields[f"TLS.{name}"]
        assert refusal(token_of(fields)) is SigCode.MALFORMED

    @pytest.mark.parametrize(
        "value",
        [True, False, None, 0, -1, 1.0, 1e300, float("nan"), "1", 2**53, 10**3000, [1], {}],
        ids=lambda value: str(value)[:8],
    )
    @pytest.mark.parametrize("name", ["sdkappid", "time", "expire"])
    def test_a_number_is_a_positive_integer(self, name: str, value: object) -> None:
        document = {**signed_fields(), f"TLS.{name}": value}
        assert refusal(token_of(document)) is SigCode.MALFORMED
        if value is not None:
            assert refusal(token_of(signed_fields(**{name: value}))) is SigCode.MALFORMED

    @pytest.mark.parametrize("name", ["sdkappid", "expire"])
    def test_an_app_and_a_duration_have_32_bits(self, name: str) -> None:
        assert refusal(token_of(signed_fields(**{name: 2**32}))) is SigCode.MALFORMED
        largest = signed_fields(**{name: 2**32 - 1})
        proved = verify(
            token_of(largest),
            user_id=USER,
            sdkappid=2**32 - 1 if name == "sdkappid" else APP,
            secret_keys=[KEY],
            now_s=NOW_S,
        )
        assert proved.expires_s == ISSUED_S + (EXPIRE_S if name == "sdkappid" else 2**32 - 1)

    def test_the_latest_expiry_is_a_53_bit_integer(self) -> None:
        latest = 2**53 - 2**32
        fields = signed_fields(time=latest, expire=2**32 - 1)
        assert check(token_of(fields), now_s=latest).expires_s == 2**53 - 1
        fields = signed_fields(time=latest + 1)
        assert refusal(token_of(fields), now_s=latest + 1) is SigCode.MALFORMED

    @pytest.mark.parametrize("value", ["1.0", "2", "2.00", 2.0, 2, ["2.0"], None])
    def test_the_version_is_2_0(self, value: object) -> None:
        fields = {**signed_fields(), "TLS.ver": value}
        assert refusal(token_of(fields)) is SigCode.MALFORMED

    @pytest.mark.parametrize("value", [1, True, None, ["xiaojun"], {"a": "b"}], ids=str)
    @pytest.mark.parametrize("name", ["identifier", "sig", "userbuf"])
    def test_a_text_is_a_text(self, name: str, value: object) -> None:
        fields = {**signed_fields(), f"TLS.{name}": value}
        assert refusal(token_of(fields)) is SigCode.MALFORMED

    @pytest.mark.parametrize(
        "value",
        [
            "",
            VECTOR_SIG[:-1],
            VECTOR_SIG + "\n",
            " " + VECTOR_SIG,
            "é" * 44,
            "\ud800" * 44,
            "A" * 88,
        ],
        ids=ascii,
    )
    def test_a_signature_is_the_base64_of_32_bytes(self, value: str) -> None:
        assert refusal(token_of({**signed_fields(), "TLS.sig": value})) is SigCode.MALFORMED

    @pytest.mark.parametrize(
        "value", ["é", "\ud800", "a b", "YWJj\n", "=YWJ", "YWJj==="], ids=ascii
    )
    def test_a_userbuf_is_base64(self, value: str) -> None:
        fields = {**signed_fields(), "TLS.userbuf": value}
        assert refusal(token_of(fields)) is SigCode.MALFORMED

    def test_a_signature_that_differs_in_its_last_bits_only_is_refused(self) -> None:
        # "4=" and "5=" decode to the same bytes for a lax decoder.
        fields = {**signed_fields(), "TLS.sig": VECTOR_SIG.replace("4=", "5=")}
        assert refusal(token_of(fields)) is SigCode.WRONG_KEY


class TestJson:
    @pytest.mark.parametrize(
        "extra",
        [
            '"TLS.identifier": "xiaojun"',
            '"TLS.identifier": "administrator"',
            '"TLS\\u002eidentifier": "administrator"',
            '"TLS.expire": 15552000',
            '"TLS.sig": ""',
            '"x": 1, "x": 1',
            '"x": {"y": 1, "y": 2}',
        ],
    )
    def test_duplicate_keys_are_malformed(self, extra: str) -> None:
        document = json.dumps(signed_fields())
        for changed in (f"{{{extra}, {document[1:]}", f"{document[:-1]}, {extra}}}"):
            token = text_of(zlib.compress(changed.encode()))
            assert refusal(token) is SigCode.MALFORMED

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda document: b"",
            lambda document: b"null",
            lambda document: b"[]",
            lambda document: b"{}",
            lambda document: b"[" + document + b"]",
            lambda document: document + b"{}",
            lambda document: document + b"\0",
            lambda document: document[:-1],
            lambda document: b"\xef\xbb\xbf" + document,
            lambda document: b"\xff" + document,
            lambda document: document.decode().encode("utf-16"),
            lambda document: document.decode().encode("utf-16-le"),
            lambda document: document.decode().encode("utf-32"),
            lambda document: document.replace(b'"', b"'"),
            lambda document: document.replace(b"xiaojun", b"xiao\njun"),
            lambda document: b"[" * MAX_JSON_BYTES,
            lambda document: b'{"a":' * (MAX_JSON_BYTES // 5),
            lambda document: b"9" * MAX_JSON_BYTES,
        ],
    )
    def test_anything_but_one_object_is_malformed(self, spoil: Callable[[bytes], bytes]) -> None:
        document = json.dumps(signed_fields()).encode()
        assert refusal(text_of(zlib.compress(spoil(document)))) is SigCode.MALFORMED


class TestZlib:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda document: document,
            lambda document: zlib.compress(document)[:-1],
            lambda document: zlib.compress(document)[:-4],
            lambda document: zlib.compress(document)[:-1] + b"\0",
            lambda document: zlib.compress(document) + b"\0",
            lambda document: zlib.compress(document) * 2,
            lambda document: zlib.compress(document)[2:-4],
            lambda document: gzip.compress(document),
        ],
    )
    def test_anything_but_one_whole_stream_is_malformed(
        self, spoil: Callable[[bytes], bytes]
    ) -> None:
        document = json.dumps(signed_fields()).encode()
        assert refusal(text_of(spoil(document))) is SigCode.MALFORMED

    def test_a_stream_with_a_preset_dictionary_is_malformed(self) -> None:
        compressor = zlib.compressobj(zdict=b"TLS.identifier")
        compressed = compressor.compress(json.dumps(signed_fields()).encode())
        assert refusal(text_of(compressed + compressor.flush())) is SigCode.MALFORMED


class TestBase64:
    @staticmethod
    def with_every_special_character() -> tuple[str, str]:
        """A good token (and its user) in which each of ``* - _`` occurs."""
        for n in range(1000):
            user_id = f"user-{n}"
            token = sign_here(user_id)
            if set("*-_") <= set(token):
                return token, user_id
        raise AssertionError("no such token")

    @pytest.mark.parametrize(("ours", "standard"), [("*", "+"), ("-", "/"), ("_", "=")])
    def test_the_standard_alphabet_is_refused(self, ours: str, standard: str) -> None:
        token, user_id = self.with_every_special_character()
        assert check(token, user_id).user_id == user_id
        assert refusal(token.replace(ours, standard), user_id) is SigCode.MALFORMED

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda token: " " + token,
            lambda token: token + "\n",
            lambda token: token[:50] + "\n" + token[50:],
            lambda token: token.rstrip("_"),
            lambda token: token[:-1],
            lambda token: token + "_",
            lambda token: token + "____",
            lambda token: token + "AAAA",
            lambda token: "_" + token,
            lambda token: token[:50] + "%" + token[50:],
            lambda token: token + "é",
            lambda token: token + "\ud800",
            lambda token: token + "\0",
            lambda token: "\0",
            lambda token: " ",
        ],
    )
    def test_it_is_strict(self, spoil: Callable[[str], str]) -> None:
        assert refusal(spoil(VECTOR)) is SigCode.MALFORMED

    def test_spare_bits_are_zero(self) -> None:
        assert VECTOR.endswith("Ug__")
        assert bytes_of(VECTOR[:-3] + "h__") == bytes_of(VECTOR)
        assert refusal(VECTOR[:-3] + "h__") is SigCode.MALFORMED


class TestSize:
    def test_a_token_of_the_full_length_is_read(self) -> None:
        # Stored, not deflated: 11 bytes are the stream's own, and base64 makes 4 of 3.
        length = MAX_TOKEN_CHARS // 4 * 3 - 11
        document = json.dumps(signed_fields()).encode().ljust(length)
        longest = text_of(zlib.compress(document, 0))
        assert len(longest) == MAX_TOKEN_CHARS
        assert check(longest).user_id == USER
        one_more = text_of(zlib.compress(document + b" ", 0))
        assert refusal(one_more) is SigCode.MALFORMED

    def test_json_of_the_full_length_is_read(self) -> None:
        document = json.dumps(signed_fields()).encode().ljust(MAX_JSON_BYTES)
        assert check(text_of(zlib.compress(document))).user_id == USER
        with pytest.raises(SignatureRefused, match="70003: the token inflates to too much"):
            check(text_of(zlib.compress(document + b" ")))

    @pytest.mark.parametrize(
        ("inflated_bytes", "least_chars", "most_chars"),
        [(37_500_000, 48_000, 52_000), (2_800_000, 3_500, MAX_TOKEN_CHARS)],
        ids=["50 KB", "4 KB"],
    )
    def test_a_bomb_costs_nothing(
        self, inflated_bytes: int, least_chars: int, most_chars: int
    ) -> None:
        # Truly signed and good JSON to its end: only its size is wrong.
        compressor = zlib.compressobj(9)
        parts = [compressor.compress(json.dumps(signed_fields()).encode())]
        parts += [compressor.compress(b" " * 100_000) for _ in range(inflated_bytes // 100_000)]
        bomb = text_of(b"".join([*parts, compressor.flush()]))
        assert least_chars <= len(bomb) <= most_chars

        tracemalloc.start()
        try:
            assert refusal(bomb) is SigCode.MALFORMED
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 200_000


class TestSign:
    @pytest.mark.parametrize("value", [0, -1, 2**53, True, 1.5, "1"])
    @pytest.mark.parametrize("name", ["sdkappid", "now_s", "expire_s"])
    def test_refuses_what_verify_would(self, name: str, value: int) -> None:
        arguments = {"sdkappid": APP, "now_s": ISSUED_S, "expire_s": EXPIRE_S, name: value}
        with pytest.raises(ValueError, match=f"{name} must be an integer"):
            sign(USER, secret_key=KEY, **arguments)

    def test_a_token_is_short_and_safe_in_a_header_or_an_address(self) -> None:
        token = sign("~" * 32, sdkappid=2**32 - 1, secret_key=KEY, now_s=2**40, expire_s=2**32 - 1)
        assert len(token) < 300
        assert set(token) <= set(ALPHABET)


class TestProperties:
    @settings(deadline=None)
    @given(
        user_id=user_ids,
        sdkappid=st.integers(1, 2**32 - 1),
        key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        now_s=st.integers(1, 2**40),
        expire_s=st.integers(1, 2**32 - 1),
        data=st.data(),
    )
    def test_what_is_signed_is_verified_for_exactly_its_life(
        self, user_id: str, sdkappid: int, key: str, now_s: int, expire_s: int, data: st.DataObject
    ) -> None:
        token = sign(user_id, sdkappid=sdkappid, secret_key=key, now_s=now_s, expire_s=expire_s)

        def at(then_s: int) -> VerifiedSig:
            return verify(
                token, user_id=user_id, sdkappid=sdkappid, secret_keys=[key], now_s=then_s
            )

        expected = VerifiedSig(user_id, now_s, now_s + expire_s)
        assert at(now_s + data.draw(st.integers(-60, expire_s - 1))) == expected
        with pytest.raises(SignatureRefused, match="70001"):
            at(now_s + data.draw(st.integers(expire_s, 2**53)))
        with pytest.raises(SignatureRefused, match="70003"):
            at(now_s - data.draw(st.integers(61, 2**53)))

    @settings(deadline=None)
    @given(user_ids, st.randoms(use_true_random=False))
    def test_a_changed_character_is_refused_or_changes_nothing(
        self, user_id: str, rng: random.Random
    ) -> None:
        # Deflate has bits without a meaning and several ways to say the same, so not every change
        # can be refused (about 1 in 300 is not); but none may change what the token says.
        token = sign_here(user_id)
        for _ in range(50):
            i = rng.randrange(len(token))
            changed = token[:i] + rng.choice(ALPHABET) + token[i + 1 :]
            assert outcome(changed, user_id) in (SigCode.MALFORMED, check(token, user_id))

    @settings(deadline=None)
    @given(st.text() | st.text(ALPHABET) | st.binary().map(text_of))
    def test_junk_is_refused_and_nothing_else_happens(self, junk: str) -> None:
        assert refusal(junk) is (SigCode.MALFORMED if junk else SigCode.EMPTY)

    @settings(deadline=None)
    @given(st.binary().map(zlib.compress).map(text_of))
    def test_deflated_junk_is_refused_and_nothing_else_happens(self, junk: str) -> None:
        assert refusal(junk) is SigCode.MALFORMED

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(sorted(signed_fields(userbuf=""))),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=5,
            ),
            min_size=1,
        )
    )
    def test_junk_in_the_fields_is_refused_and_nothing_else_happens(
        self, changes: dict[str, object]
    ) -> None:
        good = signed_fields()
        assume({**good, **changes} != good)
        refused = refusal(token_of({**good, **changes}))
        assert refused in (SigCode.MALFORMED, SigCode.WRONG_KEY)

    def test_random_bytes_behind_a_good_header_are_refused(self) -> None:
        rng = random.Random(1)
        for _ in range(500):
            token = text_of(b"\x78\x9c" + rng.randbytes(200))
            assert refusal(token) is SigCode.MALFORMED
