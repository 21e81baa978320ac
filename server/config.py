"""Settings: name, default and meaning; from flags, the environment, a TOML file, in that order."""

import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from protocol.callbacks import OFFERED
from protocol.limits import LIMITS, default_limits


class SettingsRefused(Exception):
    """A setting is unknown or makes no sense; the message names it and says what to do."""


class Address(msgspec.Struct, frozen=True):
    """Where a listener listens; port 0 picks a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an operator can set (``design.md`` section 5)."""

    listen: Address = Address("127.0.0.1", 7700)
    admin_listen: Address = Address("127.0.0.1", 7701)
    data: str = "./muster-data"
    secret_key: str = ""
    secret_key_previous: str = ""
    jwt_secret: str = ""
    jwt_keys: str = ""
    jwt_audience: str = ""
    jwt_issuer: str = ""
    sdkappid: int = 1400000000
    admins: tuple[str, ...] = ("administrator",)
    behind_proxy: bool = False
    require_known_users: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    webhook_url: str = ""
    webhook_callbacks: tuple[str, ...] = ()
    webhook_token: str = ""
    webhook_secret: tuple[str, ...] = ()
    webhook_on_failure: str = "allow"
    log_level: str = "INFO"
    log_format: str = "text"
    limits: Mapping[str, int] = msgspec.field(default_factory=default_limits)
    types: Mapping[str, Any] = {}
    group_fields: Mapping[str, Any] = {}
    member_fields: Mapping[str, Any] = {}


class Setting(msgspec.Struct, frozen=True):
    """One row: how its text is read, and what it means; a secret has no flag."""

    parse: Callable[[str], Any]
    meaning: str
    is_secret: bool = False


def _address(text: str) -> Address:
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("expected HOST:PORT, for example 127.0.0.1:7700")
    return Address(host, int(port))


