"""The faults of scripts/mutate fit the code as it is; what notices them is shown by running it."""

from pathlib import Path

import pytest

from scripts.mutations.catalogue import MUTATIONS
from scripts.mutations.mutation import DoesNotFit, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_fault_fits_the_code_and_leaves_a_program(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    broken = mutation.applied(text)
    assert broken != text
    compile(broken, mutation.file, "exec")
    paths = [ROOT / test.partition("::")[0] for test in mutation.tests]
    assert all(path.exists() for path in paths)
    assert mutation.tests or mutation.is_simulated


def test_faults_are_many_and_have_names_of_their_own() -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert len(set(names)) == len(names) >= 15


@pytest.mark.parametrize("text", ["", "a b a"])
def test_a_text_that_is_not_there_once_is_refused(text: str) -> None:
    mutation = Mutation(name="m", promise="p", file="f", old="a", new="b", tests=("t",))
    with pytest.raises(DoesNotFit):
        mutation.applied(text)
