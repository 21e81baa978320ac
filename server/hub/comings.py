"""Tells the operator's own service which devices come and go."""

from collections.abc import Mapping, Sequence
from typing import Final

from server.domain.model import Origin
from server.hub.hub import Hub
from server.hub.session import Parting, Session
from server.service.announcements import Announcements
from server.service.ports import Clock

_WORDS: Final[Mapping[Parting, tuple[str, str]]] = {
    Parting.LOGOUT: ("Logout", "Unregister"),
    Parting.LOST: ("Disconnect", "LinkClose"),
    Parting.SILENT: ("Disconnect", "TimeOut"),
}
"""The original's Action and Reason."""


def announce_devices(hub: Hub, announcements: Announcements, clock: Clock) -> None:
    """From now on tell of every device that logs in, and of every one that ends by itself.

    Of one that had to go for another, the other one's login tells.
    """

    def came(session: Session, replaced: Sequence[Session]) -> None:
        platforms = [other.platform for other in replaced]
        announcements.device_came(_origin(session), platforms, clock.now_ms())

    def went(session: Session, parting: Parting) -> None:
        action, reason = _WORDS[parting]
        announcements.device_went(_origin(session), action, reason, clock.now_ms())

    hub.on_came = came
    hub.on_gone = went


def _origin(session: Session) -> Origin:
    return Origin(caller_id=session.user_id, platform=session.platform, address=session.address)
