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
from server.transport.endings import ENDINGS
from server.webhooks.questions import OUTCOMES
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import PATIENCE_S, Device, connect_device, text

Figures = Mapping[tuple[str, str], float]
"""(name, the labels' values in order) -> the number."""

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
            labels = METRICS[name].labels
            if sample.name.endswith("_bucket"):
                labels = (*labels, "le")
            assert set(sample.labels) == set(labels)
            key = sample.name, " ".join(sample.labels[label] for label in labels)
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
        n for n in METRICS if not {"webhook", "rest"} & set(n.split("_")) and "changes" not in n
    } | {f"muster_commit_changes_{part}" for part in ("bucket", "count", "sum")}
    assert set(of(found, "muster_closes_total")) == set(ENDINGS)
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


async def test_how_connections_end_is_counted(tmp_path: Path) -> None:
    limits = {"HELLO_MS": 300, "FRAME_BYTES": 2_000}
    with ServerProcess(tmp_path, limits=limits) as server:
        polite = await connect_device(server, "alice")
        lost = await connect_device(server, "bob")
        loud = await connect_device(server, "carol")
        late = await Device.open(server.ws)
        stranger = await asyncio.open_connection(*server.address())
        stranger[1].write(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        await stranger[0].read()
        stranger[1].close()
        await polite.close()
        await loud.send_bytes(b"x" * 3_000)
        lost.drop()
        wanted = {"PEER": 1, "LOST": 1, "TOO_LARGE": 1, "TOO_SLOW": 1, "PROTOCOL": 1}
        async with asyncio.timeout(PATIENCE_S):
            closes: Mapping[str, float] = {}
            while sum(closes.values()) < 5:
                closes = of(await figures(server), "muster_closes_total")
        assert {name: count for name, count in closes.items() if count} == wanted
        for device in (late, loud):
            await device.close()


async def test_calls_of_the_operator_are_counted(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        query = {
            "sdkappid": "1400000000",
            "identifier": "administrator",
            "usersig": server.token("administrator"),
            "random": "1",
            "contenttype": "json",
        }
        async with aiohttp.ClientSession() as http:
            for path, code in (
                ("group_open_http_svc/get_appid_group_list", 0),
                ("group_open_http_svc/destroy_group", 10010),
                ("group_open_http_svc/destroy_group", 10010),
                ("group_open_http_svc/" + "x" * 100, 10003),
                ("nowhere/at_all", 60009),
            ):
                url = f"{server.admin}/v4/{path}"
                body = {"GroupId": "nowhere"} if "destroy" in path else {}
                async with http.post(url, params=query, json=body) as response:
                    assert (await response.json())["ErrorCode"] == code
        found = await figures(server)
        known = "group_open_http_svc"
        assert of(found, "muster_rest_calls_total") == {
            f"{known}/get_appid_group_list 0": 1,
            f"{known}/destroy_group 10010": 2,
            "unknown 10003": 1,
            "unknown 60009": 1,
        }
        assert of(found, "muster_rest_call_ms_count") == {
            f"{known}/get_appid_group_list": 1,
            f"{known}/destroy_group": 2,
            "unknown": 2,
        }


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
        assert found["muster_webhook_oldest_ms", ""] > 0
        assert found["muster_webhook_lag_ms", ""] == 0
        assert of(found, "muster_webhook_questions_total") == dict.fromkeys(OUTCOMES, 0)
        assert found["muster_webhook_question_ms_count", ""] == 0
        await alice.close()
