"""The result of a soak, for people and for programs."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from scripts.common.terminal import table
from scripts.loadgen.record import Fault, Finding
from scripts.soaking.watch import Sample

_SHOWN = 20
_ROWS = 12


class Result(msgspec.Struct, kw_only=True):
    """Everything that is told; the JSON form has these names.

    Attributes:
        memory_growth: as a share, None where the soak was too short to say.
        problems: in words, what makes it fail beside the findings.
    """

    seed: int
    minutes: float
    rate: float
    chapters: int
    deliveries: int
    resumes: int
    events_from_the_log: int
    answers_watched: int
    acts: dict[str, int]
    findings: list[Finding]
    finding_count: int
    memory_growth: float | None
    memory: str
    files: str
    check: str
    lag_ms: float
    cpu_share: float
    problems: list[str]
    samples: list[Sample]

    @property
    def has_failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.finding_count or self.problems)


def text_of(result: Result) -> str:
    """The page as plain text."""
    acts = sorted(result.acts.items(), key=lambda act: -act[1])
    counts = Counter(finding.fault for finding in result.findings)
    parts = [
        f"Soaked for {result.minutes:.1f} minutes with seed {result.seed}: "
        f"{result.chapters} conversations judged whole, and one that lasted",
        table([[name, f"{count:,}"] for name, count in acts], right=(1,)),
        table(
            [
                ["events delivered", f"{result.deliveries:,}"],
                [
                    "of them from the log, to who was away or slow",
                    f"{result.events_from_the_log:,}",
                ],
                ["devices that came back", f"{result.resumes:,}"],
                ["answers watched for their events", f"{result.answers_watched:,}"],
                ["CPU, both sides, of one core", f"{result.cpu_share:.0%}"],
                ["the load side's worst lag", f"{result.lag_ms:.0f} ms"],
            ],
            right=(1,),
        ),
        "The server" + "\n" + _samples(result.samples),
        table(
            [
                ["memory", result.memory],
                ["open files", result.files],
                ["check of the data", result.check],
            ]
        ),
        "Found\n" + table([[fault.value, f"{counts[fault]:,}"] for fault in Fault], right=(1,)),
    ]
    if result.has_failed:
        shown = [f"{f.fault.value}: {f.where}: {f.what}" for f in result.findings[:_SHOWN]]
        title = f"{result.finding_count} findings, {len(result.problems)} problems:"
        parts.append("\n  ".join([title, *result.problems, *shown]))
    else:
        parts.append("Nothing is wrong.")
    return "\n\n".join(parts)


def _samples(samples: Sequence[Sample]) -> str:
    step = max(1, len(samples) // _ROWS)
    shown = [*samples[:-1:step], *samples[-1:]]
    rows = [["after s", "memory MiB", "open files", "lag ms"]]
    rows += [
        [f"{s.at_s:.0f}", f"{s.rss_bytes / 2**20:.1f}", f"{s.files}", f"{s.lag_ms:.0f}"]
        for s in shown
    ]
    return table(rows, right=(0, 1, 2, 3))
