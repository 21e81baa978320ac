"""The operator's commands about webhooks: what waits and is dead, tell it again, send a sample."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from protocol import callbacks
from protocol.callbacks import Account, encode_request
from server.config import Settings, SettingsRefused
from server.storage.database import DATABASE_NAME, connect_read_only
from server.storage.refusal import StoreRefused
from server.storage.sqlite_outbox import Listed, all_dead, all_waiting
from server.system import SystemClock, SystemTokens
from server.webhooks.receiver import Call, HttpReceiver, NoAnswer
from server.webhooks.replays import ask_for_replay

_SHOWN_BYTES: Final = 1_000
_NAME: Final = callbacks.NAME_OF[callbacks.AfterNewMemberJoin]


class CommandRefused(Exception):
    """It cannot be done; the message says why."""


def list_outbox(settings: Settings) -> Iterator[str]:
    """A line for each item that waits or is dead, and one that counts them.

    Raises:
        CommandRefused: the database cannot be read.
    """
    # Read to the end before anything is written: while this reads, the server's log file grows,
    # and whoever takes the lines may take them slowly.
    with _reading(settings) as connection:
        waiting = [f"waiting {_described(row)}" for row in all_waiting(connection)]
        dead = [f"dead    {_described(row)}" for row in all_dead(connection)]
    yield from waiting
    yield from dead
    yield f"{len(waiting)} waiting, {len(dead)} dead"


def replay(settings: Settings, delivery_ids: Sequence[str], *, all_of_them: bool) -> str:
    """Have dead items told again, those of ``delivery_ids`` or all; what was done.

    Raises:
        CommandRefused: there are none, or one of them is not dead.
    """
    with _reading(settings) as connection:
        known = dict.fromkeys(row.delivery_id for row in all_dead(connection))
    chosen = list(known) if all_of_them else list(dict.fromkeys(delivery_ids))
    unknown = [one for one in chosen if one not in known]
    if unknown:
        raise CommandRefused(f"not dead: {', '.join(unknown)}; `webhooks list` shows what is")
    if not chosen:
        return "nothing is dead"
    ask_for_replay(Path(settings.data), chosen)
    return (
        f"{len(chosen)} to be told again: by a running server within seconds, by a stopped one "
        "when it starts"
    )


async def send_sample(settings: Settings) -> tuple[str, bool]:
    """Send the documented sample to the receiver: what it answered, and whether that will do.

    Raises:
        CommandRefused: there is no receiver.
    """
    if not settings.webhook_url:
        raise CommandRefused("webhook_url is not set")
    clock = SystemClock()
    receiver = HttpReceiver(
        settings.webhook_url,
        sdkappid=settings.sdkappid,
        token=settings.webhook_token,
        secrets=settings.webhook_secret,
        now_s=lambda: int(time.time()),
        connections=1,
        answer_bytes=settings.limits["WEBHOOK_ANSWER_BYTES"],
    )
    sample = callbacks.AfterNewMemberJoin(
        event_time=str(clock.now_ms()),
        group_id="@TGS#2J4SZEAEL",
        type="Public",
        join_type="Apply",
        operator_id="leckie",
        members=[Account("jared"), Account("tommy")],
    )
    call = Call(
        name=_NAME,
        body=encode_request(sample),
        platform="RESTAPI",
        delivery_id=f"test-{SystemTokens().token()}",
        attempt=1,
    )
    began_s = time.monotonic()
    try:
        answer = await receiver.post(call, settings.limits["WEBHOOK_AFTER_MS"] / 1000)
    except NoAnswer as error:
        return f"no answer: {error}", False
    finally:
        await receiver.close()
    took_ms = (time.monotonic() - began_s) * 1000
    body = "(too long to be read)"
    if answer.body is not None:
        body = answer.body[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    # As for what is told: ``server.webhooks.deliveries``.
    is_taken = 200 <= answer.status < 300
    return f"HTTP {answer.status} after {took_ms:.0f} ms\n{body}", is_taken


@contextmanager
def _reading(settings: Settings) -> Iterator[sqlite3.Connection]:
    """The database as it is at one moment."""
    if "://" in settings.data:
        raise SettingsRefused("data must be a directory")
    path = Path(settings.data) / DATABASE_NAME
    if not path.exists():
        raise CommandRefused(f"{path} does not exist")
    try:
        with closing(connect_read_only(path)) as connection:
            connection.execute("BEGIN")
            yield connection
    except StoreRefused as error:
        raise CommandRefused(str(error)) from error


def _described(row: Listed) -> str:
    at = datetime.fromtimestamp(row.time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    tried = f"{row.attempts} attempts: {row.failure}" if row.failure else "not tried"
    return f"{row.delivery_id}  {row.name}  {row.stream}  {at}  {tried}"
