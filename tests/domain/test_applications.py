"""The pending list: who waits, who handles it, what is looked at again (section 6)."""

import msgspec
import pytest

from protocol import commands
from protocol.results import (
    ApplicationKind,
    ApplicationStatus,
    Nothing,
)
from server.domain.model import (
    Application,
    ApplicationKey,
    ApplicationsSeen,
    ApplicationsSeenKey,
    Decision,
    Slice,
)
from tests.domain.building import (
    LONG_AGO_MS,
    NOW_MS,
    ROOT,
    application,
    asking,
    cases,
    done,
    handled,
    invite,
    rules,
)
from tests.domain.outcomes import (
    applications_in,
    became,
    group_in,
    member_in,
    nothing_changed,
    reason,
    told,
)

JOIN = commands.JoinGroup(group_id="g", message="please")
FOR_ADMIN = ApplicationKind.INVITE_NEEDS_ADMIN
FOR_INVITEE = ApplicationKind.INVITE_NEEDS_INVITEE
KINDS = tuple(ApplicationKind)


def test_an_application_waits_with_its_message() -> None:
    (waiting,) = applications_in(done(asking(), JOIN, "zoe"))
    assert waiting == Application(
        application_id=waiting.application_id,
        kind=ApplicationKind.JOIN,
        group_id="g",
        user_id="zoe",
        inviter_id="",
        message="please",
        created_ms=NOW_MS,
    )


def test_a_new_application_replaces_the_one_that_waits() -> None:
    (first,) = applications_in(done(asking(), JOIN, "zoe"))
    full = [application(f"u{number}") for number in range(49)]
    of = asking(seen={"pending": {"olga": [first, *full], "adam": [first, *full]}})
    again = done(of, commands.JoinGroup(group_id="g", message="!"), "zoe", now_ms=NOW_MS + 5)
    (second,) = applications_in(again)
    assert second.application_id == first.application_id
    assert (second.message, second.created_ms) == ("!", NOW_MS + 5)


def test_a_user_waits_once_in_each_way() -> None:
    token_b, token_c = ({"fresh_token": token} for token in "bc")
    by_others = (
        done(asking(), JOIN, "zoe"),
        done(asking(seen=token_b), JOIN, "yan"),
        done(asking(seen=token_c), invite("zoe"), "mia"),
    )
    assert len({one.application_id for each in by_others for one in applications_in(each)}) == 3


def test_an_application_that_was_handled_is_kept_beside_a_new_one() -> None:
    """ "Kept 7 days after handling": a later application must not take its place."""
    (first,) = applications_in(done(asking(), JOIN, "zoe"))
    rejected = handled(cases((first, asking())), accept=False)
    assert [one.status for one in applications_in(rejected)] == [ApplicationStatus.REJECTED]
    later = asking(seen={"fresh_token": "later"})
    (second,) = applications_in(done(later, JOIN, "zoe", now_ms=NOW_MS + 5))
    assert second.application_id != first.application_id


def test_the_51st_drops_the_oldest() -> None:
    waiting = [application(f"u{n}", created_ms=LONG_AGO_MS + n) for n in range(50)]
    short = waiting[:49]
    room = asking(seen={"pending": {"olga": short, "adam": short}})
    assert [one.user_id for one in applications_in(done(room, JOIN, "zoe"))] == ["zoe"]
    of = asking(seen={"pending": {"olga": waiting, "adam": short}})
    dropped, new = applications_in(done(of, JOIN, "zoe"))
    assert dropped == msgspec.structs.replace(waiting[0], status=ApplicationStatus.DROPPED)
    assert (new.user_id, new.status) == ("zoe", ApplicationStatus.PENDING)
    three = rules(limits={"PENDING_APPLICATIONS": 3})
    assert len(applications_in(done(of, JOIN, "zoe", three))) == 49
    unlimited = rules(limits={"PENDING_APPLICATIONS": 0})
    assert [one.user_id for one in applications_in(done(of, JOIN, "zoe", unlimited))] == ["zoe"]


def test_an_invitees_own_list_drops_its_oldest_too() -> None:
    waiting = [
        application("zoe", kind=FOR_INVITEE, application_id=str(n), group_id=f"g{n}")
        for n in range(50)
    ]
    of = asking(seen={"pending": {"zoe": waiting}})
    decision = done(of, invite("zoe", "yan"), "olga", rules(consent=True))
    assert [one.status for one in applications_in(decision)] == ["dropped", "pending", "pending"]
    assert told(decision)[0] == "zoe: notice application_handled 22"


def test_who_approves_lets_in() -> None:
    decision = handled(cases((application(), asking())), "adam")
    assert became(decision) == ["approved"]
    assert decision.puts[ApplicationKey("join-zoe")] == application(
        status=ApplicationStatus.APPROVED,
        handler_id="adam",
        handled_ms=NOW_MS,
        handle_message="well",
    )
    assert member_in(decision, "zoe").join_time_ms == NOW_MS
    assert (group_in(decision).member_count, group_in(decision).version) == (5, 8)
    assert len(decision.puts) == 3


def test_who_rejects_changes_only_the_application() -> None:
    decision = handled(cases((application(), asking())), "adam", accept=False)
    assert became(decision) == ["rejected"]
    (row,) = applications_in(decision)
    assert (row.status, row.handler_id) == (ApplicationStatus.REJECTED, "adam")
    assert len(decision.puts) == 1


def test_the_first_handler_wins_and_a_later_one_is_told_who_and_how() -> None:
    for status in (ApplicationStatus.APPROVED, ApplicationStatus.REJECTED):
        gone = application(status=status, handler_id="adam", handled_ms=5)
        for accept in (True, False):
            decision = handled(cases((gone, asking())), accept=accept)
            assert became(decision) == ["ALREADY_HANDLED"]
            assert reason(decision) == {"handler_id": "adam", "status": status, "handled_ms": 5}
            assert nothing_changed(decision)
    dropped = application(status=ApplicationStatus.DROPPED)
    assert became(handled(cases((dropped, asking())))) == ["ALREADY_HANDLED"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_those_on_whose_list_it_is_handle_it(kind: ApplicationKind) -> None:
    of = cases((application(kind=kind), asking()))
    handlers = {"zoe"} if kind is FOR_INVITEE else {"olga", "adam"}
    for who in ("olga", "adam", "mia", "zoe", "yan"):
        for accept in (True, False):
            decision = handled(of, who, accept=accept)
            if who in handlers:
                assert became(decision) == ["approved" if accept else "rejected"]
            else:
                assert became(decision) == ["NO_PERMISSION"]
                assert set(reason(decision)) == {"rule", "have", "need"}
                assert nothing_changed(decision)
    assert became(handled(of, ROOT)) == ["approved"]


def test_a_list_is_read_up_to_a_point_that_never_goes_back() -> None:
    def read(up_to_ms: int, before_ms: int | None) -> Decision:
        seen = None
        if before_ms is not None:
            seen = ApplicationsSeen(user_id="olga", up_to_ms=before_ms)
        of = Slice(group=None, seen=seen)
        return done(of, commands.ReadApplications(up_to_ms=up_to_ms), "olga")

    row = ApplicationsSeen(user_id="olga", up_to_ms=7)
    assert dict(read(7, None).puts) == dict(read(7, 6).puts) == {ApplicationsSeenKey("olga"): row}
    for before_ms in (7, 8):
        assert read(7, before_ms) == Decision(result=Nothing())
    (now,) = read(2**53 - 1, None).puts.values()
    assert now == ApplicationsSeen(user_id="olga", up_to_ms=NOW_MS), "what is to come is unread"
