"""Commands about users: who is known, who is connected, sign out."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from protocol.identifiers import is_user_id
from server.domain.jobs import ForgetUser, RecognizeUser
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
    user_id = _user(request)
    await call.operator.change(RecognizeUser(), call.origin, as_user_id=user_id)
    return Answer()


class ImportAccounts(Request, frozen=True, kw_only=True):
    """Make users known."""

    account_list: Annotated[list[UserName], Meta(max_length=100)] = field(default_factory=list)
    accounts: Annotated[list[Account], Meta(max_length=100)] = field(default_factory=list)


class ImportedAccounts(Answer, frozen=True, kw_only=True):
    """FailAccounts are no user IDs."""

    fail_accounts: list[str]


async def multiaccount_import(call: Call, request: ImportAccounts) -> Answer:
    """See ``ImportAccounts``."""
    failed: list[str] = []
    for user_id in [*(account.user_id for account in request.account_list), *request.accounts]:
        if not _is_user(call, user_id):
            failed.append(user_id)
            continue
        await call.operator.change(RecognizeUser(), call.origin, as_user_id=user_id)
    return ImportedAccounts(fail_accounts=failed)


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


async def account_check(call: Call, request: CheckAccounts) -> Answer:
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
    """Forget users and end their connections; their memberships stay."""

    delete_item: Annotated[list[UserName], Meta(min_length=1, max_length=100)]


async def account_delete(call: Call, request: DeleteAccounts) -> Answer:
    """See ``DeleteAccounts``."""
    results: list[CheckedAccount] = []
    for item in request.delete_item:
        if not _is_user(call, item.user_id):
            results.append(_no_user(item.user_id))
            continue
        await call.operator.change(ForgetUser(), call.origin, as_user_id=item.user_id)
        call.operator.sessions.sign_out(item.user_id)
        results.append(CheckedAccount(user_id=item.user_id))
    return CheckedAccounts(result_item=results)


class Kick(UserNamed, frozen=True, kw_only=True):
    """End all connections of a user, who may come back with a valid signature."""


async def kick(call: Call, request: Kick) -> Answer:
    """See ``Kick``."""
    call.operator.sessions.sign_out(_user(request))
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


async def query_online_status(call: Call, request: QueryStatus) -> Answer:
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
