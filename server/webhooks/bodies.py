"""The body of what is told: as it was written, with what only the commit knew."""

from typing import Any

import msgspec

from protocol.callbacks import NAME_OF, AfterGroupDestroyed, AfterSendMsg
from server.service.outbox import Outgoing
from server.webhooks.receiver import Call


def call_of(outgoing: Outgoing, attempt: int) -> Call:
    """The request that tells it for the ``attempt``-th time."""
    item = outgoing.item
    return Call(
        name=item.name,
        body=_body(outgoing),
        platform=item.platform,
        address=item.address,
        delivery_id=item.delivery_id,
        attempt=attempt,
    )


def _body(outgoing: Outgoing) -> bytes:
    added: dict[str, Any] = {}
    if outgoing.item.name == NAME_OF[AfterSendMsg]:
        added["MsgSeq"] = outgoing.seq or 0
    if outgoing.item.name == NAME_OF[AfterGroupDestroyed] and outgoing.member_ids is not None:
        added["MemberList"] = [{"Member_Account": user_id} for user_id in outgoing.member_ids]
    if not added:
        return outgoing.item.body
    body: dict[str, Any] = msgspec.json.decode(outgoing.item.body)
    return msgspec.json.encode(body | added)
