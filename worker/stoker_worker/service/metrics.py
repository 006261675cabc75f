"""What a worker counts. Counting is plain arithmetic, since it happens in every step; see `exposition` for the rest."""

from bisect import bisect_left
from collections import Counter

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.engine.messages import EndReason, StepReport
from stoker_worker.service.admission import Refused

STEP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class WorkerMetrics:
    """Cumulative counts since the process started."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()  # by code
        self.ended: Counter[str] = Counter()  # by reason
        self.tokens = 0
        self.steps_by_bucket = [0] * (len(STEP_BUCKETS_S) + 1)
        self.steps_s = 0.0

    def on_refused(self, refused: Refused) -> None:
        """A request was not taken."""
        self.refused[pb.RefusalCode.Name(refused.code).removeprefix("REFUSAL_CODE_").lower()] += 1

    def on_ended(self, reason: int) -> None:
        """An accepted request has ended."""
        self.ended[EndReason(reason).name.lower()] += 1

    def on_step(self, report: StepReport) -> None:
        """A step was done; a report without entries tells of ends only."""
        if report.counters:
            seconds = report.load.step_us * 1e-6
            self.tokens += len(report.token_ids)
            self.steps_by_bucket[bisect_left(STEP_BUCKETS_S, seconds)] += 1
            self.steps_s += seconds
