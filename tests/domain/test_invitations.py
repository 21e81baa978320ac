"""Invitations: at once, or after somebody's consent (``groups.md`` sections 1, 4, 6)."""

import msgspec

from protocol.results import (
    ApplicationKind,
    MemberResultKind,
)
from protocol.vocabulary import (
    InviteJoinOption,
)
from server.domain.model import (
    GroupKey,
    MemberKey,
)
from tests.domain.building import (
    NOW_MS,
    ROOT,
    done,
    invite,
    rules,
    tea,
)
from tests.domain.outcomes import applications_in, group_in, results

ADDED, THERE = MemberResultKind.ADDED, MemberResultKind.ALREADY_MEMBER
PENDING, FAILED = MemberResultKind.PENDING, MemberResultKind.FAILED


def test_several_are_invited_in_one_version() -> None:
    decision = done(tea(), invite("zoe", "mia", "zoe", "yan"), "sam")
    assert results(decision) == [
        ("zoe", ADDED, None),
        ("mia", THERE, None),
        ("zoe", THERE, None),
        ("yan", ADDED, None),
    ]
    assert (group_in(decision).member_count, group_in(decision).version) == (6, 8)
    assert set(decision.puts) == {GroupKey("g"), MemberKey("g", "zoe"), MemberKey("g", "yan")}


def test_an_ordinary_members_invitation_waits_where_permission_is_needed() -> None:
    of = tea(invite_join_option=InviteJoinOption.NEED_PERMISSION)
    decision = done(of, invite("zoe", "mia", "zoe", "x" * 33), "sam")
    assert results(decision) == [
        ("zoe", PENDING, None),
        ("mia", THERE, None),
        ("zoe", PENDING, None),
        ("x" * 33, FAILED, "INVALID_USER_ID"),
    ]
    (waiting,) = applications_in(decision)
    assert (waiting.kind, waiting.user_id) == (ApplicationKind.INVITE_NEEDS_ADMIN, "zoe")
    assert (waiting.inviter_id, waiting.created_ms) == ("sam", NOW_MS)
    assert len(decision.puts) == 1
    for who in ("adam", "olga"):
        assert results(done(of, invite("zoe"), who)) == [("zoe", ADDED, None)]


def test_with_consent_the_invitee_is_asked_whoever_invites() -> None:
    consent = rules(consent=True)
    for who in ("mia", "adam", "olga"):
        decision = done(tea(), invite("zoe", "yan"), who, consent)
        assert [kind for _, kind, _ in results(decision)] == [PENDING, PENDING]
        kinds = {waiting.kind for waiting in applications_in(decision)}
        assert kinds == {ApplicationKind.INVITE_NEEDS_INVITEE}
    of = tea(invite_join_option=InviteJoinOption.NEED_PERMISSION)
    (waiting,) = applications_in(done(of, invite("zoe"), "mia", consent))
    assert waiting.kind is ApplicationKind.INVITE_NEEDS_ADMIN, "the admin first"


def test_the_operator_invites_whatever_the_option() -> None:
    for option in InviteJoinOption:
        decision = done(tea(invite_join_option=option), invite("zoe"), ROOT)
        assert results(decision) == [("zoe", ADDED, None)]


def test_an_invitation_that_is_made_again_replaces_the_one_before() -> None:
    of = tea(invite_join_option=InviteJoinOption.NEED_PERMISSION)
    (first,) = applications_in(done(of, invite("zoe"), "mia"))
    listed = msgspec.structs.replace(of, pending={"olga": [first], "adam": [first]})
    (again,) = applications_in(done(listed, invite("zoe"), "sam", now_ms=NOW_MS + 5))
    assert first.application_id == again.application_id
    assert (again.inviter_id, again.created_ms) == ("sam", NOW_MS + 5)


def test_a_hundred_invitees_wait_each_on_a_list_of_their_own() -> None:
    """50 is the limit of one user's list (section 6); here no list has more than one."""
    users = [f"u{number}" for number in range(100)]
    decision = done(tea(), invite(*users), "olga", rules(consent=True))
    assert {kind for _, kind, _ in results(decision)} == {PENDING}
    assert len(applications_in(decision)) == 100


def test_one_call_does_not_push_out_what_it_has_just_put_on_a_list() -> None:
    of = tea(invite_join_option=InviteJoinOption.NEED_PERMISSION)
    users = [f"u{number}" for number in range(51)]
    came = results(done(of, invite(*users), "mia"))
    assert [kind for _, kind, _ in came] == [PENDING] * 50 + [FAILED]
    assert came[-1][2] == "TOO_MANY_REQUESTS"


def test_a_user_who_is_named_twice_waits_once_and_takes_no_second_place() -> None:
    of = tea(invite_join_option=InviteJoinOption.NEED_PERMISSION)
    users = [f"u{number}" for number in range(50)]
    again = [*users, users[0]]
    assert {kind for _, kind, _ in results(done(of, invite(*again), "mia"))} == {PENDING}
