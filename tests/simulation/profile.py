"""What a history is like: how many take part, the limits of its server, and what goes wrong."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from protocol.callbacks import OFFERED
from protocol.limits import default_limits
from server.domain.rules import Rulebook
from tests.simulation.network import Conditions
from tests.simulation.service import Temper

FAULTS: Final[Mapping[str, Sequence[str]]] = {
    "connections": ("cut", "cut", "half-open", "stall", "stall"),
    "listener": ("hang", "cut all"),
    "store": ("store fault", "store fault", "slow store"),
    "process": ("crash", "drain", "store fault"),
    "copies": ("backup", "backup", "restore", "crash"),
    "clock": ("clock",),
    "applications": ("app restart", "app restart", "old cursor", "slow app"),
    "devices": ("new device", "twin device", "app restart", "vanish"),
}
"""Families of faults; a history has a few of them."""


RECEIVER_FAULTS: Final = (
    "receiver down",
    "receiver slow",
    "receiver moody",
    "receiver poisoned",
    "receiver well",
    "replay",
)
"""What goes wrong with the operator's own service, in the histories that have one."""


class Hooks(msgspec.Struct, frozen=True):
    """How the operator's own service is asked and told; by the real HTTP client or without it."""

    wanted: frozenset[str]
    blocks: bool
    usual: Temper
    is_http: bool
    limits: Mapping[str, int]


class Profile(msgspec.Struct, frozen=True):
    """The frame of a history, drawn from its seed."""

    users: int
    devices: int
    operations: int
    flapping: int
    gap_s: float
    pause_part: float
    store_delay_s: float
    commit_part: float
    faults: Sequence[str]
    fault_part: float
    limits: Mapping[str, int]
    conditions: Conditions
    words: int
    max_queued_events: int
    hooks: Hooks | None = None

    @property
    def rulebook(self) -> Rulebook:
        """The rules of its server."""
        return Rulebook(limits=default_limits() | dict(self.limits))


def draw(random: Random) -> Profile:
    """A profile by chance: small as a rule, and each with a few things that are unusual."""

    def sometimes(part: float) -> bool:
        return random.random() < part

    limits = {
        "EVENTS_PER_FRAME": random.choice([1, 3, 3, 256]),
        "HEARTBEAT_MS": random.choice([10_000, 25_000]),
        "SILENCE_MS": random.choice([8_000, 20_000]),
        "SLOW_CLOSE_MS": 5_000,
        "RECALL_MS": 20_000,
    }
    if sometimes(0.45):
        limits["OUTGOING_BYTES"] = random.choice([300, 1_000, 4_000])
    if sometimes(0.25):
        limits["RESUME_EVENTS"] = random.choice([2, 5, 12])
    if sometimes(0.25):
        limits["HISTORY_MS"] = random.choice([1_500, 5_000, 15_000])
    if sometimes(0.1):
        limits["REQUEST_ID_MS"] = random.choice([3_000, 10_000])
    if sometimes(0.2):
        limits["DEVICES_PER_USER"] = random.choice([1, 2])
    if sometimes(0.15):
        limits["REQUESTS_PER_S"], limits["REQUESTS_BURST"] = random.choice([(2, 3), (5, 6)])
        limits["RATE_WARNINGS"] = random.choice([2, 5, 1000])
    if sometimes(0.1):
        limits["USER_REQUESTS_PER_S"] = 2
    if sometimes(0.15):
        limits["REQUESTS_IN_FLIGHT"] = random.choice([1, 2])
    if sometimes(0.1):
        limits["GROUP_MESSAGES_PER_S"] = 2
    if sometimes(0.1):
        limits["PENDING_APPLICATIONS"] = 1
    if sometimes(0.1):
        limits["GROUPS_PER_USER"] = 2
    if sometimes(0.08):
        limits["IDLE_GROUP_MS"] = 4_000
    if sometimes(0.1):
        limits["HANDLED_MS"] = 2_000
    families = random.sample(sorted(FAULTS), random.choice([1, 1, 2, 3]))
    is_slow = "OUTGOING_BYTES" in limits
    users = random.choice([2, 2, 3, 3, 4, 5])
    return Profile(
        users=users,
        devices=random.choice([1, 1, 2, 3]),
        operations=random.randint(12, 36),
        flapping=random.choice([0, 1, 1, 2]),
        gap_s=random.choice([0.01, 0.02, 0.1, 0.5, 1.5]),
        pause_part=random.choice([0.4, 0.8]),
        commit_part=random.choice([0.05, 1.0]),
        store_delay_s=random.choice([0.0, 0.0, 0.01, 0.05, 0.3]),
        faults=[fault for family in families for fault in FAULTS[family]],
        fault_part=random.choice([0.1, 0.2, 0.35]),
        limits=limits,
        conditions=Conditions(
            latency_s=random.choice([0.0005, 0.002, 0.02, 0.2]),
            jitter_s=random.choice([0.0, 0.0, 0.02, 0.5]),
            bytes_per_s=random.choice([1e7, 20_000, 3_000]) if is_slow else 1e6,
            window_bytes=random.choice([500, 2_000]) if is_slow else 65_536,
            piece_bytes=random.choice([0, 0, 0, 0, 200]),
        ),
        words=random.choice([200, 600, 1_000] if is_slow else [30, 200]),
        max_queued_events=random.choice([2, 8, 1024, 1024]),
    )


def with_hooks(profile: Profile, random: Random) -> Profile:
    """The profile of a history in which the operator's own service is asked and told, or not.

    ``random`` is its own, so that the other histories are what they are without this.
    """
    if random.random() >= 0.25:
        return profile
    wanted = frozenset(OFFERED)
    if random.random() < 0.3:
        wanted = frozenset(random.sample(sorted(OFFERED), len(OFFERED) // 2))
    limits = {
        "WEBHOOK_BEFORE_MS": random.choice([300, 2_000]),
        "WEBHOOK_AFTER_MS": random.choice([300, 2_000]),
        "WEBHOOK_ATTEMPTS": random.choice([2, 4, 20]),
        "WEBHOOK_BACKOFF_MS": random.choice([10, 200, 1_000]),
        "WEBHOOK_BACKOFF_MOST_MS": 3_000,
        "WEBHOOK_CONNECTIONS": random.choice([1, 2, 16]),
    }
    hooks = Hooks(
        wanted=wanted,
        blocks=random.random() < 0.6,
        usual=Temper(
            travel_s=random.choice([0.0, 0.002, 0.05]), delay_s=random.choice([0.0, 0.0, 0.1])
        ),
        is_http=random.random() < 0.15,
        limits=limits,
    )
    return msgspec.structs.replace(
        profile,
        hooks=hooks,
        limits={**profile.limits, **limits},
        faults=[*profile.faults, *RECEIVER_FAULTS],
    )