def _integer(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ValueError("expected a whole number, 0 or more")
    return int(text)


def _app_number(text: str) -> int:
    number = _integer(text)
    if not 0 < number < 2**32:
        raise ValueError("expected a number from 1 to 4294967295")
    return number


def _path(text: str) -> str:
    if not text:
        raise ValueError("expected a path")
    return text


def _boolean(text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    try:
        return values[text.lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _some_names(text: str) -> tuple[str, ...]:
    """Like ``_names``, where it means something else when nothing is set."""
    names = _names(text)
    if text and not names:
        raise ValueError("there is none between the commas")
    return names


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("expected text or json")
    return text


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("expected DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("expected http://HOST/PATH or https://HOST/PATH")
    if parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError("expected an address without user, password and fragment")
    return text


def _callbacks(text: str) -> tuple[str, ...]:
    names = _some_names(text)
    for name in names:
        if name not in OFFERED:
            raise ValueError(f"{name!r} is not offered; the README lists all callbacks")
    return names


def _failure_policy(text: str) -> str:
    if text.lower() not in ("allow", "block"):
        raise ValueError("expected allow or block")
    return text.lower()


SETTINGS: Final[Mapping[str, Setting]] = {
    "listen": Setting(_address, "HOST:PORT of the WebSocket listener; port 0 picks a free one"),
    "admin_listen": Setting(_address, "HOST:PORT of the admin listener"),
    "data": Setting(_path, "the data directory; it is made when it does not exist"),
    "secret_key": Setting(
        str, "the key that signs tokens; made and stored in data when not set", is_secret=True
    ),
    "secret_key_previous": Setting(
        str, "the key before this one, as long as its tokens are still taken", is_secret=True
    ),
    "jwt_secret": Setting(
        str,
        "the key of JWTs by HS256, 32 bytes or more; none are taken when not set",
        is_secret=True,
    ),
    "jwt_keys": Setting(
        str,
        "file with a JWK set, the public keys of JWTs by RS256 and ES256; read again when it changes",
    ),
    "jwt_audience": Setting(str, "what aud in JWTs must name; they have none when not set"),
    "jwt_issuer": Setting(str, "what iss in JWTs must be; anything when not set"),
    "sdkappid": Setting(_app_number, "the app's number in tokens"),
    "admins": Setting(_names, "user IDs of the operator's accounts, comma separated"),
    "behind_proxy": Setting(_boolean, "a proxy ends TLS and names clients in X-Forwarded-For"),
    "require_known_users": Setting(
        _boolean, "only users who have logged in once can be added to groups"
    ),
    "tls_cert": Setting(str, "PEM file with the certificate chain"),
    "tls_key": Setting(str, "PEM file with the certificate's key"),
    "webhook_url": Setting(
        _http_url, "where the operator's own service is told and asked; nobody is when not set"
    ),
    "webhook_callbacks": Setting(
        _callbacks, "names of the callbacks that are on, comma separated; all when not set"
    ),
    "webhook_token": Setting(
        str, "the token of the original's Sign in the webhook's address", is_secret=True
    ),
    "webhook_secret": Setting(
        _some_names, "keys that sign what the webhook is sent, comma separated", is_secret=True
    ),
    "webhook_on_failure": Setting(
        _failure_policy, "allow or block what the webhook was asked about and did not answer"
    ),
    "log_level": Setting(_level, "DEBUG, INFO, WARNING or ERROR"),
    "log_format": Setting(_log_format, "text, or json: a line of JSON for each event"),
}
"""Every setting but the limits: name -> row. The README's table is printed from here."""

TABLES: Final = ("types", "group_fields", "member_fields")
"""Tables of the configuration file that change the rules: ``server.domain.overrides``."""

_PREFIX: Final = "MUSTER_"
_LIMIT_PREFIX: Final = "MUSTER_LIMIT_"


def load_settings(
    flags: Mapping[str, str], environment: Mapping[str, str], config_file: Path | None
) -> Settings:
    """The settings in force: a flag beats the environment, which beats the file.

    Raises:
        SettingsRefused: an unknown key, a value of the wrong form, or a combination that would
            be unsafe.
    """
    found: dict[str, Any] = {}
    limits = default_limits()
    if config_file is not None:
        _read_file(config_file, found, limits)
    for variable, text in environment.items():
        if variable.startswith(_LIMIT_PREFIX):
            _set_limit(limits, variable.removeprefix(_LIMIT_PREFIX), text, variable)
        elif variable.removeprefix(_PREFIX).lower() in SETTINGS and variable.startswith(_PREFIX):
            name = variable.removeprefix(_PREFIX).lower()
            found[name] = _parsed(name, text, variable)
    for name, text in flags.items():
        found[name] = _parsed(name, text, "--" + name.replace("_", "-"))
    settings = Settings(**found, limits=limits)
    _check_reach(settings)
    return settings


def key_file(settings: Settings) -> Path:
    """Where the key is kept that the first start makes."""
    return Path(settings.data) / "secret.key"


def stored_key(settings: Settings) -> str:
    """The key that signs tokens: the setting, or the one of the data directory.

    Raises:
        SettingsRefused: there is none yet.
    """
    if settings.secret_key:
        return settings.secret_key
    path = key_file(settings)
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise SettingsRefused(
            f"there is no key in {path}; start the server once, or set MUSTER_SECRET_KEY"
        ) from None
    except (OSError, UnicodeError) as error:
        raise SettingsRefused(f"the key file {path} cannot be read: {error}") from error
    if not key:
        raise SettingsRefused(
            f"the key file {path} is empty; restore it, or remove it for a new key"
        )
    return key


def valid_keys(settings: Settings) -> list[str]:
    """Every key whose tokens are taken: the one that signs, and the one before it, if there is one.

    Raises:
        SettingsRefused: there is none yet.
    """
    previous = settings.secret_key_previous
    return [stored_key(settings), *([previous] if previous else [])]


def make_key(settings: Settings, key: str) -> bool:
    """Store ``key`` readable by the owner only, unless there is one; returns whether it was made.

    Raises:
        SettingsRefused: the data directory cannot be written.
    """
    path = key_file(settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            return False
        # Written under another name and linked, so that a crash leaves no half-written key.
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        raise SettingsRefused(f"the key file {path} cannot be written: {error}") from error
    return True


def _read_file(path: Path, found: dict[str, Any], limits: dict[str, int]) -> None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsRefused(f"the configuration file {path} cannot be read: {error}") from error
    limits_table = content.pop("limits", {})
    if not isinstance(limits_table, dict):
        raise SettingsRefused(f"limits in {path} must be a table")
    for name, value in limits_table.items():
        _set_limit(limits, name.upper(), str(value), f"limits.{name} in {path}")
    for name in TABLES:
        table = content.pop(name, {})
        if not isinstance(table, dict):
            raise SettingsRefused(f"{name} in {path} must be a table")
        found[name] = table
    for name, value in content.items():
        where = f"{name} in {path}"
        if name not in SETTINGS:
            raise SettingsRefused(f"unknown setting {where}; known are {', '.join(SETTINGS)}")
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        found[name] = _parsed(name, text, where)


def _set_limit(limits: dict[str, int], name: str, text: str, where: str) -> None:
    spec = LIMITS.get(name)
    if spec is None:
        raise SettingsRefused(f"unknown limit {where}; the README lists all limits")
    try:
        value = _integer(text)
    except ValueError as error:
        raise SettingsRefused(f"{where} is {text!r}: {error}") from error
    if value == 0 and not spec.may_be_off:
        raise SettingsRefused(f"{where} cannot be 0: this limit is always on")
    limits[name] = value


def _parsed(name: str, text: str, where: str) -> object:
    try:
        return SETTINGS[name].parse(text)
    except ValueError as error:
        raise SettingsRefused(f"{where} is {text!r}: {error}") from error


def _check_reach(settings: Settings) -> None:
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsRefused("tls_cert and tls_key belong together; set both or none")
    if settings.behind_proxy or settings.tls_cert:
        return
    for name in ("listen", "admin_listen"):
        address: Address = getattr(settings, name)
        if not address.is_loopback:
            raise SettingsRefused(
                f"{name} is {address.host}, which others can reach without encryption; "
                "set tls_cert and tls_key, or --behind-proxy if a proxy ends TLS"
            )
