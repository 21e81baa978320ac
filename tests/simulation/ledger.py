"""What was really committed, of each history of the store, written down where it happens.

A history ends when an older copy of the store is put in its place: the copy's beginning is common
to both, and what follows has another epoch.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from server.service.ports import Committed, Done, Outcome, RequestKey, WriteSet
from server.storage.memory import MemoryStore
from server.storage.memory_tables import Tables
from tests.simulation.trace import Trace


class Applied(msgspec.Struct, frozen=True):
    """A request that took effect: its content's digest, and what it added to the log.

    ``entries`` are how many it made, also those that are not stored.
    """

    digest: bytes
    before: int
    position: int
    seq: int | None
    entries: int = 0


class Ledger:
    """One history: every entry in commit order, and which requests took effect.

    ``changes`` are the entries of each change, also those that are not stored.

    Args:
        before: the history that it has a part in common with, and ``forked_at`` up to where.
        applied: what had taken effect by then; not all of it takes a position.
        terms: those that had begun by then.
        changed: how many changes there were by then.
    """

    def __init__(
        self,
        before: "Ledger | None" = None,
        forked_at: int = 0,
        applied: Mapping[RequestKey, list[Applied]] = MappingProxyType({}),
        terms: Collection[str] = (),
        changed: int = 0,
    ) -> None:
        self.terms = terms
        self.before = before
        self.forked_at = forked_at
        self.log: list[Committed] = []
        self.changes: list[Sequence[Committed]] = []
        self.applied = {key: list(times) for key, times in applied.items()}
        self.position = forked_at
        if before is not None:
            self.changes = list(before.changes[:changed])
            self.log = [told for told in before.log if told.position <= forked_at]

    def take(self, batch: Sequence[WriteSet], outcomes: Sequence[Outcome]) -> None:
        """A batch was applied."""
        for write_set, outcome in zip(batch, outcomes, strict=True):
            if not isinstance(outcome, Done) or write_set.is_refusal:
                continue
            self.log += [told for told in outcome.committed if told.position]
            if outcome.committed:
                self.changes.append(outcome.committed)
            if write_set.request is not None:
                applied = Applied(
                    write_set.digest,
                    self.position,
                    outcome.position,
                    outcome.seq,
                    len(write_set.entries),
                )
                self.applied.setdefault(write_set.request, []).append(applied)
            self.position = max(self.position, outcome.position)

    def has_in_common(self, other: "Ledger", position: int) -> bool:
        """Whether everything up to ``position`` of ``other`` is also in this history."""
        own: Ledger | None = self
        upto = other.position
        while own is not None:
            if own is other:
                return position <= upto
            upto = min(upto, own.forked_at)
            own = own.before
        # It may be the other one that came later, or both have an older one in common.
        return other.before is not None and (
            position <= other.forked_at and self.has_in_common(other.before, position)
        )


class _Copy(NamedTuple):
    """A copy of the tables, and where it stands in which history."""

    tables: Tables
    ledger: Ledger
    position: int
    applied: dict[RequestKey, list[Applied]]
    changed: int


class Disk:
    """What survives a process: the tables, and beside them the ledgers of all histories.

    Attributes:
        ledger: the history that goes on.
        ledgers: term -> the history in which it was.
    """

    def __init__(self, trace: Trace) -> None:
        self.tables = Tables()
        self.ledger = Ledger()
        self.ledgers: dict[str, Ledger] = {}
        self._trace = trace
        self._copy: _Copy | None = None

    @property
    def has_copy(self) -> bool:
        """Whether there is an older copy that could be restored."""
        return self._copy is not None

    @property
    def term(self) -> str:
        """The newest term."""
        return f"t{len(self.ledgers)}"

    @property
    def histories(self) -> Sequence[Ledger]:
        """The ledgers in the order of their beginnings, each once."""
        return list({id(one): one for one in self.ledgers.values()}.values())

    def back_up(self) -> None:
        """Keep a copy of how it is now."""
        ledger = self.ledger
        applied = {key: list(times) for key, times in ledger.applied.items()}
        changed = len(ledger.changes)
        self._copy = _Copy(copy.deepcopy(self.tables), ledger, ledger.position, applied, changed)
        self._trace.note("backup", self.ledger.position)

    def restore(self) -> None:
        """Put the copy in the place of the tables. No process may run on them."""
        assert self._copy is not None
        tables, ledger, position, applied, changed = self._copy
        self.tables = copy.deepcopy(tables)
        self._trace.note("restore", position, f"loses {self.ledger.position - position}")
        terms = [name for name, _ in tables.terms]
        self.ledger = Ledger(ledger, position, applied, terms, changed)

    def open(self) -> MemoryStore:
        """A store on the tables, as a new process opens it."""
        term = f"t{len(self.ledgers) + 1}"
        self.ledgers[term] = self.ledger
        return _LedgeredStore(term, self.tables, self.ledger)


class _LedgeredStore(MemoryStore):
    """Writes down what is applied at the moment when it is."""

    def __init__(self, term: str, tables: Tables, ledger: Ledger) -> None:
        super().__init__(epoch=term, tables=tables)
        self._ledger = ledger

    async def _in_turn(self, batch: Sequence[WriteSet]) -> Sequence[Outcome]:
        outcomes = await super()._in_turn(batch)
        self._ledger.take(batch, outcomes)
        return outcomes
