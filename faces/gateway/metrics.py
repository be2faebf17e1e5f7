"""What the data plane counts, for /metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

CALLS: Final = Counter("faces_calls_total", "Admitted calls by model and by how they ended.", ["model", "outcome"])
REFUSALS: Final = Counter("faces_refusals_total", "Requests the gateway refused, by the code of the refusal.", ["code"])
EXTENSIONS: Final = Counter(
    "faces_hold_extensions_total", "Growing holds: extensions asked for, by model and by answer.", ["model", "answer"]
)
CHARGED: Final = Counter("faces_charged_nanousd_total", "Charged by settled calls, in nano-USD.", ["model"])
LOST: Final = Counter(
    "faces_lost_nanousd_total", "Cost of calls that nothing could be charged for, in nano-USD.", ["model"]
)
RUNNING: Final = Gauge("faces_running_calls", "Admitted calls not yet settled.")
SECONDS: Final = Histogram(
    "faces_call_seconds",
    "From admission to settlement, upstream time included.",
    ["model"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600),
)
