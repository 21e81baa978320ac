"""The judge of what the operator's own service has heard, held against what was committed.

What must have been told is calculated from the log's entries alone; of the code that makes and
sends it the judge knows nothing but what the README promises.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from protocol.callbacks import CALLBACKS, CallbackKind
from protocol.vocabulary import EventKind, Message, Notice, Tip
from server.service.ports import Committed
from server.webhooks.receiver import Answer
from tests.simulation.ledger import Ledger
from tests.simulation.service import Heard, text_of

PERMANENT: Final = (400, 410, 413, 422, 431)
_GROUP: Final = "Group.Callback"
_FOUR_FIELDS: Final = ("name", "introduction", "notification", "face_url")

Told = tuple[str, str, str]
"""The group, the callback's name, and what it says that tells it from others."""


# What must be told of a commit.


def expected_of(change: Sequence[Committed], is_room: bool) -> list[Told]:
    """What one change must have been told of.

    Args:
        change: its entries, also those that are not stored.
        is_room: whether who comes and goes is told as a state, too.
    """
    events = {told.entry.event for told in change}
    if Notice.GROUP_CREATED in events:
        return [(change[0].entry.group_id, "AfterCreateGroup", change[0].entry.group_id)]
    found: list[Told] = []
    once: dict[Told, None] = {}
    for told in change:
        group_id, event = told.entry.group_id, told.entry.event
        if told.entry.joined:
            found.append((group_id, "AfterNewMemberJoin", " ".join(told.entry.joined)))
        if told.entry.left:
            found.append((group_id, "AfterMemberExit", " ".join(told.entry.left)))
        if told.entry.closes:
            found.append((group_id, "AfterGroupDestroyed", group_id))
        if is_room and (told.entry.joined or told.entry.left):
            who = " ".join(told.entry.joined or told.entry.left)
            found.append((group_id, "OnMemberStateChange", who))
        if told.entry.kind is EventKind.MESSAGE and event == Message.MESSAGE:
            said = told.entry.data.body[0].content.text
            found.append((group_id, "AfterSendMsg", f"{told.seq} {said}"))
        if event == Message.MESSAGE_RECALLED:
            found.append((group_id, "AfterRecallMsg", str(told.entry.data.recalled_seq)))
        # These are told to one after the other of those whom they concern.
        if event == Tip.GROUP_PROFILE_CHANGED and any(
            getattr(told.entry.data, name) is not None for name in _FOUR_FIELDS
        ):
            once[group_id, "AfterGroupInfoChanged", str(told.entry.data.name)] = None
        if event == Notice.OWNER_CHANGED:
            once[group_id, "AfterChangeGroupOwner", ""] = None
        if event in (Notice.ADMIN_GRANTED, Notice.ADMIN_REVOKED):
            once[group_id, "AfterMemberFieldChanged", told.entry.inbox_of or ""] = None
    return [*found, *once]


def told_of(one: Heard) -> Told:
    """What a call tells, in the same words."""
    name, body = one.name.removeprefix(_GROUP), one.body
    match name:
        case "AfterNewMemberJoin" | "AfterMemberExit" | "OnMemberStateChange":
            members = next(body[key] for key in _MEMBERS if key in body)
            says = " ".join(member["Member_Account"] for member in members)
        case "AfterSendMsg":
            says = f"{body['MsgSeq']} {text_of(body)}"
        case "AfterRecallMsg":
            says = " ".join(str(message["MsgSeq"]) for message in body["MsgSeqList"])
        case "AfterGroupInfoChanged":
            says = str(body.get("Name"))
        case "AfterMemberFieldChanged":
            says = body["Member_Account"]
        case "AfterChangeGroupOwner":
            says = ""
        case _:
            says = one.stream
    return one.stream, name, says


_MEMBERS: Final = ("NewMemberList", "ExitMemberList", "MemberList")


class Limits(msgspec.Struct, frozen=True):
    """What the service was promised: which callbacks are on, and how often one is tried."""

    wanted: frozenset[str]
    attempts: int
    blocks: bool


