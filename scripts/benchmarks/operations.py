"""Durable group operations at a high number in flight, beside messages in the same run."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from protocol.vocabulary import ApplyJoinOption, InviteJoinOption
from scripts.benchmarks.bench import Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller
from scripts.benchmarks.figures import OURS, Result, Runs
from scripts.benchmarks.frames import Muster
from scripts.benchmarks.sends import ask
from scripts.benchmarks.sides import Company, Side
from scripts.common.target import Target

_IN_FLIGHT: Final = 256
_CONNECTIONS: Final = 64
_CROWD: Final = 2
_GOAL: Final = 0.5
_TEXT: Final = "x" * 100
_SEND: Final = "message"


class _Kind:
    """A mix of requests that each of some connections repeats, in a group of its own.

    Args:
        name: what it is called.
        steps: method and parameters, in turn; together they leave the group as it was.
        asker: who asks: the group's owner, or somebody else.
    """

    def __init__(
        self, name: str, steps: Sequence[tuple[str, dict[str, object]]], *, by_owner: bool
    ) -> None:
        self.name = name
        self.steps = steps
        self.by_owner = by_owner


_KINDS: Final = (
    _Kind(
        _SEND,
        [("send_message", {"body": [{"type": "text", "content": {"text": _TEXT}}]})],
        by_owner=True,
    ),
    _Kind("join and quit", [("join_group", {}), ("quit_group", {})], by_owner=False),
    _Kind(
        "invite and kick",
        [("invite_members", {"user_ids": ["guest"]}), ("remove_members", {"user_ids": ["guest"]})],
        by_owner=True,
    ),
    _Kind(
        "profile",
        [("update_group", {"name": "one"}), ("update_group", {"name": "two"})],
        by_owner=True,
    ),
)


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    with fresh_server() as server, contextlib.ExitStack() as stack:
        company = Company(stack, wants_c=sizes.wants_c, wants_sides=False)
        for kind in _KINDS:
            tell(f"operations: making groups for {kind.name}")
            _open(company.ours(server, _askers(kind)), kind, Muster(server.target()))
        for run in range(sizes.runs):
            for kind, side in zip(_KINDS, company.sides, strict=True):
                tell(f"operations, run {run + 1} of {sizes.runs}, {kind.name}")
                under_way = (_IN_FLIGHT, _CONNECTIONS)
                others.append(ask(side, kind.name, under_way, sizes, runs))
            for kind in _KINDS[1:]:
                _compare(kind, runs)
    return Result(
        figures=runs.figures(),
        notes=[
            f"{_IN_FLIGHT} in flight over {_CONNECTIONS} connections, each in its own group of "
            f"{_CROWD + 1} connected members; all are synced before they are answered",
            others_note(others),
        ],
    )


def _askers(kind: _Kind) -> list[str]:
    """Those who ask; the groups' other members are the askers of the next groups."""
    return [f"{kind.name.partition(' ')[0]}-{number}" for number in range(_CONNECTIONS)]


def _open(side: Side, kind: _Kind, talk: Muster) -> None:
    """Connect all, and tell each what to repeat."""
    users = _askers(kind)
    groups = asyncio.run(_groups(talk.target, kind, users))
    side.swarm.open(len(users))
    for number, group_id in enumerate(groups):
        for method, params in kind.steps:
            side.swarm.teach(number, talk.request(method, {"group_id": group_id, **params}))


async def _groups(target: Target, kind: _Kind, users: Sequence[str]) -> list[str]:
    async def of(number: int) -> str:
        crowd = [users[(number + step) % len(users)] for step in range(1, _CROWD + 1)]
        owner = Caller()
        await owner.connect(target, users[number] if kind.by_owner else crowd[0], "setup")
        params: dict[str, object] = {
            "type": "Public",
            "name": "Bench",
            "apply_join_option": ApplyJoinOption.FREE_ACCESS,
            "invite_join_option": InviteJoinOption.FREE_ACCESS,
            "members": [{"user_id": name} for name in (crowd if kind.by_owner else crowd[1:])],
        }
        made = await owner.call("create_group", params)
        owner.end()
        return str(made["group"]["group_id"])

    return await asyncio.gather(*map(of, range(len(users))))


def _compare(kind: _Kind, runs: Runs) -> None:
    ours, sends = (runs.last(f"{name}: requests", OURS) for name in (kind.name, _SEND))
    if ours and sends:
        runs.add(f"{kind.name}: share of the messages", ours / sends, "", "higher", goal=_GOAL)


WORK: Final = Work(question="How many durable group operations per second?", measure=_measure)
