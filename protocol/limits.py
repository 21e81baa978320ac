"""Every limit of the product: its default, its unit and its reason, in one table.

Each one is a setting: ``MUSTER_LIMIT_<NAME>`` in the environment, ``[limits] <name>`` in the
configuration file; 0 means no limit (``design.md`` section 5). Limits that clients need to know
travel in ``welcome.limits``.
"""

from collections.abc import Mapping
from typing import Final

import msgspec


class LimitSpec(msgspec.Struct, frozen=True):
    """One row of the table: the default, the unit of the number, why it exists, who is told."""

    default: int
    unit: str
    reason: str
    in_welcome: bool = False
    may_be_off: bool = True


MAX_INTEGER: Final = 2**53 - 1
"""Integers of the protocol are within +-this: what every JSON reader can hold exactly."""

_KIB: Final = 1024

LIMITS: Final[Mapping[str, LimitSpec]] = {
    # One frame and what it may hold.
    "FRAME_BYTES": LimitSpec(
        64 * _KIB, "bytes", "one message from a client; the next byte closes 4413", True, False
    ),
    "MESSAGE_FRAGMENTS": LimitSpec(
        256, "frames", "one message from a client may come in; one more closes 4413", True, False
    ),
    "ARRAY_ITEMS": LimitSpec(1000, "items", "one array in a message", True, False),
    "MAP_KEYS": LimitSpec(64, "keys", "one map in a message", True, False),
    "NESTING": LimitSpec(8, "levels", "maps and arrays inside each other", True, False),
    "EVENTS_PER_FRAME": LimitSpec(256, "events", "one events message", True, False),
    "EVENTS_FRAME_BYTES": LimitSpec(
        256 * _KIB, "bytes", "one events message with more than one event", True, False
    ),
    # One connection, one user, one address.
    "REQUESTS_IN_FLIGHT": LimitSpec(64, "requests", "unanswered requests of a connection", True),
    "REQUESTS_PER_S": LimitSpec(200, "per second", "requests of one connection", True),
    "REQUESTS_BURST": LimitSpec(400, "requests", "how many may come at once after a pause", True),
    "USER_REQUESTS_PER_S": LimitSpec(400, "per second", "requests of one user, all devices", True),
    "RATE_WARNINGS": LimitSpec(
        1000, "refusals", "refused for their rate within 10 s before the connection closes, 4429"
    ),
    "CONTROL_FRAMES_PER_S": LimitSpec(
        50, "per second", "pings and pongs of one connection; more are a flood and end it"
    ),
    "DEVICES_PER_USER": LimitSpec(16, "devices", "one more replaces the oldest, 4409", True),
    "DEVICES_PER_PLATFORM": LimitSpec(
        0, "devices", "of one user on one platform; one more replaces the oldest of it", True
    ),
    "CONNECTIONS_PER_ADDRESS": LimitSpec(0, "connections", "from one address"),
    "UNAUTHENTICATED_PER_ADDRESS": LimitSpec(
        100, "connections", "from one address that have not said hello"
    ),
    "OUTGOING_BYTES": LimitSpec(
        1024 * _KIB,
        "bytes",
        "unsent bytes of a connection before it reads from the log",
        False,
        False,
    ),
    # Times.
    "HELLO_MS": LimitSpec(5_000, "ms", "from the connection to its hello, else 4408", False, False),
    "HEARTBEAT_MS": LimitSpec(
        25_000,
        "ms",
        "between pings of the server; a peer silent for two of them is gone",
        False,
        False,
    ),
    "SILENCE_MS": LimitSpec(
        60_000, "ms", "how long a connection may take nothing before it closes, 4408"
    ),
    "CLOSE_MS": LimitSpec(2_000, "ms", "for the peer to answer a close frame", False, False),
    "SLOW_CLOSE_MS": LimitSpec(
        15_000, "ms", "for a slow peer to read why it is closed", False, False
    ),
    "DRAIN_MS": LimitSpec(10_000, "ms", "for requests in flight at SIGTERM", False, False),
    "REQUEST_ID_MS": LimitSpec(
        86_400_000, "ms", "how long a request id remembers its reply", True, False
    ),
    "RESUME_EVENTS": LimitSpec(
        100_000, "events", "missed events that a resume replays; more is a reset, too_far"
    ),
    # Groups and members.
    "GROUPS_PER_DAY": LimitSpec(
        10_000, "groups", "net new groups per UTC day and app, Community not counted"
    ),
    "GROUPS_PER_USER": LimitSpec(5_000, "groups", "that one user is in", True),
    "MEMBERS_WORK": LimitSpec(6_000, "members", "of one Work group"),
    "MEMBERS_PUBLIC": LimitSpec(6_000, "members", "of one Public group"),
    "MEMBERS_MEETING": LimitSpec(6_000, "members", "of one Meeting group"),
    "MEMBERS_COMMUNITY": LimitSpec(100_000, "members", "of one Community group"),
    "PENDING_APPLICATIONS": LimitSpec(
        50, "applications", "unhandled on one user's list; one more drops the oldest", True
    ),
    "HANDLED_MS": LimitSpec(604_800_000, "ms", "how long a handled application is kept"),
    "HISTORY_MS": LimitSpec(
        604_800_000, "ms", "how long a log keeps its entries, and a disbanded group its ID"
    ),
    "IDLE_GROUP_MS": LimitSpec(
        0, "ms", "a group without any change or message for so long is recycled"
    ),
    "RECALL_MS": LimitSpec(120_000, "ms", "in which one may recall one's own message", True),
    "MUTE_S": LimitSpec(4_294_967_295, "s", "the longest mute of a member", True),
    "GROUP_MESSAGES_PER_S": LimitSpec(0, "per second", "messages to one group"),
    "INITIAL_MEMBERS": LimitSpec(100, "users", "in one create_group", True, False),
    "USERS_PER_CALL": LimitSpec(100, "users", "in one invite or removal", True, False),
    "APPLICATIONS_PER_CALL": LimitSpec(50, "applications", "handled in one call", True, False),
    "GROUPS_PER_CALL": LimitSpec(50, "groups", "in one get_groups", True, False),
    "PAGE_ITEMS": LimitSpec(100, "items", "one page of a list", True, False),
    # Lengths, in bytes of UTF-8.
    "GROUP_ID_BYTES": LimitSpec(48, "bytes", "a chosen group ID", True, False),
    "USER_ID_BYTES": LimitSpec(32, "bytes", "a user ID", True, False),
    "NAME_BYTES": LimitSpec(100, "bytes", "a group's name", True, False),
    "INTRODUCTION_BYTES": LimitSpec(400, "bytes", "a group's introduction", True, False),
    "NOTIFICATION_BYTES": LimitSpec(400, "bytes", "a group's announcement", True, False),
    "FACE_URL_BYTES": LimitSpec(500, "bytes", "a group's picture address", True, False),
    "NAME_CARD_BYTES": LimitSpec(50, "bytes", "a member's name card", True, False),
    "GROUP_CUSTOM_KEYS": LimitSpec(10, "keys", "custom fields of groups that can be declared"),
    "GROUP_CUSTOM_BYTES": LimitSpec(512, "bytes", "a group custom field's value", True, False),
    "MEMBER_CUSTOM_KEYS": LimitSpec(5, "keys", "custom fields of members that can be declared"),
    "MEMBER_CUSTOM_BYTES": LimitSpec(64, "bytes", "a member custom field's value", True, False),
    "ATTRIBUTES": LimitSpec(16, "keys", "attributes of a group", True, False),
    "ATTRIBUTE_KEY_BYTES": LimitSpec(32, "bytes", "an attribute's key", True, False),
    "ATTRIBUTE_VALUE_BYTES": LimitSpec(4_000, "bytes", "an attribute's value", True, False),
    "ATTRIBUTES_BYTES": LimitSpec(16_000, "bytes", "all attributes of a group", True, False),
    "COUNTERS": LimitSpec(20, "keys", "counters of a group", True, False),
    "COUNTER_KEY_BYTES": LimitSpec(128, "bytes", "a counter's key", True, False),
    "REASON_BYTES": LimitSpec(
        300, "bytes", "the text of an application, invitation, removal or decision", True, False
    ),
    "BODY_BYTES": LimitSpec(12 * _KIB, "bytes", "a message's body as JSON", True, False),
    "BODY_ELEMENTS": LimitSpec(16, "elements", "in a message's body", True, False),
    "CUSTOM_DATA_BYTES": LimitSpec(8 * _KIB, "bytes", "a message's custom data", True, False),
    "AT_USERS": LimitSpec(30, "users", "mentioned in one message", True, False),
    # The operator's own service.
    "WEBHOOK_BEFORE_MS": LimitSpec(
        2_000, "ms", "for its answer before a change; then webhook_on_failure decides", False, False
    ),
    "WEBHOOK_AFTER_MS": LimitSpec(5_000, "ms", "for its answer after a change", False, False),
    "WEBHOOK_ANSWER_BYTES": LimitSpec(64 * _KIB, "bytes", "of an answer", False, False),
    "WEBHOOK_CONNECTIONS": LimitSpec(16, "connections", "to it for what is told", False, False),
    "WEBHOOK_BEFORE_CONNECTIONS": LimitSpec(
        64, "connections", "to it for what is asked before a change", False, False
    ),
    "WEBHOOK_ATTEMPTS": LimitSpec(20, "attempts", "to tell one thing before it is dead"),
    "WEBHOOK_BACKOFF_MS": LimitSpec(
        1_000,
        "ms",
        "before the second attempt; twice as long before each further one",
        False,
        False,
    ),
    "WEBHOOK_BACKOFF_MOST_MS": LimitSpec(
        600_000, "ms", "the longest time between two attempts", False, False
    ),
    "WEBHOOK_OUTBOX": LimitSpec(100_000, "items", "wait to be told; of more the oldest are dead"),
    "WEBHOOK_DEAD": LimitSpec(100_000, "items", "dead ones are kept; of more the oldest go"),
    # The admin REST API.
    "REST_CALLS_PER_S": LimitSpec(200, "per second", "calls of one command"),
    "REST_BODY_BYTES": LimitSpec(1024 * _KIB, "bytes", "the body of a call", False, False),
    "REST_BODY_MS": LimitSpec(10_000, "ms", "for the body of a call to arrive", False, False),
    "REST_ANSWER_BYTES": LimitSpec(1024 * _KIB, "bytes", "an answer; 10018 beyond", False, False),
    "REST_FAILURES": LimitSpec(
        10, "per minute", "wrong signatures of one account from one address; then 70050"
    ),
}
"""Name -> row. The README's table is printed from here."""


def default_limits() -> dict[str, int]:
    """All limits at their defaults, name -> number."""
    return {name: spec.default for name, spec in LIMITS.items()}
