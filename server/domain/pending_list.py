"""What waits for somebody's consent: putting it on lists, and what a full list drops."""

import hashlib
from collections.abc import Sequence

from msgspec.structs import replace

from protocol import events
from protocol.results import (
    ApplicationKind,
    ApplicationStatus,
)
from protocol.vocabulary import Notice
from server.domain import announcements
from server.domain.model import (
    Actor,
    Application,
    ApplicationKey,
    Decision,
    Entry,
    Group,
    MoreNeeded,
    Row,
    RowKey,
    Slice,
)
from server.domain.rules import Rulebook


def new_application(
    kind: ApplicationKind,
    group: Group,
    user_id: str,
    inviter_id: str,
    message: str,
    now_ms: int,
    fresh_token: str,
) -> Application:
    """An application that waits from now on; its ID is made of ``fresh_token`` and what it is."""
    content = "\0".join((fresh_token, kind, group.group_id, user_id)).encode()
    return Application(
        application_id=hashlib.blake2b(content, digest_size=12).hexdigest(),
        kind=kind,
        group_id=group.group_id,
        user_id=user_id,
        inviter_id=inviter_id,
        message=message,
        created_ms=now_ms,
    )


def with_asked(
    rulebook: Rulebook,
    state: Slice,
    group: Group,
    asked: Sequence[Application],
    decision: Decision,
    actor: Actor,
    now_ms: int,
) -> Decision:
    """``decision`` with these applications put on their handlers' lists, and the handlers told.

    One that waits already is replaced, so nobody waits twice. A list that is full loses its
    oldest application; its applicant and handlers are told.

    Raises:
        MoreNeeded: the slice does not show the handlers and their lists.
    """
    if state.handlers is None:
        raise MoreNeeded
    asked = [_in_place(application, state) for application in asked]
    puts: dict[RowKey, Row | None] = {}
    entries: list[Entry] = []
    for dropped in _overflowing(rulebook, state, asked):
        puts[ApplicationKey(dropped.application_id)] = dropped
        entries += _told_dropped(dropped, state, now_ms)
    for application in asked:
        puts[ApplicationKey(application.application_id)] = application
        entries += [
            _asking(application, user_id, group, actor, now_ms)
            for user_id in handlers_of(application, state)
        ]
    return replace(decision, puts=puts, entries=entries)


def _in_place(application: Application, state: Slice) -> Application:
    """``application`` under the ID of the one that it replaces, if one waits already."""
    what = (application.kind, application.group_id, application.user_id)
    for user_id in handlers_of(application, state):
        for other in state.pending.get(user_id, ()):
            if (other.kind, other.group_id, other.user_id) == what:
                return replace(application, application_id=other.application_id)
    return application


def handlers_of(application: Application, state: Slice) -> Sequence[str]:
    """On whose lists an application of the slice's group is."""
    if application.kind is ApplicationKind.INVITE_NEEDS_INVITEE:
        return [application.user_id]
    return state.handlers or []


def _overflowing(
    rulebook: Rulebook, state: Slice, asked: Sequence[Application]
) -> list[Application]:
    """Those that leave the lists on which there is no room for ``asked``: the oldest, dropped."""
    most = rulebook.limit("PENDING_APPLICATIONS")
    if most is None:
        return []
    dropped: dict[str, Application] = {}
    coming: dict[str, set[str]] = {}
    for application in asked:
        for user_id in handlers_of(application, state):
            coming.setdefault(user_id, set()).add(application.application_id)
    for user_id, new_ids in coming.items():
        waiting = [
            application
            for application in state.pending.get(user_id, ())
            if application.application_id not in new_ids
        ]
        for application in waiting[: max(0, len(waiting) + len(new_ids) - most)]:
            dropped[application.application_id] = replace(
                application, status=ApplicationStatus.DROPPED
            )
    return list(dropped.values())


def _told_dropped(dropped: Application, state: Slice, now_ms: int) -> list[Entry]:
    """The one who asked, and everyone on whose list it was; nobody did it."""
    users = dict.fromkeys(_handlers_of_any(dropped, state))
    data = decided(dropped)
    told = [
        announcements.notice_to(
            user_id, Notice.APPLICATION_HANDLED, dropped.group_id, "", now_ms, data
        )
        for user_id in users
    ]
    asker, notice = dropped.user_id, Notice.JOIN_REJECTED
    if dropped.kind is not ApplicationKind.JOIN:
        asker, notice = dropped.inviter_id, Notice.INVITE_REJECTED
    return [
        *told,
        announcements.notice_to(asker, notice, dropped.group_id, "", now_ms, data),
    ]


def _handlers_of_any(application: Application, state: Slice) -> Sequence[str]:
    if application.kind is ApplicationKind.INVITE_NEEDS_INVITEE:
        return [application.user_id]
    return state.handlers_of.get(application.group_id, ())


def _asking(
    application: Application, user_id: str, group: Group, actor: Actor, now_ms: int
) -> Entry:
    needs_invitee = application.kind is ApplicationKind.INVITE_NEEDS_INVITEE
    notice = Notice.INVITE_REQUESTED if needs_invitee else Notice.JOIN_REQUESTED
    data = events.Application(
        application_id=application.application_id,
        kind=application.kind,
        user_id=application.user_id,
        inviter_id=application.inviter_id,
        message=application.message,
    )
    return announcements.notice_to(user_id, notice, group.group_id, actor.user_id, now_ms, data)


def decided(
    application: Application, group: events.GroupBasics | None = None
) -> events.ApplicationDecided:
    """What is told of a decision; ``group`` to a user who is a member by it."""
    return events.ApplicationDecided(
        application_id=application.application_id,
        status=application.status,
        user_id=application.user_id,
        handler_id=application.handler_id,
        message=application.handle_message,
        group=group,
    )
