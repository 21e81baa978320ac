"""The result of a run: plain data, from which the page, the picture and the JSON file are made."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from scripts.common.percentiles import Histogram, percentile
from scripts.loadgen.plan import Kind
from scripts.loadgen.record import Fault, Finding, Outcome, Record
from scripts.loadgen.timeline import Mark, Second, Timeline

_MOST_ROWS: Final = 20
_MOST_POINTS: Final = 300
_MOST_FINDINGS: Final = 1_000
_LEAST_S: Final = 0.5
"""A run that was interrupted at once has no rates."""

NAMES: Final[Mapping[Kind, str]] = {
    Kind.CREATE: "groups created",
    Kind.SEND: "messages",
    Kind.JOIN: "joins",
    Kind.INVITE: "invitations",
    Kind.KICK: "removals",
    Kind.QUIT: "departures",
    Kind.MUTE: "mutes, begun and ended",
    Kind.TRANSFER: "groups transferred",
    Kind.DISBAND: "groups disbanded",
    Kind.READ: "lists and histories read",
    Kind.WRONG: "requests against the rules",
}


class Latencies(msgspec.Struct, frozen=True):
    """Percentiles in ms of so many times; they are up to 3 % too high, never too low."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Some seconds of the run; see ``timeline.Second`` for what is counted.

    Attributes:
        from_s: since the beginning of the load.
        replies: from the moment a request was due to its answer; None where there was none.
        deliveries_ms: from the moment a message was due to each device that was listening.
    """

    from_s: float
    length_s: float
    offered: int
    answered: int
    deliveries: int
    replies_ms: Latencies | None
    deliveries_ms: Latencies | None
    load_cpu: float | None
    server_cpu: float | None
    server_bytes: int | None

    @property
    def deliveries_per_s(self) -> float:
        """How many events were delivered in a second of it."""
        return self.deliveries / self.length_s


class KindRow(msgspec.Struct, frozen=True, kw_only=True):
    """All requests of one kind, those that prepare the load included but for their times."""

    name: str
    done: int
    refused: int
    unanswered: int
    replies_ms: Latencies | None


class Played(msgspec.Struct, kw_only=True):
    """What was counted while a plan was played, beside the record for the oracle.

    Attributes:
        seconds: from the first request of the load to the last answer.
        was_cut: whether the plan was not played to its end.
        pages: messages of the server that held more than one event, which came from the log;
            ``paged`` is how many events they held.
        limited: how often the server's limits refused a request, which was sent again then.
        late: how late the load side itself was when it offered requests.
        load_waited_s: for how long it was ready to go on and had no core.
    """

    seed: int
    seconds: float
    was_cut: bool
    devices: int
    deliveries: int
    resumes: int
    pages: int
    paged: int
    limited: int
    kills: int
    late: Histogram
    timeline: Timeline
    load_cpu_s: float
    load_waited_s: float
    server_cpu_s: float | None
    server_peak_bytes: int | None


class Result(msgspec.Struct, kw_only=True):
    """Everything that is told; the JSON form has these names.

    Attributes:
        began: local time, ISO 8601.
        end: how it ended, in words.
        points: the run in up to 300 buckets; ``rows`` in up to 20.
        left: requests whose device went away on purpose before the answer; not in the latencies.
        stored: messages that the server has stored.
        watched: answers before which the events that they caused had to come.
        load_cpu_most: in the busiest second, share of one core.
        findings: the first of them; ``faults`` counts all.
    """

    server: str
    began: str
    parameters: dict[str, int | float]
    end: str
    seconds: float
    total: Bucket
    rows: list[Bucket]
    points: list[Bucket]
    marks: list[Mark]
    kinds: list[KindRow]
    users: int
    devices: int
    groups: dict[str, int]
    stored: int
    deliveries: int
    resumes: int
    pages: int
    paged: int
    left: int
    limited: int
    watched: int
    kills: int
    late_ms: Latencies | None
    load_cpu_s: float
    load_waited_s: float
    load_cpu_most: float
    server_cpu_s: float | None
    server_peak_bytes: int | None
    faults: dict[str, int]
    findings: list[Finding]

    @property
    def is_wrong(self) -> bool:
        """Whether anything was found."""
        return any(self.faults.values())


def result_of(
    played: Played,
    record: Record,
    findings: Sequence[Finding],
    *,
    server: str,
    began: str,
    parameters: dict[str, int | float],
    end: str,
) -> Result:
    """The result of a run that was judged."""
    timeline = played.timeline
    counts = Counter(finding.fault for finding in findings)
    outcomes = record.outcomes
    return Result(
        server=server,
        began=began,
        parameters=parameters,
        end=end,
        seconds=played.seconds,
        total=_bucket(0.0, max(_LEAST_S, timeline.length_s), timeline.total()),
        rows=_buckets(timeline, _MOST_ROWS),
        points=_buckets(timeline, _MOST_POINTS),
        marks=timeline.marks,
        kinds=[_kind_row(kind, outcomes) for kind in NAMES],
        users=len({device.user_id for device in record.devices}),
        devices=played.devices,
        groups=dict(sorted(Counter(g.type.value for g in record.groups.values()).items())),
        stored=sum(o.is_done and o.is_stored for o in outcomes if o.kind is Kind.SEND),
        deliveries=played.deliveries,
        resumes=played.resumes,
        pages=played.pages,
        paged=played.paged,
        left=sum(outcome.was_left for outcome in outcomes),
        limited=played.limited,
        watched=sum(outcome.is_watched for outcome in outcomes),
        kills=played.kills,
        late_ms=_latencies(played.late),
        load_cpu_s=played.load_cpu_s,
        load_waited_s=played.load_waited_s,
        load_cpu_most=max((s.load_cpu for s in timeline.seconds if s.load_cpu), default=0.0),
        server_cpu_s=played.server_cpu_s,
        server_peak_bytes=played.server_peak_bytes,
        faults={fault.value: counts[fault] for fault in Fault},
        findings=list(findings[:_MOST_FINDINGS]),
    )


def _buckets(timeline: Timeline, most: int) -> list[Bucket]:
    return [_bucket(s.from_s, s.length_s, s.seconds) for s in timeline.spans(most)]


def _bucket(from_s: float, length_s: float, second: Second) -> Bucket:
    return Bucket(
        from_s=from_s,
        length_s=length_s,
        offered=second.offered,
        answered=second.answered,
        deliveries=second.deliveries,
        replies_ms=_latencies(second.replies),
        deliveries_ms=_latencies(second.news),
        load_cpu=second.load_cpu,
        server_cpu=second.server_cpu,
        server_bytes=second.server_bytes,
    )


def _latencies(histogram: Histogram) -> Latencies | None:
    if not histogram.count:
        return None
    half, most, nearly_all = (histogram.percentile_s(share) for share in (0.5, 0.9, 0.99))
    return Latencies(
        histogram.count, half * 1e3, most * 1e3, nearly_all * 1e3, histogram.most_s * 1e3
    )


def _kind_row(kind: Kind, outcomes: Sequence[Outcome]) -> KindRow:
    mine = [outcome for outcome in outcomes if outcome.kind is kind]
    times_ms = sorted(
        (outcome.replied_s - outcome.due_s) * 1e3
        for outcome in mine
        if outcome.replied_s is not None and outcome.due_s is not None and not outcome.was_left
    )
    shares = [percentile(times_ms, share) for share in (0.5, 0.9, 0.99, 1.0)]
    return KindRow(
        name=NAMES[kind],
        done=sum(outcome.is_done for outcome in mine),
        refused=sum(outcome.code is not None for outcome in mine),
        unanswered=sum(outcome.replied_s is None for outcome in mine),
        replies_ms=Latencies(len(times_ms), *shares) if times_ms else None,
    )
