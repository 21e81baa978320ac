"""The fuzzing without a fuzzer: every seed, and some thousand mutations that are always the same."""

import random
import tracemalloc
from collections.abc import Iterator

import pytest

from tests.fuzz.handshake import finish
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

SEEDS = seeds()
ROUNDS = {"handshake": 2_500}
MOST_BYTES = 8 * 1024 * 1024

every_target = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(autouse=True)
def _end_of_the_stage() -> Iterator[None]:
    yield
    finish()


def test_every_target_has_seeds() -> None:
    assert SEEDS.keys() == TARGETS.keys()
    assert all(len(inputs) >= 10 for inputs in SEEDS.values())


@every_target
def test_every_seed_is_survived_within_bounded_memory(name: str) -> None:
    for data in SEEDS[name]:
        tracemalloc.start()
        try:
            TARGETS[name](data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MOST_BYTES, data[:80]


@every_target
def test_mutations_are_survived(name: str) -> None:
    chance = random.Random(name)
    for _ in range(ROUNDS.get(name, 15_000)):
        TARGETS[name](mutated(chance, SEEDS[name]))


def mutated(chance: random.Random, inputs: list[bytes]) -> bytes:
    """One of the inputs with something changed, cut, doubled, or taken from another."""
    data = bytearray(chance.choice(inputs))
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.randint(0, 8))
        match chance.randrange(5):
            case 0:
                data[at:end] = chance.randbytes(chance.randint(0, 4))
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * chance.randint(1, 4)
            case 3:
                other = chance.choice(inputs)
                start = chance.randint(0, len(other))
                data[at:] = other[start:]
            case _ if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
    return bytes(data)
