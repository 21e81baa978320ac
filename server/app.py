"""The composition root: settings to adapters to a running process. The only importer of adapters."""

import asyncio
import logging
import os
import secrets
import signal
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from server import config
from server.collector import Collector
from server.config import Settings
from server.domain.overrides import configured_rulebook
from server.domain.rules import Rulebook
from server.metrics import Metrics, Watched
from server.node import SHARD, Node
from server.rest.app import RestApi
from server.rest.entrance import Entrance
from server.service.credentials import Credentials
from server.service.outbox import Outbox
from server.service.ports import Clock, Heads, Store
from server.storage import audit, backup
from server.storage.database import DATABASE_NAME
from server.storage.refusal import StoreRefused
from server.storage.sqlite import open_sqlite
from server.system import SystemClock, SystemTokens
from server.transport.admin import AdminListener
from server.transport.admission import Authenticator
from server.transport.jwt_keys import KeyFile, KeysRefused
from server.transport.jwt_tokens import JwtVerifier
from server.webhooks.receiver import HttpReceiver
from server.webhooks.webhooks import Webhooks

log = logging.getLogger(__name__)

_CLOSE_S: Final = 3.0
"""More than the writer waits for a lock on the database."""

_SWITCH_INTERVAL_S: Final = 0.0005
"""How long the loop may keep the interpreter from the writer thread, which needs it for little."""


class DataRefused(Exception):
    """This data cannot be served, copied or checked; the message says why and what to do."""


class Server:
    """The process around a node: signals, the admin listener, the ready line.

    Use ``run``: it starts, prints the ready line, serves until a signal, and drains.
    """

    def __init__(self, settings: Settings, node: Node, rest: RestApi, metrics: Metrics) -> None:
        self._settings = settings
        self._node = node
        self._admin = AdminListener([rest.add_to, metrics.add_to])
        self._is_asked_to_stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit status: 0 after a drain, else 1.

        A second signal ends the process where it is, with status 1. What was answered is stored
        all the same.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._on_signal)
        self._node.start()
        collecting = asyncio.ensure_future(self._collector().run())
        try:
            await self._start()
            has_failed = not await _first(self._is_asked_to_stop.wait(), self._node.failed())
            self._admin.is_ready = False
            await self._node.drain()
        finally:
            collecting.cancel()
            await self._node.stop()
            await self._admin.stop()
        return 1 if has_failed else 0

    def _collector(self) -> Collector:
        listener = self._node.listener
        return Collector(lambda: listener.connection_count, lambda: listener.closed_count)

    def _on_signal(self) -> None:
        if self._is_asked_to_stop.is_set():
            log.warning("a second signal: ending without the rest of the drain")
            _end_now()
        self._is_asked_to_stop.set()

    async def _start(self) -> None:
        tls = _tls_context(self._settings)
        listen, admin_listen = self._settings.listen, self._settings.admin_listen
        admin_port = await self._admin.start(admin_listen.host, admin_listen.port, tls)
        port = await self._node.listen(listen.host, listen.port, tls)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._admin.is_ready = True
        secure = "s" if tls else ""
        line = {
            "ready": True,
            "ws": f"ws{secure}://{_host(listen.host)}:{port}/ws",
            "admin": f"http{secure}://{_host(admin_listen.host)}:{admin_port}",
        }
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()


async def serve(settings: Settings, dropped_log_lines: Callable[[], int]) -> int:
    """Open the store, run the server on it, close the store; returns the exit status.

    ``dropped_log_lines`` is how many lines of the log nobody took so far.

    Raises:
        config.SettingsRefused: the settings cannot be served with.
        DataRefused: the data directory cannot be used.
        OSError: an address cannot be listened on.
    """
    rulebook = _rulebook(settings)
    with _refusals():
        store = await open_sqlite(_directory(settings))
    try:
        if not settings.secret_key and config.make_key(settings, secrets.token_hex(32)):
            log.warning("a new key was made in %s", config.key_file(settings))
        heads = await store.heads(SHARD)
        clock = _clock(heads)
        credentials = Credentials(
            sdkappid=settings.sdkappid,
            secret_keys=config.valid_keys(settings),
            # What a token says is said of the time of the world, not of this log's.
            now_s=lambda: int(time.time()),
            jwt=_jwt(settings),
            revoked=await store.revocations(),
        )
        node = Node(
            store=store,
            heads=heads,
            rulebook=rulebook,
            authenticator=Authenticator(credentials, settings.admins),
            clock=clock,
            tokens=SystemTokens(),
            is_behind_proxy=settings.behind_proxy,
            wall_ms=lambda: time.time_ns() // 1_000_000,
            webhooks=_webhooks(settings, store, clock),
        )
        rest = RestApi(
            operator=node.operator,
            entrance=Entrance(
                credentials,
                settings.admins,
                rulebook=rulebook,
                monotonic_s=clock.monotonic_s,
            ),
            rulebook=rulebook,
            new_id=SystemTokens().token,
            is_behind_proxy=settings.behind_proxy,
        )
        metrics = Metrics(Watched(node, rest, dropped_log_lines))
        return await Server(settings, node, rest, metrics).run()
    finally:
        await _close(store, max(_CLOSE_S, settings.limits["DRAIN_MS"] / 1000))


def back_up(settings: Settings, target: Path) -> str:
    """Copy the database to the new file ``target``; returns what was copied, for the operator.

    Raises:
        DataRefused: there is no copy; why.
    """
    with _refusals():
        content = backup.back_up(_directory(settings), target)
    return (
        f"wrote {target}: {_summary(content)}\n"
        f"Not in it is the key ({config.key_file(settings)}): keep a copy of that somewhere else."
    )


