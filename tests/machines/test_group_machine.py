"""Random users and devices do everything to groups of all types; every law holds at every step."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from tests.machines.player import USERS, Dice, Drawn, Player
from tests.machines.stage import DEVICES, Stage

T = TypeVar("T")

STEPS: Final = 120
MANY: Final = st.integers(0, 1000)
"""Names one of what there is at the time."""


class Groups(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stage: Stage | None = None

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    @initialize(invitee_consent=st.booleans())
    def begin(self, invitee_consent: bool) -> None:
        self.stage = Stage(invitee_consent=invitee_consent)
        self.run(self.stage.open())

    @rule(data=st.data(), count=st.integers(1, 5))
    def play(self, data: st.DataObject, count: int) -> None:
        assert self.stage is not None
        player = Player(self.stage.known, Drawn(data))
        for _ in range(count):
            self.run(self.stage.play([player.act()]))

    @rule(data=st.data(), count=st.integers(2, 4))
    def play_at_once(self, data: st.DataObject, count: int) -> None:
        assert self.stage is not None
        player = Player(self.stage.known, Drawn(data))
        self.run(self.stage.play([player.act() for _ in range(count)]))

    @rule(user_id=st.sampled_from(USERS), device_id=st.sampled_from(DEVICES), afresh=st.booleans())
    def come_or_go(self, user_id: str, device_id: str, afresh: bool) -> None:
        assert self.stage is not None
        if self.stage.is_there(user_id, device_id):
            self.run(self.stage.go(user_id, device_id))
        else:
            self.run(self.stage.come(user_id, device_id, afresh=afresh))

    @precondition(lambda self: self.stage.done)
    @rule(which=MANY, device_id=st.sampled_from(DEVICES))
    def again(self, which: int, device_id: str) -> None:
        assert self.stage is not None
        self.run(self.stage.again(which, device_id))

    @rule(ms=st.sampled_from([1, 999, 60_000, 180_000]))
    def wait(self, ms: int) -> None:
        assert self.stage is not None
        self.run(self.stage.wait(ms))

    @precondition(lambda self: len(self.stage.known.groups) > 3)
    @rule(which=MANY)
    def recycle(self, which: int) -> None:
        assert self.stage is not None
        groups = list(self.stage.known.groups)
        self.run(self.stage.recycle(groups[which % len(groups)]))

    def teardown(self) -> None:
        try:
            if self.stage is not None:
                self.run(self._end(self.stage))
        finally:
            self.runner.close()

    async def _end(self, stage: Stage) -> None:
        try:
            await stage.read_history()
        finally:
            for line in stage.transcript:
                note(line)
            await stage.close()


@pytest.mark.parametrize("seed", range(16))
async def test_seeded(seed: int) -> None:
    """Longer histories than Hypothesis likes to make, from a generator with a seed."""
    dice = Dice(seed)
    stage = Stage(invitee_consent=bool(seed % 2))
    await stage.open()
    try:
        for _ in range(STEPS):
            await _step(stage, dice)
        await stage.read_history()
    finally:
        await stage.close()


async def _step(stage: Stage, dice: Dice) -> None:
    luck = dice.number(1, 100)
    player = Player(stage.known, dice)
    if luck <= 75:
        await stage.play([player.act()])
    elif luck <= 83:
        await stage.play([player.act() for _ in range(dice.number(2, 4))])
    elif luck <= 93:
        user_id, device_id = dice.pick(USERS), dice.pick(DEVICES)
        if stage.is_there(user_id, device_id):
            await stage.go(user_id, device_id)
        else:
            await stage.come(user_id, device_id, afresh=dice.number(1, 4) == 1)
    elif luck <= 96 and stage.done:
        await stage.again(dice.number(0, 1000), dice.pick(DEVICES))
    elif luck <= 99:
        await stage.wait(dice.pick([1, 999, 60_000, 180_000]))
    elif len(stage.known.groups) > 3:
        await stage.recycle(dice.pick(list(stage.known.groups)))


TestGroups = Groups.TestCase
TestGroups.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    print_blob=True,
    report_multiple_bugs=False,
    # The note of a failure tells all that was done; making it smaller takes minutes.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
