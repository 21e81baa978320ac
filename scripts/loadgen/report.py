"""The result page: what was played, how fast, and what was wrong."""

import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from scripts.common.terminal import table
from scripts.loadgen.oracle import CHECKS
from scripts.loadgen.plan import Kind
from scripts.loadgen.record import Fault, Finding, Record

_SHOWN = 20
_NAMES = {
    Kind.CREATE: "groups created",
    Kind.SEND: "messages",
    Kind.JOIN: "joins",
    Kind.INVITE: "invitations",
    Kind.KICK: "removals",
    Kind.QUIT: "departures",
    Kind.MUTE: "mutes, begun and ended",
    Kind.DISBAND: "groups disbanded",
    Kind.READ: "lists and histories read",
    Kind.WRONG: "requests against the rules",
}


class Played(msgspec.Struct, kw_only=True):
    """What the player counted."""

    seed: int
    seconds: float
    was_cut: bool
    devices: int
    deliveries: int
    resumes: int
    pages: int
    paged: int
    kills: int
    load_cpu_s: float
    server_cpu_s: float | None


def report(played: Played, record: Record, findings: Sequence[Finding]) -> str:
    """The page as plain text."""
    parts = [_counts(played, record), _speed(played, record), _verdict(findings)]
    if played.was_cut:
        parts.insert(0, "The time was up before the plan was played to its end.")
    return "\n\n".join(parts)


def latencies_ms(record: Record) -> list[float]:
    """From sending a stored message to its last device that was listening; ascending."""
    return sorted(
        (entry.last_s - entry.sent_s) * 1000
        for entry in record.entries
        if entry.number and entry.heard and entry.sent_s
    )


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed; 0 for none."""
    if not ascending:
        return 0.0
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def _counts(played: Played, record: Record) -> str:
    done = Counter(outcome.kind for outcome in record.outcomes if outcome.is_done)
    refused = Counter(outcome.kind for outcome in record.outcomes if outcome.code is not None)
    stored = sum(o.is_done and o.is_stored for o in record.outcomes if o.kind is Kind.SEND)
    types = Counter(group.type.value for group in record.groups.values())
    rows = [["", "done", "refused"]]
    rows += [[name, f"{done[kind]:,}", f"{refused[kind]:,}"] for kind, name in _NAMES.items()]
    title = f"Played with seed {played.seed} in {played.seconds:.1f} s"
    lines = [
        title,
        table(rows, right=(1, 2)),
        f"  {stored:,} of the messages are stored; groups: "
        + ", ".join(f"{count} {name}" for name, count in sorted(types.items())),
        f"  {len({device.user_id for device in record.devices}):,} users on {played.devices:,} "
        f"devices, which came back {played.resumes:,} times",
        f"  {played.paged:,} events came from the log, {played.pages:,} messages full, to devices "
        "that had been away or were slow",
        f"  {sum(o.is_watched for o in record.outcomes):,} answers were watched for their events; "
        f"the server was killed and restarted {played.kills} times",
    ]
    return "\n".join(lines)


def _speed(played: Played, record: Record) -> str:
    ascending = latencies_ms(record)
    messages = sum(o.is_done for o in record.outcomes if o.kind is Kind.SEND)
    rows = [
        ["deliveries", f"{played.deliveries:,}"],
        ["deliveries per second", f"{played.deliveries / played.seconds:,.0f}"],
        ["messages per second", f"{messages / played.seconds:,.0f}"],
    ]
    if ascending:
        rows.append(["ms from sending to the last device, median", f"{_median(ascending):.1f}"])
        for share, name in ((0.9, "90 %"), (0.99, "99 %"), (1.0, "maximum")):
            rows.append([f"  {name}", f"{percentile(ascending, share):.1f}"])
    rows.append(["CPU seconds of the load side", f"{played.load_cpu_s:.1f}"])
    if played.server_cpu_s is not None:
        rows.append(["CPU seconds of the server", f"{played.server_cpu_s:.1f}"])
    return "Speed (load side and server share the machine)\n" + table(rows, right=(1,))


def _verdict(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.fault for finding in findings)
    lines = ["Checked on every device"]
    lines += [f"  {claim}" for claim in CHECKS]
    lines += [
        "",
        "Found",
        table([[fault.value, f"{counts[fault]:,}"] for fault in Fault], right=(1,)),
    ]
    if not findings:
        return "\n".join([*lines, "", "Nothing is wrong."])
    lines += ["", f"{len(findings)} findings, the first {min(_SHOWN, len(findings))}:"]
    lines += [f"  {f.fault.value}: {f.where}: {f.what}" for f in findings[:_SHOWN]]
    return "\n".join(lines)


def _median(ascending: Sequence[float]) -> float:
    return statistics.median(ascending)