def restore(settings: Settings, source: Path) -> str:
    """Make ``source`` the database; returns what was done, for the operator.

    Raises:
        DataRefused: nothing was done; why.
    """
    with _refusals():
        done = backup.restore(source, _directory(settings))
    lines = [f"restored {source}: {_summary(done.content)}"]
    if done.kept is not None:
        lines.append(f"What was there before is {done.kept}; remove it when it is not needed.")
    if not settings.secret_key and not config.key_file(settings).exists():
        lines.append(
            f"{config.key_file(settings)} is not there: put it back before the next start, which "
            "makes a new key otherwise, and users have to get new tokens."
        )
    return "\n".join(lines)


def check(settings: Settings, file: Path | None) -> tuple[str, bool]:
    """Look at the database, or at that in ``file``: what was found, and whether it is sound.

    Raises:
        DataRefused: it cannot be checked; why.
    """
    path = _directory(settings) / DATABASE_NAME if file is None else file
    traits = _rulebook(settings).traits
    memberless = [kind for kind, its in traits.items() if not its.stores_members]
    with _refusals():
        result = audit.audit(path, memberless)
    lines = [f"{finding.check}: {finding.text}" for finding in result.findings]
    looked_at = ", ".join(f"{count} {name}" for name, count in result.counts.items()) or "nothing"
    lines.append(f"checked {path}: {len(result.findings)} findings in {looked_at}")
    return "\n".join(lines), not result.findings


def _summary(content: backup.Content) -> str:
    return (
        f"{content.groups} groups, {content.users} members, {content.entries} entries up to "
        f"position {content.position}, {content.size_bytes} bytes"
    )


def _directory(settings: Settings) -> Path:
    if "://" in settings.data:
        raise config.SettingsRefused(
            f"data is {settings.data.partition('://')[0]}://...; this version stores in a "
            "directory (SQLite) only"
        )
    return Path(settings.data)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except StoreRefused as error:
        raise DataRefused(str(error)) from error


async def _close(store: Store, within_s: float) -> None:
    """Close the store, or end the process if a disk that hangs holds that up."""
    closing = asyncio.ensure_future(store.close())
    await asyncio.wait([closing], timeout=within_s)
    if not closing.done():
        log.critical("the store hangs: ending without it; nothing that was answered is lost")
        _end_now()
    closing.result()


def _end_now() -> NoReturn:
    """End the process whatever its threads do; what was logged is written first."""
    logging.shutdown()
    os._exit(1)


async def _first(wanted: Awaitable[object], other: Awaitable[object]) -> bool:
    """Whether ``wanted`` was over before ``other``; what is not over then is cancelled.

    An exception of either is raised.
    """
    tasks = [asyncio.ensure_future(wanted), asyncio.ensure_future(other)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return tasks[0] in done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _clock(heads: Heads) -> SystemClock:
    """A clock that goes on from what is stored, also when the machine's was put back since."""
    ahead_ms = heads.last_time_ms - SystemClock().now_ms()
    if ahead_ms > 0:
        log.warning(
            "the machine's clock is %d ms behind the newest entry: it was put back, or it was "
            "wrong before; times stand still until it gets there",
            ahead_ms,
        )
    return SystemClock(not_before_ms=heads.last_time_ms)


def _webhooks(settings: Settings, outbox: Outbox, clock: Clock) -> Webhooks | None:
    if not settings.webhook_url:
        return None
    asked, told = (
        HttpReceiver(
            settings.webhook_url,
            sdkappid=settings.sdkappid,
            token=settings.webhook_token,
            secrets=settings.webhook_secret,
            # As for tokens: whoever checks the signature lives by the time of the world.
            now_s=lambda: int(time.time()),
            connections=settings.limits[connections],
            answer_bytes=settings.limits["WEBHOOK_ANSWER_BYTES"],
        )
        for connections in ("WEBHOOK_BEFORE_CONNECTIONS", "WEBHOOK_CONNECTIONS")
    )
    return Webhooks(
        asked=asked,
        told=told,
        wanted=settings.webhook_callbacks,
        blocks_on_failure=settings.webhook_on_failure == "block",
        outbox=outbox,
        clock=clock,
        limits=settings.limits,
        directory=_directory(settings),
    )


def _jwt(settings: Settings) -> JwtVerifier | None:
    if not settings.jwt_secret and not settings.jwt_keys:
        for name in ("jwt_audience", "jwt_issuer"):
            if getattr(settings, name):
                raise config.SettingsRefused(
                    f"{name} is set, and neither jwt_secret nor jwt_keys: no JWT would be taken"
                )
        return None
    name = "jwt_keys"
    try:
        keys = KeyFile(Path(settings.jwt_keys), time.monotonic) if settings.jwt_keys else ""
        name = "jwt_secret"
        return JwtVerifier(
            secret=settings.jwt_secret,
            key_set=keys,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    except KeysRefused as error:
        where = f" ({settings.jwt_keys})" if name == "jwt_keys" else ""
        raise config.SettingsRefused(f"{name}{where} cannot be used: {error}") from error


def _rulebook(settings: Settings) -> Rulebook:
    try:
        return configured_rulebook(
            limits=settings.limits,
            types=settings.types,
            group_fields=settings.group_fields,
            member_fields=settings.member_fields,
            requires_known_users=settings.require_known_users,
        )
    except ValueError as error:
        raise config.SettingsRefused(f"the configuration file: {error}") from error


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise config.SettingsRefused(f"tls_cert or tls_key cannot be used: {error}") from error
    return context


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
