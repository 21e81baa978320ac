"""JSON Web Tokens in hello: what is taken, and what is refused with which number."""

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from protocol import usersig
from protocol.errors import CloseCode, ConnectionRefused
from protocol.frames import Hello
from protocol.usersig import SigCode
from server.service.credentials import Credentials
from server.transport.admission import Authenticator, Identity
from server.transport.jwt_keys import LOOK_EVERY_S, LOOK_FOR_UNKNOWN_S, KeyFile, KeysRefused
from server.transport.jwt_tokens import LEEWAY_S, MAX_TOKEN_CHARS, JwtVerifier
from tests.kit.fakes import FakeClock

SECRET = "a secret that is long enough for HS256, and for HS384 and HS512 too"
OTHER_SECRET = "another secret of HS256, as long as it"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
STRANGE_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGE_EC = ec.generate_private_key(ec.SECP256R1())
MARGIN_S = 600
"""Far more than a test takes."""

Jwk = dict[str, Any]


def rsa_row(**changed: object) -> Jwk:
    row: Jwk = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    return {**row, "kid": "r1", **changed}


def ec_row(**changed: object) -> Jwk:
    row: Jwk = ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True)
    return {**row, "kid": "e1", **changed}


def key_set(*rows: object) -> str:
    return json.dumps({"keys": rows})


BOTH = key_set(rsa_row(), ec_row())
ANY = JwtVerifier(secret=SECRET, key_set=BOTH)

SIGNERS: Mapping[str, tuple[Any, str, Mapping[str, str]]] = {
    "HS256": (SECRET, "HS256", {}),
    "RS256": (RSA_KEY, "RS256", {"kid": "r1"}),
    "ES256": (EC_KEY, "ES256", {"kid": "e1"}),
}


def claims(**changed: object) -> dict[str, object]:
    """Those of a good token; None takes one away."""
    plain: dict[str, object] = {"sub": "alice", "exp": int(time.time()) + MARGIN_S}
    return {name: value for name, value in (plain | changed).items() if value is not None}


def token_of(signer: str = "HS256", /, **changed: object) -> str:
    key, algorithm, header = SIGNERS[signer]
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=dict(header))


