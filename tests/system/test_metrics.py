"""What /metrics says after known traffic, as the public parser reads it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from protocol.errors import ErrorCode
from protocol.methods import METHODS
from server.metrics import METRICS
from server.service.executor import COMMIT_STEPS
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import Device, connect_device, text

Figures = Mapping[tuple[str, str], float]
"""(name, the label's value or "") -> the number."""

NOBODY = "http://127.0.0.1:9/"


async def figures(server: ServerProcess) -> Figures:
    """Every sample; each name has one row in METRICS, of the same kind."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.admin}/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        page = await response.text()
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(page):
        if family.name.startswith("process_"):
            continue
        name = family.name + ("_total" if family.type == "counter" else "")
        assert METRICS[name].kind == family.type
        assert family.documentation == METRICS[name].meaning
        for sample in family.samples:
            label = "le" if sample.name.endswith("_bucket") else METRICS[name].label
            assert set(sample.labels) == ({label} if label else set())
            key = sample.name, sample.labels.get(label, "")
            assert key not in found
            found[key] = sample.value
    return found


def of(found: Figures, name: str) -> Mapping[str, float]:
    """The numbers of a metric by the values of its label."""
    return {value: number for (key, value), number in found.items() if key == name}


async def test_a_new_server_counts_nothing_and_has_every_label(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        found = await figures(server)
    names = {name for name, _ in found}
    assert names == {
        n for n in METRICS if "webhook" not in n and METRICS[n].kind != "histogram"
    } | {f"muster_commit_changes_{part}" for part in ("bucket", "count", "sum")}
    assert set(of(found, "muster_requests_total")) == {*METHODS, "unknown"}
    assert set(of(found, "muster_refusals_total")) == {code.name for code in ErrorCode}
    assert set(of(found, "muster_sessions")) == {"live", "catching_up"}
    assert not any(found.values())


async def test_known_traffic_is_counted(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        alice = await connect_device(server, "alice")
        bob = await connect_device(server, "bob")
        group = (await alice.call("create_group", type="Work", name="x"))["group"]["group_id"]
        await alice.call("invite_members", group_id=group, user_ids=["bob"])
        await bob.call("list_methods")  # answered when he has caught up
        before = await figures(server)
        for number in range(10):
            await alice.call("send_message", group_id=group, body=text(f"{number}"))
        await bob.refusal("disband_group", group_id=group)
        await bob.refusal("no_such_method")
        await bob.refusal("send_message", group_id=group, nonsense=1)
        silent = await Device.open(server.ws)
        after = await figures(server)

        def grown(name: str) -> Mapping[str, float]:
            old = of(before, name)
            return {v: n - old[v] for v, n in of(after, name).items() if n != old[v]}

        assert of(after, "muster_connections") == {"": 3}
        assert of(after, "muster_connections_opened_total") == {"": 3}
        assert of(after, "muster_sessions") == {"live": 2, "catching_up": 0}
        assert grown("muster_requests_total") == {
            "send_message": 11,
            "disband_group": 1,
            "unknown": 1,
        }
        assert grown("muster_refusals_total") == {
            "NO_PERMISSION": 1,
            "UNKNOWN_METHOD": 1,
            "BAD_REQUEST": 1,
        }
        assert grown("muster_deliveries_total") == {"": 20}, "ten messages, two devices"
        assert grown("muster_log_position") == {"": 10}
        # Each was sent when the one before it was answered, so each is a commit of its own.
        assert grown("muster_commit_changes_count") == {"": 10}
        assert grown("muster_commit_changes_sum") == {"": 10}
        buckets = grown("muster_commit_changes_bucket")
        assert set(buckets.values()) == {10}
        assert set(buckets) == {*map(str, COMMIT_STEPS), "+Inf"}
        for device in (alice, bob, silent):
            await device.close()
        assert server.trouble() == []


async def test_what_the_webhook_is_behind_is_shown(tmp_path: Path) -> None:
    env = {
        "MUSTER_WEBHOOK_URL": NOBODY,
        "MUSTER_WEBHOOK_CALLBACKS": "Group.CallbackAfterSendMsg",
    }
    with ServerProcess(tmp_path, env=env) as server:
        alice = await connect_device(server, "alice")
        group = (await alice.call("create_group", type="Public", name="x"))["group"]["group_id"]
        for number in range(3):
            await alice.call("send_message", group_id=group, body=text(f"{number}"))

        async with asyncio.timeout(20):
            found = await figures(server)
            while not found["muster_webhook_failed_total", ""] or (
                found["muster_webhook_waiting", ""] < 3  # the outbox is read a moment later
            ):
                found = await figures(server)
        assert found["muster_webhook_waiting", ""] == 3
        assert found["muster_webhook_delivered_total", ""] == 0
        assert found["muster_webhook_dead_total", ""] == 0
        await alice.close()
