"""The table of threats and faults is whole, and what it names is there."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.threats import FAULTS, THREATS, Row

TESTS = Path(__file__).parent
EVERY = pytest.mark.parametrize("row", [*THREATS, *FAULTS], ids=lambda row: row.name)


@cache
def functions_of(module: str) -> frozenset[str]:
    """The names of the tests in a file, those in classes too."""
    tree = ast.parse((TESTS / module).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    # A rule-based machine becomes a test by assignment.
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(names)


def test_no_number_is_missing() -> None:
    assert [row.name for row in THREATS] == [f"T{number}" for number in range(1, 59)]
    assert [row.name for row in FAULTS] == [f"F{number}" for number in range(1, 33)]


@EVERY
def test_a_row_is_tested_or_says_why_not(row: Row) -> None:
    assert row.what
    assert row.tests or row.reason, "neither tests nor a reason"
    assert row.behaviour or not row.tests


@EVERY
def test_its_tests_exist(row: Row) -> None:
    assert len(set(row.tests)) == len(row.tests)
    for test in row.tests:
        module, separator, name = test.partition("::")
        assert separator
        assert name.startswith("test_")
        assert name in functions_of(module), test
