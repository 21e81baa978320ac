"""What waits for whom. A part of ``contract``."""

from protocol.results import ApplicationKind, ApplicationStatus
from protocol.vocabulary import Role
from server.domain.model import (
    ApplicationsSeen,
    ApplicationsSeenKey,
)
from server.service.ports import (
    Store,
)
from tests.storage.builders import (
    application,
    apply,
    disband,
    done,
    staffed,
    write_set,
)

NEEDS_INVITEE = ApplicationKind.INVITE_NEEDS_INVITEE


class ApplicationContract:
    """What waits for whom."""

    async def test_handlers_are_owner_and_admins(self, store: Store) -> None:
        await done(store, staffed("g", ann=Role.OWNER, cat=Role.MEMBER, bob=Role.ADMIN))
        await done(store, staffed("h", dan=Role.ADMIN), disband("h"))
        assert await store.handlers(["g", "h", "x"]) == {"g": ["ann", "bob"], "h": [], "x": []}

    async def test_an_application_waits_for_those_who_may_handle_it(self, store: Store) -> None:
        await done(
            store,
            staffed("g", ann=Role.OWNER, bob=Role.ADMIN, cat=Role.MEMBER),
            staffed("h", ann=Role.ADMIN),
            *apply(application("1", created_ms=30)),
            *apply(application("2", "h", created_ms=10)),
            *apply(application("3", kind=ApplicationKind.INVITE_NEEDS_ADMIN, created_ms=20)),
            *apply(
                application("4", kind=NEEDS_INVITEE, user_id="cat", created_ms=40),
                application("5", "h", status=ApplicationStatus.APPROVED, created_ms=50),
            ),
        )

        async def waiting(limit: int) -> dict[str, list[str]]:
            pending = await store.pending(["ann", "bob", "cat", "dan"], limit)
            return {
                user_id: [one.application_id for one in found] for user_id, found in pending.items()
            }

        assert await waiting(9) == {
            "ann": ["2", "3", "1"],
            "bob": ["3", "1"],
            "cat": ["4"],
            "dan": [],
        }
        assert await waiting(1) == {"ann": ["2"], "bob": ["3"], "cat": ["4"], "dan": []}
        assert await store.unread_applications("ann") == 3
        seen_by_ann = ApplicationsSeen(user_id="ann", up_to_ms=20)
        await done(store, write_set(puts={ApplicationsSeenKey("ann"): seen_by_ann}))
        assert await store.unread_applications("ann") == 1
        assert await store.unread_applications("bob") == 2
        await done(store, disband("g"))
        assert await waiting(9) == {"ann": ["2"], "bob": [], "cat": [], "dan": []}

    async def test_the_list_of_applications_is_paged_newest_first(self, store: Store) -> None:
        statuses = [*ApplicationStatus, *ApplicationStatus]
        await done(
            store, staffed("g", ann=Role.OWNER, bob=Role.MEMBER), staffed("h", ann=Role.OWNER)
        )
        for n, status in enumerate(statuses):
            one = application(f"a{n}", "gh"[n % 2], created_ms=n // 3, status=status)
            await done(store, *apply(one))
        await done(store, *apply(application("b", kind=NEEDS_INVITEE, user_id="ann", created_ms=1)))
        await done(store, *apply(application("c", kind=NEEDS_INVITEE, user_id="bob", created_ms=1)))

        async def page(before: tuple[int, str] | None, limit: int) -> list[str]:
            found = await store.applications_for("ann", before, limit)
            return [one.application_id for one in found]

        everything = await page(None, 9)
        assert everything == ["a6", "b", "a5", "a4", "a2", "a1", "a0"]
        assert await page(None, 2) == ["a6", "b"]
        assert await page((1, "b"), 2) == ["a5", "a4"]
        assert await page((0, "a0"), 2) == []
        assert [one.application_id for one in await store.applications_for("bob", None, 9)] == ["c"]