def refusal_of(token: str, verifier: JwtVerifier = ANY, user_id: str = "alice") -> SigCode:
    with pytest.raises(usersig.SignatureRefused) as caught:
        verifier.verify(token, user_id)
    assert len(token) < 20 or token not in str(caught.value)
    return caught.value.code


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("signer", SIGNERS)
def test_times_and_names_are_checked_whoever_signed(signer: str) -> None:
    now_s = int(time.time())
    for good in (
        {},
        {"iat": now_s, "nbf": now_s - 5},
        {"exp": now_s - LEEWAY_S // 2},
        {"nbf": now_s + LEEWAY_S // 2},
    ):
        ANY.verify(token_of(signer, **good), "alice")
    for iat, issued_s in ((now_s, now_s), (now_s - 0.5, now_s - 1), (None, None)):
        assert ANY.verify(token_of(signer, iat=iat), "alice") == issued_s
    for bad, code in (
        ({"exp": now_s - LEEWAY_S - 1}, SigCode.EXPIRED),
        ({"exp": None}, SigCode.MALFORMED),
        ({"exp": "soon"}, SigCode.MALFORMED),
        ({"nbf": now_s + LEEWAY_S + MARGIN_S}, SigCode.MALFORMED),
        ({"iat": now_s + LEEWAY_S + MARGIN_S}, SigCode.MALFORMED),
        ({"iat": "now"}, SigCode.MALFORMED),
        ({"iat": float("inf")}, SigCode.MALFORMED),
        ({"exp": float("inf")}, SigCode.MALFORMED),
        ({"sub": None}, SigCode.MALFORMED),
        ({"sub": ""}, SigCode.OTHER_USER),
        ({"sub": "bob"}, SigCode.OTHER_USER),
        ({"aud": "somebody"}, SigCode.OTHER_APP),
    ):
        assert refusal_of(token_of(signer, **bad)) == code, bad


@pytest.mark.parametrize("signer", SIGNERS)
def test_nothing_cut_off_or_changed_is_taken(signer: str) -> None:
    token = token_of(signer)
    for length in range(0, len(token), 7):
        assert refusal_of(token[:length]) in (SigCode.MALFORMED, SigCode.WRONG_KEY)
    header, _, signature = token.split(".")
    forged = f"{header}.{encoded(claims(sub='root'))}.{signature}"
    assert refusal_of(forged, user_id="root") == SigCode.WRONG_KEY


def test_a_key_of_somebody_else_is_refused() -> None:
    for key, algorithm, kid in (
        (OTHER_SECRET, "HS256", None),
        (STRANGE_RSA, "RS256", "r1"),
        (STRANGE_EC, "ES256", "e1"),
    ):
        token = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": kid} if kid else {})
        assert refusal_of(token) == SigCode.WRONG_KEY


def test_a_key_takes_its_own_algorithm_alone() -> None:
    for key, algorithm, kid in (
        (SECRET, "HS384", None),
        (SECRET, "HS512", "r1"),
        (RSA_KEY, "RS384", "r1"),
        (RSA_KEY, "PS256", "r1"),
        (RSA_KEY, "RS256", "e1"),
        (EC_KEY, "ES256", "r1"),
    ):
        token = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": kid} if kid else {})
        assert refusal_of(token) == SigCode.WRONG_KEY, (algorithm, kid)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("kid", [None, "r1", "e1"])
def test_a_public_key_is_no_secret(kid: str | None) -> None:
    for verifier in (ANY, JwtVerifier(key_set=BOTH)):
        for key in (RSA_KEY.public_key(), EC_KEY.public_key()):
            pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            header = {"alg": "HS256", "typ": "JWT"} | ({"kid": kid} if kid else {})
            signed = f"{encoded(header)}.{encoded(claims())}".encode()
            mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
            # The library would not sign with a public key; whoever attacks does not ask it.
            signature = base64.urlsafe_b64encode(mac.sign(signed, pem)).rstrip(b"=")
            assert refusal_of(f"{signed.decode()}.{signature.decode()}", verifier) == 70009


@pytest.mark.parametrize("kid", [None, "r1", "e1"])
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 1, ["HS256"]])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_no_algorithm_is_none(algorithm: object, kid: str | None, signature: str) -> None:
    header: dict[str, object] = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})
    token = f"{encoded(header)}.{encoded(claims())}.{signature}"
    assert refusal_of(token) in (SigCode.WRONG_KEY, SigCode.MALFORMED)


def test_the_key_is_found_by_its_name() -> None:
    def signed(header: Mapping[str, Any]) -> str:
        return jwt.encode(claims(), RSA_KEY, algorithm="RS256", headers=dict(header))

    assert refusal_of(signed({"kid": "r2"})) == SigCode.WRONG_KEY
    assert refusal_of(signed({})) == SigCode.WRONG_KEY, "which of two"
    JwtVerifier(key_set=key_set(rsa_row())).verify(signed({}), "alice")
    two = JwtVerifier(key_set=key_set(rsa_row(kid="old"), rsa_row(kid="new")))
    for kid in ("old", "new"):
        two.verify(signed({"kid": kid}), "alice")


def test_who_has_no_secret_or_no_set_takes_nothing_signed_so() -> None:
    assert refusal_of(token_of("HS256"), JwtVerifier(key_set=BOTH)) == SigCode.WRONG_KEY
    for signer in ("RS256", "ES256"):
        assert refusal_of(token_of(signer), JwtVerifier(secret=SECRET)) == SigCode.WRONG_KEY


def test_audience_and_issuer_are_asked_for_when_they_are_set() -> None:
    verifier = JwtVerifier(secret=SECRET, audience="chat", issuer="https://id.example")
    good: dict[str, object] = {"aud": ["shop", "chat"], "iss": "https://id.example"}
    verifier.verify(token_of(**good), "alice")
    for bad in ({"aud": "shop"}, {"iss": "https://id.example.evil"}):
        assert refusal_of(token_of(**(good | bad)), verifier) == SigCode.OTHER_APP
    for name in good:
        code = refusal_of(token_of(**(good | {name: None})), verifier)
        assert code in (SigCode.MALFORMED, SigCode.OTHER_APP)


