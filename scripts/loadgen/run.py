"""One run: connect everybody, play, wait until all is delivered, look at the end."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.vocabulary import GroupType
from scripts.common.beside import beside
from scripts.common.process import peak_bytes, waited_s
from scripts.common.target import OwnServer, Target
from scripts.loadgen.device import Device
from scripts.loadgen.early import has_tips
from scripts.loadgen.glimpse import Glimpse
from scripts.loadgen.ledger import Ledger
from scripts.loadgen.membership import comings_and_goings, numbers_within, spans_by_requests
from scripts.loadgen.plan import Plan
from scripts.loadgen.player import Player
from scripts.loadgen.record import GroupRecord, MemberView, Outcome, Record
from scripts.loadgen.result import Played
from scripts.loadgen.sampler import sample
from scripts.loadgen.stage import Person, Stage
from scripts.loadgen.timeline import Timeline

_TAILS_S: Final = 20.0
_POLL_S: Final = 0.02
_SETTLE_S: Final = 30.0
_VIEWS_PER_GROUP: Final = 2
_GLIMPSE_S: Final = 0.2


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan is played.

    Attributes:
        admin: an app_admin's account, which looks at the end.
        in_flight: how many requests wait for answers at most while nothing is due.
        seconds: after so long no more is sent.
        allows_losses: whether the server may end connections, as when it is restarted.
        disbands: whether the groups are disbanded at the end, so that a server that goes on
            running is left without them.
    """

    seed: int
    admin: str
    in_flight: int = 64
    seconds: float = float("inf")
    allows_losses: bool = False
    disbands: bool = False


class Watch(msgspec.Struct, frozen=True):
    """What whoever watches a run is told, and what they can say.

    Attributes:
        on_glimpse: called a few times a second.
        stops: set it to have no more sent.
    """

    on_glimpse: Callable[[Glimpse], None]
    stops: asyncio.Event


async def run(
    plan: Plan,
    target: Target,
    server: OwnServer | None,
    manner: Manner,
    watch: Watch | None = None,
) -> tuple[Played, Record]:
    """Play ``plan`` and return what is to be judged.

    Raises:
        Lost: a device cannot connect.
    """
    sent: dict[int, tuple[float, bytes]] = {}
    ledger, timeline = Ledger(sent), Timeline()
    # Nobody of an earlier run on the same server is met.
    prefix = f"load-{secrets.token_hex(3)}-"
    stage = Stage(
        plan, target, ledger, timeline, prefix=prefix, admin=manner.admin, seed=manner.seed
    )
    player = Player(
        plan,
        stage,
        ledger,
        timeline,
        sent=sent,
        server=server,
        in_flight=manner.in_flight,
        seconds=manner.seconds,
        allows_losses=manner.allows_losses,
    )
    await stage.connect_all()
    load_cpu_s, server_cpu_s = time.process_time(), server.cpu_s if server else 0.0
    load_waited_s = waited_s()
    async with beside(_watch(stage, player, timeline, server, watch)):
        await player.play()
    load_cpu_s, load_waited_s = time.process_time() - load_cpu_s, waited_s() - load_waited_s
    views = await _look_at_the_end(stage, player)
    await _wait_for_tails(stage, player)
    timeline.close()
    played = Played(
        seed=manner.seed,
        seconds=player.ended_s - player.started_s,
        was_cut=player.was_cut,
        devices=len(list(stage.devices())),
        deliveries=sum(device.deliveries for device in stage.devices()),
        resumes=sum(device.resumes for device in stage.devices()),
        pages=sum(device.pages for device in stage.devices()),
        paged=sum(device.paged for device in stage.devices()),
        limited=sum(device.calls.limited for device in stage.devices()),
        kills=player.kills,
        late=player.late,
        timeline=timeline,
        load_cpu_s=load_cpu_s,
        load_waited_s=load_waited_s,
        server_cpu_s=server.cpu_s - server_cpu_s if server else None,
        server_peak_bytes=peak_bytes(server.pid) if server else None,
    )
    for device in stage.devices():
        device.drop(is_polite=True)
    record = _record(stage, player, ledger, views)
    if manner.disbands:
        await stage.disband(record)
    stage.admin.drop(is_polite=True)
    record.complaints = server.log_troubles() if server else []
    return played, record


