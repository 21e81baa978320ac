"""The result page as plain text: how it went over time, how fast, and what was wrong."""

from collections.abc import Sequence
from typing import Final

from scripts.common.terminal import table
from scripts.loadgen.oracle import CHECKS
from scripts.loadgen.result import Bucket, Latencies, Result

MOST_LOAD_CPU: Final = 0.8
"""Above this share of a core the load side may be what is measured."""

_MOST_WAITED: Final = 0.1
_MOST_LATE_MS: Final = 20.0
_SHOWN: Final = 20
_MEBI: Final = 2**20
_HEAD: Final = (
    ("", "offered", "answered", "deliver.", "reply ms", "", "", "", "delivery ms", "", "", ""),
    ("from s", "per s", "per s", "per s", *("p50", "p90", "p99", "max") * 2),
)


def page(result: Result) -> str:
    """The page; ends with the verdict."""
    parts = [
        _title(result),
        _over_time(result),
        _by_kind(result),
        _totals(result),
        *_warnings(result),
        _verdict(result),
    ]
    return "\n\n".join(parts)


def warnings(result: Result) -> list[str]:
    """Why the figures may say more about the load side than about the server."""
    found = []
    share = result.total.load_cpu or 0.0
    if share > MOST_LOAD_CPU:
        found.append(
            f"The load side took {share:.0%} of a core, its own limit is near: the latencies may "
            "be its own. Offer less, or share the load between several runs."
        )
    waited = result.load_waited_s / max(result.seconds, 0.001)
    if waited > _MOST_WAITED:
        found.append(
            f"The machine is busy: the load side waited for a core {waited:.0%} of the time, and "
            "so, perhaps, did the server. That is in the latencies."
        )
    late = result.late_ms
    if late is not None and late.p99_ms > _MOST_LATE_MS:
        found.append(
            f"The load side was late: 1 % of the requests were offered {late.p99_ms:.0f} ms after "
            "they were due, or later, since it was busy or had no core. That is in the latencies."
        )
    return found


def _title(result: Result) -> str:
    shown = "  ".join(f"{name} {value:g}" for name, value in result.parameters.items())
    rate = result.parameters.get("rate", 0)
    loop = (
        f"Open loop: {rate:g} requests per second are due, whatever the server does, and latencies "
        "count\nfrom when a request was due (so that coordinated omission hides nothing)."
        if rate
        else "Closed loop: a request is sent when another one is answered. A stall of the server "
        "slows the\nasking down and so counts less than users would feel; --rate shows it."
    )
    return (
        f"Load on {result.server}, {result.began}\n  {shown}\n"
        f"  {result.end} after {result.seconds:.1f} s\n\n{loop}"
    )


def _over_time(result: Result) -> str:
    is_ours = result.total.server_cpu is not None
    rows = [list(row) for row in _HEAD]
    rows[0] += ["CPU of a core", "", "server"] if is_ours else ["CPU of"]
    rows[1] += ["load", "server", "MiB"] if is_ours else ["load"]
    for bucket in (*result.rows, result.total):
        name = "all" if bucket is result.total else f"{bucket.from_s:.0f}"
        row = [name, *_rates(bucket), *_cells(bucket.replies_ms), *_cells(bucket.deliveries_ms)]
        row.append(_share(bucket.load_cpu))
        if is_ours:
            size = bucket.server_bytes
            row += [_share(bucket.server_cpu), f"{size / _MEBI:.0f}" if size else ""]
        rows.append(row)
    lines = table(rows, right=range(len(rows[0])), indent=" ").splitlines()
    for mark in result.marks:
        lines.append(f"  after {mark.at_s:.1f} s: {mark.what}")
    return "\n".join(lines)


def _rates(bucket: Bucket) -> list[str]:
    counts = (bucket.offered, bucket.answered, bucket.deliveries)
    return [f"{count / bucket.length_s:,.0f}" for count in counts]


def _cells(latencies: Latencies | None) -> list[str]:
    if latencies is None:
        return [""] * 4
    shown = (latencies.p50_ms, latencies.p90_ms, latencies.p99_ms, latencies.max_ms)
    return [_ms(value) for value in shown]


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _by_kind(result: Result) -> str:
    rows = [["", "done", "refused", "no answer", "reply ms p50", "p90", "p99", "max"]]
    rows += [
        [
            row.name,
            f"{row.done:,}",
            f"{row.refused:,}",
            f"{row.unanswered:,}",
            *_cells(row.replies_ms),
        ]
        for row in result.kinds
    ]
    return "Requests by kind, with those that made the first groups\n" + table(
        rows, right=range(1, 8)
    )


def _totals(result: Result) -> str:
    groups = ", ".join(f"{count} {name}" for name, count in result.groups.items())
    per_s = result.total.deliveries_per_s
    load = f"{_share(result.total.load_cpu or 0)} of a core, {result.load_cpu_most:.0%} at most"
    lines = [
        "In all",
        f"  {result.stored:,} of the messages are stored; groups: {groups}",
        f"  {result.users:,} users on {result.devices:,} devices, which came back "
        f"{result.resumes:,} times",
        f"  {result.deliveries:,} deliveries, {per_s:,.0f} per second; {result.paged:,} of them "
        f"from the log, in {result.pages:,} full",
        "    messages, to devices that had been away or were slow",
        f"  {result.watched:,} answers were watched for their events; "
        f"the server was killed and restarted {result.kills} times",
        f"  {result.left:,} requests are not in the latencies: their device went away before the "
        "answer",
        f"  {result.limited:,} times the server's limits refused a request, which was sent again",
        f"  CPU of the load side: {result.load_cpu_s:.1f} s, {load} (above "
        f"{MOST_LOAD_CPU:.0%} it would be what is measured);",
        f"    it waited {result.load_waited_s:.1f} s for a core",
    ]
    if result.late_ms is not None:
        late = result.late_ms
        lines.append(
            f"  requests were offered {_ms(late.p50_ms)} ms after they were due (median), "
            f"{_ms(late.p99_ms)} (99 %), {_ms(late.max_ms)} (most)"
        )
    if result.server_cpu_s is not None:
        peak = (result.server_peak_bytes or 0) / _MEBI
        lines.append(
            f"  CPU of the server: {result.server_cpu_s:.1f} s, "
            f"{_share(result.total.server_cpu or 0)} of a core; memory at its peak {peak:.0f} MiB"
        )
    return "\n".join(lines)


def _warnings(result: Result) -> list[str]:
    return [f"WARNING: {text}" for text in warnings(result)]


def _verdict(result: Result) -> str:
    counts = [[name, f"{count:,}"] for name, count in result.faults.items()]
    lines = ["Checked on every device", *(f"  {claim}" for claim in CHECKS)]
    lines += ["", "Found", table(counts, right=(1,)), ""]
    total = sum(result.faults.values())
    if not total:
        return "\n".join([*lines, "Nothing is wrong."])
    shown: Sequence[str] = [
        f"  {f.fault.value}: {f.where}: {f.what}" for f in result.findings[:_SHOWN]
    ]
    return "\n".join([*lines, f"{total} findings, the first {len(shown)}:", *shown])
