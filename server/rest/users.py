"""Commands about users: who is known, who is connected, sign out."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from protocol.identifiers import is_user_id
from server.domain.jobs import RecognizeUsers
from server.rest.codes import CallCode, CallRefused
from server.rest.registry import Call
from server.rest.shapes import Account, Answer, Body, Flag, Request


class UserName(Body, frozen=True, kw_only=True):
    """A user in a list."""

    user_id: Account = field(name="UserID")


class UserNamed(Request, frozen=True, kw_only=True):
    """A call about one user, by the newer or the older name of the field."""

    user_id: Account | None = field(default=None, name="UserID")
    identifier: Account | None = None


class ImportAccount(UserNamed, frozen=True, kw_only=True):
    """Make a user known; there are no profiles, so Nick and FaceUrl are not kept."""


async def account_import(call: Call, request: ImportAccount) -> Answer:
    """See ``ImportAccount``."""
    await call.operator.change(RecognizeUsers(user_ids=[_user(request)]), call.origin)
    return Answer()


class ImportAccounts(Request, frozen=True, kw_only=True):
    """Make users known."""

    account_list: Annotated[list[UserName], Meta(max_length=100)] = field(default_factory=list)
    accounts: Annotated[list[Account], Meta(max_length=100)] = field(default_factory=list)


class ImportedAccounts(Answer, frozen=True, kw_only=True):
    """FailAccounts are no user IDs."""

    fail_accounts: list[str]


async def multiaccount_import(call: Call, request: ImportAccounts) -> ImportedAccounts:
    """See ``ImportAccounts``."""
    given = [*(account.user_id for account in request.account_list), *request.accounts]
    users = [user_id for user_id in given if _is_user(call, user_id)]
    await call.operator.change(RecognizeUsers(user_ids=users), call.origin)
    return ImportedAccounts(fail_accounts=[one for one in given if one not in users])


class CheckAccounts(Request, frozen=True, kw_only=True):
    """Whether users are known; all are where nobody has to be."""

    check_item: Annotated[list[UserName], Meta(min_length=1, max_length=100)]


class CheckedAccount(Body, frozen=True, kw_only=True):
    """One user."""

    user_id: str = field(name="UserID")
    result_code: int = 0
    result_info: str = ""
    account_status: Literal["Imported", "NotImported"] | UnsetType = UNSET


class CheckedAccounts(Answer, frozen=True, kw_only=True):
    """In the order of the request."""

    result_item: list[CheckedAccount]


async def account_check(call: Call, request: CheckAccounts) -> CheckedAccounts:
    """See ``CheckAccounts``."""
    user_ids = [item.user_id for item in request.check_item]
    known = await call.operator.lists.known([name for name in user_ids if _is_user(call, name)])
    return CheckedAccounts(
        result_item=[
            CheckedAccount(
                user_id=user_id,
                account_status="Imported" if known[user_id] else "NotImported",
            )
            if user_id in known
            else _no_user(user_id)
            for user_id in user_ids
        ]
    )


class DeleteAccounts(Request, frozen=True, kw_only=True):
    """Forget users, revoke their tokens and end their connections; their memberships stay."""

    delete_item: Annotated[list[UserName], Meta(min_length=1, max_length=100)]


async def account_delete(call: Call, request: DeleteAccounts) -> CheckedAccounts:
    """See ``DeleteAccounts``."""
    given = [item.user_id for item in request.delete_item]
    users = [user_id for user_id in given if _is_user(call, user_id)]
    await call.operator.sign_out(users, call.origin, forgets=True)
    return CheckedAccounts(
        result_item=[
            CheckedAccount(user_id=one) if one in users else _no_user(one) for one in given
        ]
    )


class Kick(UserNamed, frozen=True, kw_only=True):
    """Revoke a user's tokens and end all connections; a newer token is good again.

    Newer is what was made in a later second, by the clock of who made it. A JWT that does not say
    when it was made is good no longer.
    """


async def kick(call: Call, request: Kick) -> Answer:
    """See ``Kick``."""
    await call.operator.sign_out([_user(request)], call.origin)
    return Answer()


class QueryStatus(Request, frozen=True, kw_only=True):
    """Who is connected."""

    to__account: Annotated[list[Account], Meta(min_length=1, max_length=500)]
    is_need_detail: Flag = 0


class DeviceStatus(Body, frozen=True, kw_only=True):
    """One connected device."""

    platform: str
    status: Literal["Online"] = "Online"


class UserStatus(Body, frozen=True, kw_only=True):
    """One user; there is no push, so nobody is PushOnline."""

    to__account: str
    status: Literal["Online", "Offline"]
    detail: list[DeviceStatus] | UnsetType = UNSET


class StatusError(Body, frozen=True, kw_only=True):
    """Who is no user."""

    to__account: str
    error_code: int


class Statuses(Answer, frozen=True, kw_only=True):
    """In the order of the request."""

    query_result: list[UserStatus]
    error_list: list[StatusError]


async def query_online_status(call: Call, request: QueryStatus) -> Statuses:
    """See ``QueryStatus``."""
    results: list[UserStatus] = []
    errors: list[StatusError] = []
    for user_id in request.to__account:
        if not _is_user(call, user_id):
            errors.append(StatusError(to__account=user_id, error_code=_NO_ACCOUNT))
            continue
        devices = call.operator.lists.presence.devices_of(user_id)
        results.append(
            UserStatus(
                to__account=user_id,
                status="Online" if devices else "Offline",
                detail=[DeviceStatus(platform=device.platform) for device in devices]
                if request.is_need_detail
                else UNSET,
            )
        )
    return Statuses(query_result=results, error_list=errors)


_NO_ACCOUNT = 70107


def _no_user(user_id: str) -> CheckedAccount:
    return CheckedAccount(
        user_id=user_id,
        result_code=_NO_ACCOUNT,
        result_info="a user ID is 1 to 32 bytes of printable ASCII",
    )


def _is_user(call: Call, user_id: str) -> bool:
    return is_user_id(user_id, max_bytes=call.operator.rulebook.limits["USER_ID_BYTES"])


def _user(request: UserNamed) -> str:
    user_id = request.user_id or request.identifier
    if not user_id:
        raise CallRefused.of(CallCode.INVALID_PARAMETERS, "UserID is missing - at `$.UserID`")
    return user_id
