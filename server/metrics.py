"""What Prometheus is told: figures that the parts of a node keep, read when somebody asks."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from server.hub.session import Mode
from server.node import Node
from server.service.tally import Tally

Figure = int | Mapping[str, int] | Tally | None
"""One number, one for each value of the label, sizes in steps, or what this node does not have."""


class Watched(msgspec.Struct, frozen=True):
    """What is looked at: a node, and how many lines of the log were dropped."""

    node: Node
    dropped_log_lines: Callable[[], int]


class Metric(msgspec.Struct, frozen=True):
    """One row. ``label`` is the name of its one label, whose values are fixed; "" for none."""

    kind: str
    meaning: str
    read: Callable[[Watched], Figure]
    label: str = ""


def _sessions(watched: Watched) -> Mapping[str, int]:
    counts = {_words(Mode.LIVE): 0, _words(Mode.CATCHING_UP): 0}
    for session in watched.node.hub.sessions():
        if session.mode is not Mode.GONE:
            counts[_words(session.mode)] += 1
    return counts


def _words(mode: Mode) -> str:
    return mode.value.replace(" ", "_")


def _refusals(watched: Watched) -> Mapping[str, int]:
    return {code.name: count for code, count in watched.node.dispatcher.refusals.items()}


def _webhook(name: str) -> Callable[[Watched], int | None]:
    def read(watched: Watched) -> int | None:
        webhooks = watched.node.webhooks
        return None if webhooks is None else int(getattr(webhooks.deliveries, name))

    return read


METRICS: Final[Mapping[str, Metric]] = {
    "muster_connections": Metric(
        "gauge",
        "connections to the WebSocket listener, with a hello or not",
        lambda watched: watched.node.listener.connection_count,
    ),
    "muster_connections_opened_total": Metric(
        "counter",
        "connections that were accepted",
        lambda watched: watched.node.listener.opened_count,
    ),
    "muster_sessions": Metric(
        "gauge",
        "devices that are told events as they are committed (live), or read them from the log",
        _sessions,
        "mode",
    ),
    "muster_commit_changes": Metric(
        "histogram",
        "changes in a commit; `_count` is the number of commits",
        lambda watched: watched.node.executor.commits,
    ),
    "muster_deliveries_total": Metric(
        "counter",
        "events told to live devices, each device counted",
        lambda watched: watched.node.hub.delivered,
    ),
    "muster_dropped_unstored_total": Metric(
        "counter",
        "events of no log that were not told to a device that was behind",
        lambda watched: watched.node.hub.dropped_unstored,
    ),
    "muster_requests_total": Metric(
        "counter",
        "requests of clients; `unknown` are those whose method is none",
        lambda watched: watched.node.dispatcher.requests,
        "method",
    ),
    "muster_refusals_total": Metric(
        "counter", "requests of clients that were answered with an error", _refusals, "code"
    ),
    "muster_log_position": Metric(
        "gauge",
        "the place in the log up to which everything is stored and told",
        lambda watched: watched.node.hub.position,
    ),
    "muster_webhook_waiting": Metric(
        "gauge", "what waits to be told to the webhook", _webhook("waiting")
    ),
    "muster_webhook_delivered_total": Metric(
        "counter", "what the webhook was told and has taken", _webhook("delivered")
    ),
    "muster_webhook_failed_total": Metric(
        "counter", "attempts to tell the webhook that failed", _webhook("failed")
    ),
    "muster_webhook_dead_total": Metric(
        "counter", "what was given up since the start", _webhook("buried")
    ),
    "muster_log_lines_dropped_total": Metric(
        "counter",
        "lines of the server's own log that nobody took in time",
        lambda watched: watched.dropped_log_lines(),
    ),
}
"""Every metric: name -> row. The README's table is printed from here."""


class Metrics(Collector):
    """Answers ``GET /metrics``: METRICS, and the process's own figures."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def add_to(self, app: web.Application) -> None:
        """Take the path."""
        app.router.add_get("/metrics", self._show)

    def describe(self) -> Iterable[Family]:
        """Nothing: the names are fixed, and asking for them must not count anything."""
        return ()

    def collect(self) -> Iterable[Family]:
        """The figures as they are now; those that this node does not have are left out."""
        for name, metric in METRICS.items():
            figure = metric.read(self._watched)
            if isinstance(figure, Tally):
                yield _histogram(name, metric.meaning, figure)
            elif figure is not None:
                yield _numbers(name, metric, figure)

    async def _show(self, _request: web.Request) -> web.Response:
        text = generate_latest(self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _numbers(name: str, metric: Metric, figure: int | Mapping[str, int]) -> Family:
    shape = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = shape(name, metric.meaning, labels=[metric.label] if metric.label else [])
    if isinstance(figure, int):
        family.add_metric([], figure)
    else:
        for value, count in figure.items():
            family.add_metric([value], count)
    return family


def _histogram(name: str, meaning: str, tally: Tally) -> Family:
    buckets: list[tuple[str, float]] = []
    so_far = 0
    for bound, count in zip([*map(str, tally.bounds), "+Inf"], tally.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    family = HistogramMetricFamily(name, meaning)
    family.add_metric([], buckets=buckets, sum_value=tally.total)
    return family