class ServiceOracle:
    """Judges what was heard.

    Args:
        calls: all of them, in the order in which they were begun.
        revived_s: since when what was dead may be told again; None for never.
    """

    def __init__(self, calls: Sequence[Heard], limits: Limits, revived_s: float | None) -> None:
        self._limits = limits
        self._revived_s = revived_s
        self._asked = [one for one in calls if _is_of(one, CallbackKind.BEFORE)]
        self._told = [one for one in calls if _is_of(one, CallbackKind.AFTER)]

    # What was told.

    def judge_told(
        self,
        ledgers: Sequence[Ledger],
        *,
        is_room: Callable[[str], bool],
        is_complete: bool,
    ) -> Iterator[str]:
        """What is wrong with what was told of these histories, of which the last one goes on.

        Of one history all is told in the order of each group. Of several it is not said which
        part of the others was told.

        Args:
            is_room: whether a group is one that stores no membership.
            is_complete: whether nothing is left to be told.
        """
        yield from self._judge_names()
        yield from self._judge_attempts()
        expected = [self._expected(ledger, is_room) for ledger in ledgers]
        first_of: dict[str, Heard] = {}
        for one in self._told:
            first_of.setdefault(one.delivery_id, one)
        firsts = list(first_of.values())
        taken = {one.delivery_id for one in self._told if one.is_heard and _is_taken(one)}
        if len(ledgers) == 1:
            left = [one.delivery_id for one in firsts if one.delivery_id not in taken]
            if is_complete:
                yield from (f"{delivery_id} was told in vain, and no more" for delivery_id in left)
            yield from self._judge_order(firsts, expected[0], is_complete=is_complete)
            yield from self._judge_turns(firsts)
            return
        possible = {told for blocks in expected for block in blocks for told in block}
        heard = {told_of(one) for one in firsts}
        yield from (f"{told} was never committed" for told in sorted(heard - possible))
        if is_complete:
            due = {told for block in expected[-1] for told in block}
            done = {told_of(one) for one in firsts if one.delivery_id in taken}
            yield from (f"{told} was never told" for told in sorted(due - done))

    def _expected(self, ledger: Ledger, is_room: Callable[[str], bool]) -> list[list[Told]]:
        """For each change what is to be told of it, if it is wanted."""
        found = []
        for change in ledger.changes:
            wanted = [
                told
                for told in expected_of(change, is_room(change[0].entry.group_id))
                if _GROUP + told[1] in self._limits.wanted
            ]
            if wanted:
                found.append(wanted)
        return found

    def _judge_names(self) -> Iterator[str]:
        bodies: dict[str, tuple[str, dict[str, Any]]] = {}
        for one in self._told:
            if one.name not in self._limits.wanted:
                yield f"{one.name} was told, and is not on"
            first = bodies.setdefault(one.delivery_id, (one.name, one.body))
            if first != (one.name, one.body):
                yield f"{one.delivery_id} was {first}, and then {one.name} {one.body}"

    def _judge_order(
        self, firsts: Sequence[Heard], expected: Sequence[Sequence[Told]], *, is_complete: bool
    ) -> Iterator[str]:
        """Each group's changes are told one after the other, each once but for repetitions."""
        blocks: defaultdict[str, list[Counter[Told]]] = defaultdict(list)
        for block in expected:
            for group_id in dict.fromkeys(told[0] for told in block):
                blocks[group_id].append(Counter(told for told in block if told[0] == group_id))
        reached: Counter[str] = Counter()
        for one in firsts:
            told = told_of(one)
            own = blocks[told[0]]
            place = reached[told[0]]
            if place >= len(own) or told not in own[place]:
                yield f"{told} ({one.delivery_id}) was told where {own[place : place + 1]} was due"
                return
            own[place] -= Counter([told])
            if not own[place]:
                reached[told[0]] += 1
        missing = [
            own[reached[group_id]] for group_id, own in blocks.items() if own[reached[group_id] :]
        ]
        if is_complete and missing:
            yield f"never told: {missing[0]} and {len(missing) - 1} more groups"

    def _judge_turns(self, firsts: Sequence[Heard]) -> Iterator[str]:
        """Nothing is told of a group before what came before it was taken, or is dead."""
        settled_at: dict[str, float] = {}
        calls: defaultdict[str, list[Heard]] = defaultdict(list)
        for one in self._told:
            calls[one.delivery_id].append(one)
        for delivery_id, own in calls.items():
            times = [one.end_s for one in own if self._may_be_settled(one)]
            settled_at[delivery_id] = min(times, default=float("inf"))
        before: dict[str, Heard] = {}
        for one in firsts:
            last = before.get(one.stream)
            if last is not None and settled_at[last.delivery_id] > one.begin_s:
                yield f"{one.delivery_id} was told while {last.delivery_id} was not over"
            before[one.stream] = one

    def _may_be_settled(self, one: Heard) -> bool:
        """Whether the server may leave it at that; it need not while nothing at all is taken."""
        return _is_settled(one) or (one.seen is not None and one.attempt >= self._limits.attempts)

    def _judge_attempts(self) -> Iterator[str]:
        """Within a process's life attempts count on, and nothing is told again that was taken."""
        last: dict[tuple[str, str], Heard] = {}
        for one in self._told:
            before = last.get((one.generation, one.delivery_id))
            last[one.generation, one.delivery_id] = one
            is_revived = self._revived_s is not None and one.begin_s >= self._revived_s
            if before is None or (is_revived and one.attempt == 1):
                continue
            if one.attempt != before.attempt + 1:
                yield f"{one.delivery_id} has attempt {one.attempt} after {before.attempt}"
            if _is_settled(before) and not is_revived:
                yield f"{one.delivery_id} was told again although it was over"

    # What was asked.

    def judge_asked(self, ledgers: Sequence[Ledger]) -> Iterator[str]:
        """What is wrong with what was done on the service's word, or without it."""
        by_text: defaultdict[str, list[Heard]] = defaultdict(list)
        for one in self._asked:
            if one.name not in self._limits.wanted:
                yield f"{one.name} was asked, and is not on"
            if one.name.endswith("BeforeSendMsg"):
                by_text[key_of(text_of(one.body))].append(one)
        if not any(name.endswith("BeforeSendMsg") for name in self._limits.wanted):
            return
        for ledger in ledgers:
            for change in ledger.changes:
                for told in change:
                    if told.entry.event == Message.MESSAGE:
                        said = told.entry.data.body[0].content.text
                        yield from self._judge_said(said, by_text[key_of(said)])

    def _judge_said(self, said: str, asked: Sequence[Heard]) -> Iterator[str]:
        allowed = set()
        for one in asked:
            word = _word(one)
            if word is not None and word["ErrorCode"] == 0:
                allowed.add(text_of(word) if "MsgBody" in word else text_of(one.body))
        if said in allowed:
            return
        originals = {text_of(one.body) for one in asked}
        if self._limits.blocks or (asked and said not in originals):
            yield f"{said!r} was said, and the words on it were {[_word(one) for one in asked]}"

    def judge_dropped(self, texts: Sequence[str]) -> Iterator[str]:
        """What is wrong with messages that were answered as sent, and were not."""
        dropped = {
            key_of(text_of(one.body))
            for one in self._asked
            if (word := _word(one)) is not None and word["ErrorCode"] == 2
        }
        for text in texts:
            if key_of(text) not in dropped:
                yield f"{text!r} was answered as sent, and is neither in the log nor dropped"


def key_of(text: str) -> str:
    """What is the same in a message and in what became of it."""
    return text.split(" ")[0]


def _is_taken(one: Heard) -> bool:
    """Whether the server knows that the service has taken it."""
    return isinstance(one.seen, Answer) and 200 <= one.seen.status < 300


def _is_settled(one: Heard) -> bool:
    """Whether the server knows that it need not be told again."""
    is_permanent = isinstance(one.seen, Answer) and one.seen.status in PERMANENT
    return is_permanent or _is_taken(one)


def _is_of(one: Heard, kind: CallbackKind) -> bool:
    return CALLBACKS[one.name].kind is kind


def _word(one: Heard) -> dict[str, Any] | None:
    """What the server read as the service's word; None for none."""
    if not isinstance(one.seen, Answer) or one.seen.status != 200 or one.seen.body is None:
        return None
    try:
        return msgspec.json.decode(one.seen.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