async def _watch(
    stage: Stage,
    player: Player,
    timeline: Timeline,
    server: OwnServer | None,
    watch: Watch | None,
) -> None:
    """Tell how it goes until cancelled, and have it stopped when that is asked for."""
    sampling: asyncio.Task[None] | None = None

    def tell() -> None:
        if watch is not None:
            second = timeline.last_whole(time.monotonic())
            watch.on_glimpse(Glimpse(player.answered, second, stage.suspicions))

    try:
        while True:
            if sampling is None and player.is_playing:
                sampling = asyncio.ensure_future(sample(timeline, player.started_s, server))
            if watch is not None and watch.stops.is_set():
                player.stop()
            tell()
            await asyncio.sleep(_GLIMPSE_S)
    finally:
        tell()
        if sampling is not None:
            sampling.cancel()


async def _look_at_the_end(stage: Stage, player: Player) -> list[MemberView]:
    """Read histories and members, as the operator sees them and as the latest members do."""
    views: list[MemberView] = []
    devices = {person.user_id: person.devices[0] for person in stage.people}
    for group in _living(player):
        await stage.look_at(group)
        came = [
            user_id
            for outcome in player.outcomes
            if outcome.group_id == group.group_id and outcome.is_done
            for user_id in comings_and_goings(outcome)[0]
        ]
        members = [user_id for user_id in reversed(came) if user_id in (group.member_ids or ())]
        latest = list(dict.fromkeys(members))[:_VIEWS_PER_GROUP]
        views += [await stage.view(devices[user_id], group.group_id) for user_id in latest]
    return views


def _living(player: Player) -> list[GroupRecord]:
    """Groups that exist and have a history."""
    return [
        group
        for group in player.groups.values()
        if group.type is not GroupType.AVCHATROOM and not group.is_disbanded
    ]


async def _wait_for_tails(stage: Stage, player: Player) -> None:
    """Return when every device has the end of its logs, or will not get it any more."""
    expected = {
        person.user_id: _tails(player, person.user_id, max(_inbox_tails(person)))
        for person in stage.people
    }
    give_up_s = time.monotonic() + _TAILS_S
    for device in stage.devices():
        # Polled, so that a delivery costs the load side nothing more.
        while (  # noqa: ASYNC110
            _is_behind(device, expected[device.user_id]) and time.monotonic() < give_up_s
        ):
            await asyncio.sleep(_POLL_S)
    # Whatever came too much is on its way, too.
    async with asyncio.timeout(_SETTLE_S):
        await asyncio.gather(*(device.settle() for device in stage.devices()))


def _inbox_tails(person: Person) -> list[int]:
    return [device.tails.get((True, person.user_id), 0) for device in person.devices]


def _tails(player: Player, user_id: str, inbox: int) -> dict[tuple[bool, str], int]:
    """The last number of each log that the user's devices have to get."""
    tails = {(True, user_id): inbox}
    for group in _living(player):
        if user_id not in (group.member_ids or ()):
            continue
        if has_tips(group.type):
            tails[False, group.group_id] = len(group.history or ())
            continue
        # Where nothing tells of comings, one who came after the last message gets none.
        messages = [o for o in player.outcomes if o.group_id == group.group_id]
        for span in spans_by_requests(messages, group.group_id).get(user_id, [])[-1:]:
            must, _ = numbers_within(messages, span)
            tails[False, group.group_id] = max(must, default=0)
    return tails


def _is_behind(device: Device, tails: dict[tuple[bool, str], int]) -> bool:
    return any(device.tails.get(log, 0) < number for log, number in tails.items())


def _record(stage: Stage, player: Player, ledger: Ledger, views: list[MemberView]) -> Record:
    stays = {
        (person.user_id, group_id): found
        for person in stage.people
        for group_id, found in person.stays.items()
    }
    outcomes: list[Outcome] = player.outcomes
    return Record(
        entries=ledger.entries,
        devices=[device.record for device in stage.devices()],
        groups=player.groups,
        outcomes=outcomes,
        views=views,
        stays=stays,
        altered=ledger.altered,
        troubles=[
            trouble for device in (*stage.devices(), stage.admin) for trouble in device.troubles
        ],
    )