def test_a_huge_or_deep_token_is_refused() -> None:
    # The longest that is looked at is taken; one character more is not.
    fits = next(
        token
        for length in range(MAX_TOKEN_CHARS)
        if len(token := token_of(more="x" * (MAX_TOKEN_CHARS * 3 // 4 - 200 + length)))
        >= MAX_TOKEN_CHARS - 1
    )
    assert len(fits) <= MAX_TOKEN_CHARS
    ANY.verify(fits, "alice")
    assert refusal_of(token_of(more="x" * MAX_TOKEN_CHARS)) == SigCode.MALFORMED
    assert refusal_of("." * 10_000_000) == SigCode.MALFORMED
    deep = base64.urlsafe_b64encode(b"[" * 3000).decode()
    assert refusal_of(f"{deep}.{deep}.") == SigCode.MALFORMED
    assert refusal_of(f"{encoded({'alg': 'HS256'})}.{deep}.") in (70003, 70009)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "...", "a.b.c", "\u00e9.\u00e9.\u00e9", "{}.{}.{}", "\0.\0.\0"]
)
def test_what_is_no_token_is_malformed(text: str) -> None:
    with pytest.raises(usersig.SignatureRefused) as caught:
        ANY.verify(text, "alice")
    assert caught.value.code == SigCode.MALFORMED


WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
P384 = ec.generate_private_key(ec.SECP384R1())


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "not JSON",
        "[" * 5000,
        key_set(),
        key_set("text"),
        key_set({"kty": "oct", "k": "AAAA"}),
        key_set(rsa_row(n=None)),
        key_set(rsa_row(kid=1)),
        key_set(rsa_row(), rsa_row()),
        key_set(rsa_row(alg="HS256")),
        key_set(ec_row(crv="P-521")),
        key_set({**RSAAlgorithm.to_jwk(WEAK.public_key(), as_dict=True), "kid": "w"}),
        key_set({**RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True), "kid": "p"}),
        key_set({**ECAlgorithm.to_jwk(P384.public_key(), as_dict=True), "kid": "x"}),
    ],
)
def test_keys_that_cannot_be_trusted_are_refused_at_the_start(text: str) -> None:
    with pytest.raises(KeysRefused):
        JwtVerifier(key_set=text)


@pytest.mark.parametrize(
    "other",
    [
        {"kty": "oct", "kid": "h", "k": "AAAA"},
        rsa_row(kid="enc", alg="RSA-OAEP", use="enc"),
        rsa_row(kid="enc", use="enc"),
        ec_row(kid="x", crv="P-521"),
        {"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": "AAAA"},
    ],
)
def test_keys_for_something_else_are_left_out(other: Jwk) -> None:
    """RFC 7517 section 5; identity providers publish keys to encrypt with beside the others."""
    verifier = JwtVerifier(key_set=key_set(other, ec_row()))
    verifier.verify(token_of("ES256"), "alice")
    token = jwt.encode(claims(), RSA_KEY, algorithm="RS256", headers={"kid": other["kid"]})
    assert refusal_of(token, verifier) == SigCode.WRONG_KEY


