"""Approval re-checks the rules at that moment, one application after the other (section 6)."""

import msgspec
import pytest

from protocol import commands
from protocol.errors import ErrorCode
from protocol.results import (
    ApplicationKind,
    ApplicationStatus,
)
from protocol.vocabulary import ApplyJoinOption, GroupType, InviteJoinOption, Role
from server.domain.model import (
    GroupKey,
    MemberKey,
    Remembered,
    RememberedKey,
    Slice,
)
from tests.domain.building import (
    NOW_MS,
    ROOT,
    SAM,
    application,
    asking,
    cases,
    done,
    handled,
    member,
    refused,
    rules,
)
from tests.domain.outcomes import (
    applications_in,
    became,
    group_in,
    member_in,
    nothing_changed,
    reason,
)

FOR_ADMIN = ApplicationKind.INVITE_NEEDS_ADMIN
FOR_INVITEE = ApplicationKind.INVITE_NEEDS_INVITEE
KINDS = tuple(ApplicationKind)


@pytest.mark.parametrize("kind", KINDS)
def test_approval_looks_at_the_rules_anew(kind: ApplicationKind) -> None:
    waiting = application(kind=kind)
    who = "zoe" if kind is FOR_INVITEE else "olga"
    zoe = {"zoe": member("zoe")}
    there = msgspec.structs.replace(asking(), members={**asking().members, **zoe})
    busy = asking(seen={"group_counts": {"zoe": 5000}})
    for of, name in (
        (msgspec.structs.replace(asking(), group=None), "GROUP_NOT_FOUND"),
        (asking(closed_ms=5), "GROUP_NOT_FOUND"),
        (asking(member_count=200), "GROUP_FULL"),
        (there, "ALREADY_MEMBER"),
        (busy, "TOO_MANY_GROUPS"),
    ):
        decision = handled(cases((waiting, of)), who)
        assert became(decision) == [name]
        assert nothing_changed(decision), "it waits on"


def test_an_option_that_has_changed_is_looked_at_when_a_join_is_approved() -> None:
    closed = asking(apply_join_option=ApplyJoinOption.DISABLE_APPLY)
    decision = handled(cases((application(), closed)))
    assert became(decision) == ["NO_PERMISSION"]
    assert reason(decision)["rule"] == "apply_join_option"
    assert became(handled(cases((application(), closed)), accept=False)) == ["rejected"]
    free = asking(apply_join_option=ApplyJoinOption.FREE_ACCESS)
    assert became(handled(cases((application(), free)))) == ["approved"]


@pytest.mark.parametrize(("kind", "who"), [(FOR_ADMIN, "olga"), (FOR_INVITEE, "zoe")])
def test_an_option_that_has_changed_is_looked_at_when_an_invitation_is_approved(
    kind: ApplicationKind, who: str
) -> None:
    """DisableInvite: nobody's invitation but the operator's brings anybody in any more."""
    closed = asking(invite_join_option=InviteJoinOption.DISABLE_INVITE)
    decision = handled(cases((application(kind=kind), closed)), who)
    assert became(decision) == ["NO_PERMISSION"]


def test_a_member_who_comes_by_application_keeps_the_mute_of_before() -> None:
    remembered = Remembered(group_id="g", user_id="zoe", mute_until_ms=NOW_MS + 9)
    of = asking(seen={"remembered": {"zoe": remembered}})
    decision = handled(cases((application(), of)))
    assert member_in(decision, "zoe").mute_until_ms == NOW_MS + 9
    assert decision.puts[RememberedKey("g", "zoe")] is None


def test_with_consent_the_invitee_is_asked_after_the_admin() -> None:
    decision = handled(cases((application(kind=FOR_ADMIN), asking())), rulebook=rules(consent=True))
    assert became(decision) == ["approved"]
    by_admin, asked = applications_in(decision)
    assert (by_admin.status, by_admin.handler_id) == (ApplicationStatus.APPROVED, "olga")
    assert (asked.kind, asked.status) == (FOR_INVITEE, ApplicationStatus.PENDING)
    assert (asked.user_id, asked.inviter_id, asked.created_ms) == ("zoe", "mia", NOW_MS)
    assert GroupKey("g") not in decision.puts, "not a member yet"


@pytest.mark.parametrize("wrong", ["there", "full"])
def test_with_consent_too_an_admins_approval_looks_at_the_rules_anew(wrong: str) -> None:
    of = asking(member_count=200) if wrong == "full" else asking()
    members = {**of.members, "zoe": member("zoe")} if wrong == "there" else of.members
    of = msgspec.structs.replace(of, members=members)
    waiting = application(kind=FOR_ADMIN)
    decision = handled(cases((waiting, of)), rulebook=rules(consent=True))
    assert became(decision) == ["GROUP_FULL" if wrong == "full" else "ALREADY_MEMBER"]


