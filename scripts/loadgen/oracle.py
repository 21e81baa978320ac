"""The judge of a run: compares what every device was given with what it had to be given.

Each check is a function from a record to findings; none of them knows anything of the server
but ``protocol.md`` and ``groups.md``. Together they find what is lost, doubled, out of order,
given to somebody whom it does not concern, altered, answered too early or answered wrong.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from scripts.loadgen import answers, streams
from scripts.loadgen.order import check_one_order
from scripts.loadgen.record import Fault, Finding, Record

Check = Callable[[Record], Iterator[Finding]]

CHECKS: Final[Mapping[str, Check]] = {
    "every device's numbers are dense, each exactly once": streams.check_numbers,
    "all devices of a user were given the same, in the same order": streams.check_devices_agree,
    "members were given the group's log from coming to going, nobody else": streams.check_groups,
    "everything fits into one order of all logs": check_one_order,
    "histories are dense, and hold what was sent exactly once": answers.check_histories,
    "what members are shown later is what they were given": streams.check_views,
    "inboxes hold a notice for each thing that happened, and no other": answers.check_notices,
    "logs tell of each coming and going once": answers.check_tips,
    "answers are what the rules say": answers.check_answers,
    "requests of a device took effect in the order of sending": answers.check_sending_order,
    "unstored messages come at most once, to those who take part": streams.check_unstored,
}
"""What each check proves -> the check."""


def judge(record: Record) -> list[Finding]:
    """All findings; none means that the run was right."""
    findings = [Finding(Fault.ALTERED, "ledger", text) for text in record.altered]
    findings += [Finding(Fault.CONNECTION, "connections", text) for text in record.troubles]
    findings += [Finding(Fault.SERVER_LOG, "server", text) for text in record.complaints]
    for check in CHECKS.values():
        findings.extend(check(record))
    return findings
