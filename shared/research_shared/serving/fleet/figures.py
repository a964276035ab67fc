"""The metrics of all workers on one page: each sample with the number of its worker."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric

METRICS_PATH: Final = "/metrics"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _Collected:
    def __init__(self, metrics: "Iterable[Metric]") -> None:
        self._metrics = metrics

    def collect(self) -> "Iterator[Metric]":
        yield from self._metrics


def figures_of_workers(pages: Mapping[int, str | None]) -> bytes:
    r"""Return the pages of the workers as one, in the Prometheus text format. A worker that did not answer has None.

    Each sample gets a label `worker`: what all have done is the sum over it.

    >>> page = "# HELP a_total A.\n# TYPE a_total counter\na_total 2.0\n"
    >>> print(figures_of_workers({1: page, 2: None}).decode())
    # HELP a_total A.
    # TYPE a_total counter
    a_total{worker="1"} 2.0
    # HELP research_worker_up 1 if the worker has answered.
    # TYPE research_worker_up gauge
    research_worker_up{worker="1"} 1.0
    research_worker_up{worker="2"} 0.0
    <BLANKLINE>
    """
    # The extra `metrics`: without it no worker has metrics, and this is not called.
    from prometheus_client import exposition
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.parser import text_string_to_metric_families

    merged: dict[str, Metric] = {}
    up = GaugeMetricFamily("research_worker_up", "1 if the worker has answered.", labels=["worker"])
    for number, page in pages.items():
        up.add_metric([str(number)], float(page is not None))
        for metric in text_string_to_metric_families(page or ""):
            into = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            for sample in metric.samples:
                labels = {**sample.labels, "worker": str(number)}
                into.add_sample(sample.name, labels, sample.value, sample.timestamp, sample.exemplar)
    registry: Any = _Collected([*merged.values(), up])
    return exposition.generate_latest(registry)