class TestFile:
    """A set in a file that changes while the server runs."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "keys.json"
        path.write_text(key_set(rsa_row()), encoding="utf-8")
        return path

    @pytest.fixture
    def verifier(self, path: Path, clock: FakeClock) -> JwtVerifier:
        return JwtVerifier(key_set=KeyFile(path, clock.monotonic_s))

    def change(self, path: Path, text: str) -> None:
        """Replace it, as it should be done: the file is never half there."""
        draft = path.with_suffix(".new")
        draft.write_text(text, encoding="utf-8")
        draft.rename(path)

    def test_a_new_key_is_found_when_a_token_names_it(
        self, path: Path, clock: FakeClock, verifier: JwtVerifier
    ) -> None:
        assert refusal_of(token_of("ES256"), verifier) == SigCode.WRONG_KEY
        self.change(path, BOTH)
        assert refusal_of(token_of("ES256"), verifier) == SigCode.WRONG_KEY, "not yet"
        clock.advance(int(LOOK_FOR_UNKNOWN_S * 1000))
        for signer in ("ES256", "RS256"):
            verifier.verify(token_of(signer), "alice")

    def test_a_key_that_was_taken_out_is_good_for_no_longer_than_that(
        self, path: Path, clock: FakeClock, verifier: JwtVerifier
    ) -> None:
        self.change(path, key_set(ec_row()))
        clock.advance(int(LOOK_EVERY_S * 1000) - 1)
        verifier.verify(token_of("RS256"), "alice")
        clock.advance(1)
        assert refusal_of(token_of("RS256"), verifier) == SigCode.WRONG_KEY
        verifier.verify(token_of("ES256"), "alice")

    def test_one_that_was_replaced_under_its_name_is_another(
        self, path: Path, clock: FakeClock, verifier: JwtVerifier
    ) -> None:
        row = RSAAlgorithm.to_jwk(STRANGE_RSA.public_key(), as_dict=True)
        self.change(path, key_set({**row, "kid": "r1"}))
        clock.advance(int(LOOK_EVERY_S * 1000))
        assert refusal_of(token_of("RS256"), verifier) == SigCode.WRONG_KEY
        new = jwt.encode(claims(), STRANGE_RSA, algorithm="RS256", headers={"kid": "r1"})
        verifier.verify(new, "alice")

    @pytest.mark.parametrize("text", ["", '{"keys": [', key_set(), "x" * 1_100_000, None])
    def test_what_cannot_be_used_leaves_those_that_were_there(
        self,
        path: Path,
        clock: FakeClock,
        verifier: JwtVerifier,
        text: str | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        if text is None:
            path.unlink()
        else:
            path.write_text(text, encoding="utf-8")
        for _ in range(3):
            clock.advance(int(LOOK_EVERY_S * 1000))
            verifier.verify(token_of("RS256"), "alice")
        assert len(caplog.records) == 1, "said once"
        assert "keys.json is not taken" in caplog.text
        self.change(path, BOTH)
        clock.advance(int(LOOK_EVERY_S * 1000))
        verifier.verify(token_of("ES256"), "alice")

    def test_however_many_tokens_name_unknown_keys_it_is_looked_at_once_a_second(
        self, clock: FakeClock, verifier: JwtVerifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = 0

        def counted(_path: Path) -> None:
            nonlocal looks
            looks += 1

        monkeypatch.setattr(KeyFile, "_look", counted)
        for _ in range(100):
            clock.advance(50)
            assert refusal_of(token_of("ES256"), verifier) == SigCode.WRONG_KEY
        assert looks == 5

    @pytest.mark.parametrize("text", [None, "", "[]"])
    def test_one_that_cannot_be_used_is_refused_at_the_start(
        self, path: Path, clock: FakeClock, text: str | None
    ) -> None:
        path.unlink()
        if text is not None:
            path.write_text(text, encoding="utf-8")
        with pytest.raises(KeysRefused):
            KeyFile(path, clock.monotonic_s)


def test_a_short_secret_is_refused_at_the_start() -> None:
    with pytest.raises(KeysRefused):
        JwtVerifier(secret="x" * 31)


# In hello.


def identify(user_sig: str, verifier: JwtVerifier | None) -> Identity:
    credentials = Credentials(sdkappid=1, secret_keys=["k"], now_s=lambda: 1_000_000, jwt=verifier)
    authenticator = Authenticator(credentials, ["alice"])
    return authenticator.identify(Hello(user_id="alice", user_sig=user_sig, device_id="d"))


def test_hello_takes_either_kind() -> None:
    sig = usersig.sign("alice", sdkappid=1, secret_key="k", now_s=1_000_000, expire_s=9)
    for verifier in (ANY, None):
        assert identify(sig, verifier) == Identity("alice", True)
    assert identify(token_of("ES256"), ANY) == Identity("alice", True)


@pytest.mark.parametrize(
    ("token", "verifier", "code"),
    [
        (token_of(), None, SigCode.MALFORMED),
        (token_of(exp=1), ANY, SigCode.EXPIRED),
        ("", ANY, SigCode.EMPTY),
    ],
)
def test_hello_refuses_with_the_number(
    token: str, verifier: JwtVerifier | None, code: SigCode
) -> None:
    with pytest.raises(ConnectionRefused) as caught:
        identify(token, verifier)
    assert (caught.value.code, caught.value.error_code) == (CloseCode.NOT_AUTHENTICATED, code)