def test_several_are_handled_in_one_call_one_after_the_other() -> None:
    of = asking(member_count=4, max_member_count=6)
    zoe, yan, xia = application("zoe"), application("yan"), application("xia")
    invited = application("zoe", kind=FOR_ADMIN)
    command = commands.HandleApplications(
        application_ids=[
            *(one.application_id for one in (zoe, zoe, invited, yan, xia)),
            "unknown",
        ],
        accept=True,
    )
    decision = done(cases((zoe, of), (yan, of), (xia, of), (invited, of)), command, "olga")
    assert became(decision) == [
        "approved",
        "ALREADY_HANDLED",
        "ALREADY_MEMBER",
        "approved",
        "GROUP_FULL",
        "BAD_REQUEST",
    ]
    assert (group_in(decision).member_count, group_in(decision).version) == (6, 9)
    assert {key.user_id for key in decision.puts if isinstance(key, MemberKey)} == {"zoe", "yan"}


def elsewhere(of: Slice, group_id: str) -> Slice:
    """The same in another group."""
    assert of.group is not None
    return msgspec.structs.replace(of, group=msgspec.structs.replace(of.group, group_id=group_id))


def test_several_approvals_of_one_user_count_for_the_limit_of_groups() -> None:
    of = asking(seen={"group_counts": {"zoe": 4999}})
    first = application()
    second = application(application_id="2", group_id="h")
    decision = handled(cases((first, of), (second, elsewhere(of, "h"))))
    assert became(decision) == ["approved", "TOO_MANY_GROUPS"]


def test_several_approvals_of_one_user_count_for_the_limit_of_the_list() -> None:
    """The second invitation pushes out the first: no list has more than its limit."""
    of = asking()
    waiting = application(kind=FOR_ADMIN)
    other = application(kind=FOR_ADMIN, application_id="2", group_id="h")
    rulebook = rules(consent=True, limits={"PENDING_APPLICATIONS": 1})
    decision = handled(cases((waiting, of), (other, elsewhere(of, "h"))), rulebook=rulebook)
    rows = [one for one in applications_in(decision) if one.kind is FOR_INVITEE]
    assert [one.status for one in rows] == ["dropped", "pending"]


def test_a_list_is_measured_without_what_was_handled_before_in_the_same_call() -> None:
    """Zoe's list has room for one, and holds only invitations that wait for zoe."""
    listed = application("zoe", kind=FOR_INVITEE, application_id="old", group_id="h")
    of = asking(seen={"pending": {"zoe": [listed]}})
    joins = application("zoe", group_id="h")
    waiting = application(kind=FOR_ADMIN)
    rulebook = rules(consent=True, limits={"PENDING_APPLICATIONS": 2})
    decision = handled(cases((joins, elsewhere(of, "h")), (waiting, of)), ROOT, rulebook=rulebook)
    rows = [one for one in applications_in(decision) if one.kind is FOR_INVITEE]
    assert [one.status for one in rows] == ["pending"]
    done_first = handled(
        cases((listed, elsewhere(of, "h")), (waiting, of)),
        ROOT,
        rulebook=rules(consent=True, limits={"PENDING_APPLICATIONS": 1}),
    )
    rows = [one for one in applications_in(done_first) if one.kind is FOR_INVITEE]
    assert [one.status for one in rows] == ["approved", "pending"]


def test_each_invitation_that_waits_for_its_invitee_has_an_id_of_its_own() -> None:
    """Of whatever group, in one call or in two: none takes the place of one that was handled."""
    of = asking()
    here = application(kind=FOR_ADMIN)
    there = application(kind=FOR_ADMIN, application_id="2", group_id="h")
    of_here, of_there = cases((here, of)), cases((there, elsewhere(of, "h")))
    both = msgspec.structs.replace(of_here, cases={**of_here.cases, **of_there.cases})
    consent = rules(consent=True)

    def asked(shown: Slice, token: str) -> list[str]:
        decision = handled(msgspec.structs.replace(shown, fresh_token=token), rulebook=consent)
        return [one.application_id for one in applications_in(decision) if one.kind is FOR_INVITEE]

    assert len(set(asked(both, "a"))) == 2
    assert asked(of_here, "a") != asked(of_there, "b")
    assert asked(of_here, "a") != asked(of_here, "b"), "the first may be handled by then"


def test_one_to_fifty_are_handled_at_once() -> None:
    for count in (0, 51):
        names = [str(number) for number in range(count)]
        command = commands.HandleApplications(application_ids=names, accept=True)
        assert refused(cases(), command, "olga").code is ErrorCode.BAD_REQUEST
    fifty = [application(f"u{number}") for number in range(50)]
    decision = handled(cases(*((one, asking()) for one in fifty)))
    assert set(became(decision)) == {"approved"}
    assert (group_in(decision).member_count, group_in(decision).version) == (54, 57)


def test_what_an_admin_may_a_member_who_was_one_may_no_more() -> None:
    of = asking()
    dismissed = {**of.members, "adam": member("adam", Role.MEMBER), "sam": SAM}
    decision = handled(
        cases((application(), msgspec.structs.replace(of, members=dismissed))), "adam"
    )
    assert became(decision) == ["NO_PERMISSION"]
    assert of.group is not None
    assert of.group.type is GroupType.PUBLIC
