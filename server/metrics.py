"""What Prometheus is told: figures that the parts of a node keep, read when somebody asks."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from server.hub.session import Mode
from server.node import Node
from server.rest.app import RestApi
from server.service.tally import Tally
from server.webhooks.webhooks import Webhooks

Figure = int | Tally | Mapping[Any, int] | Mapping[Any, Tally] | None
"""One number or sizes in steps, one of them for the labels' values, or what this node has not."""


class Watched(msgspec.Struct, frozen=True):
    """What is looked at: a node, its REST API, and how many lines of the log were dropped."""

    node: Node
    rest: RestApi
    dropped_log_lines: Callable[[], int]


class Metric(msgspec.Struct, frozen=True):
    """One row. ``labels`` are the names of its labels, whose values are few."""

    kind: str
    meaning: str
    read: Callable[[Watched], Figure]
    labels: tuple[str, ...] = ()


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


def _webhook(read: Callable[[Webhooks], Figure]) -> Callable[[Watched], Figure]:
    """Like ``read`` where there is a webhook, and nothing where there is none."""

    def read_it(watched: Watched) -> Figure:
        return None if watched.node.webhooks is None else read(watched.node.webhooks)

    return read_it


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
    "muster_closes_total": Metric(
        "counter",
        "connections that ended, by the name of the server's close code, or PEER (it closed), LOST "
        "(without a word), PROTOCOL (no WebSocket)",
        lambda watched: watched.node.listener.closes,
        ("code",),
    ),
    "muster_sessions": Metric(
        "gauge",
        "devices that are told events as they are committed (live), or read them from the log",
        _sessions,
        ("mode",),
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
        ("method",),
    ),
    "muster_refusals_total": Metric(
        "counter", "requests of clients that were answered with an error", _refusals, ("code",)
    ),
    "muster_rest_calls_total": Metric(
        "counter",
        "calls of the admin REST API, by `service/command` and ErrorCode; `unknown` are those whose "
        "command is none, VETOED all codes of the webhook's own",
        lambda watched: watched.rest.calls.by_code,
        ("command", "code"),
    ),
    "muster_rest_call_ms": Metric(
        "histogram",
        "how long calls of the admin REST API took, from the head to the answer",
        lambda watched: watched.rest.calls.took_ms,
        ("command",),
    ),
    "muster_log_position": Metric(
        "gauge",
        "the place in the log up to which everything is stored and told",
        lambda watched: watched.node.hub.position,
    ),
    "muster_webhook_waiting": Metric(
        "gauge",
        "what waits to be told to the webhook",
        _webhook(lambda webhooks: webhooks.deliveries.waiting),
    ),
    "muster_webhook_oldest_ms": Metric(
        "gauge",
        "how long ago the oldest change was made of which the webhook is still to be told",
        _webhook(lambda webhooks: webhooks.deliveries.oldest_age_ms),
    ),
    "muster_webhook_lag_ms": Metric(
        "gauge",
        "how old the last change was of which the webhook was told, when it was",
        _webhook(lambda webhooks: webhooks.deliveries.lag_ms),
    ),
    "muster_webhook_delivered_total": Metric(
        "counter",
        "what the webhook was told and has taken",
        _webhook(lambda webhooks: webhooks.deliveries.delivered),
    ),
    "muster_webhook_failed_total": Metric(
        "counter",
        "attempts to tell the webhook that failed",
        _webhook(lambda webhooks: webhooks.deliveries.failed),
    ),
    "muster_webhook_dead_total": Metric(
        "counter",
        "what was given up since the start",
        _webhook(lambda webhooks: webhooks.deliveries.buried),
    ),
    "muster_webhook_questions_total": Metric(
        "counter",
        "changes that the webhook was to be asked about, by what came of it: `failed` without a "
        "usable answer, `crowded` without a free connection in time, `not asked` while it fails "
        "again and again",
        _webhook(lambda webhooks: webhooks.questions.outcomes),
        ("outcome",),
    ),
    "muster_webhook_question_ms": Metric(
        "histogram",
        "how long the webhook took for its answer before a change, or until it was given up",
        _webhook(lambda webhooks: webhooks.questions.durations),
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
            if figure is not None:
                yield _family(name, metric, figure)

    async def _show(self, _request: web.Request) -> web.Response:
        text = generate_latest(self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _family(name: str, metric: Metric, figure: Figure) -> Family:
    """The figure of a metric, for each of the labels' values that there are."""
    shape: Any = _SHAPES[metric.kind](name, metric.meaning, labels=list(metric.labels))
    rows = figure.items() if isinstance(figure, Mapping) else [((), figure)]
    for values, one in rows:
        labels = [values] if isinstance(values, str) else list(values)
        if isinstance(one, Tally):
            shape.add_metric(labels, buckets=_buckets(one), sum_value=one.total)
        else:
            shape.add_metric(labels, one)
    family: Family = shape
    return family


_SHAPES: Final[Mapping[str, Callable[..., Any]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _buckets(tally: Tally) -> list[tuple[str, float]]:
    """How many there are up to each bound."""
    buckets: list[tuple[str, float]] = []
    so_far = 0
    for bound, count in zip([*map(str, tally.bounds), "+Inf"], tally.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return buckets
