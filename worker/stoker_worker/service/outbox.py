"""What one gateway stream has still to be told. A reader that keeps up gets a frame per step; a slow one gets merged output.

So memory is bounded by what requests may generate, at four bytes a token, and not by how many steps a reader misses.
"""

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.service.admission import Refused
from stoker_worker.service.batch import Batch
from stoker_worker.service.frames import put_merged, put_step
from stoker_worker.service.merged import MergedRequest, merge


class Outbox:
    """Filled by the front, emptied by the stream's writer through `take`."""

    def __init__(self) -> None:
        self._verdicts = pb.Frame()  # accepted and refused
        self._has_verdicts = False
        self._step: Batch | None = None  # one step as it came, and nothing is merged
        self._merged: dict[int, MergedRequest] = {}
        self._held: dict[int, MergedRequest] = {}  # until their requests end

    @property
    def is_empty(self) -> bool:
        """Nothing is due; output of requests that want one final frame may be held."""
        return not (self._has_verdicts or self._step or self._merged)

    def accept(self, handle: int, max_tokens: int, *, final_only: bool) -> None:
        """Tell that a request was queued. `final_only`: hold its output until it ends."""
        self._verdicts.accepted.add(handle=handle, max_tokens=max_tokens)
        self._has_verdicts = True
        if final_only:
            self._held[handle] = MergedRequest()

    def refuse(self, handle: int, refused: Refused) -> None:
        """Tell that a request was not taken."""
        self._verdicts.refused.add(
            handle=handle,
            code=refused.code,
            field=refused.field,
            message=refused.message,
            retryable=refused.retryable,
        )
        self._has_verdicts = True

    def add(self, batch: Batch) -> None:
        """Take in what a step brought. The batch is the outbox's own from now on."""
        if self._held:
            batch = self._hold_back(batch)
        if batch.is_empty:
            return
        if self.is_behind:
            self._merge_step()
            merge(batch, self._merged)
        else:
            self._step = batch

    @property
    def is_behind(self) -> bool:
        """The reader has not taken the last output yet."""
        return bool(self._step or self._merged)

    def take(self) -> pb.Frame:
        """What is due now, as much of it as fits one frame. Accepted and refused come before anything else."""
        frame, self._verdicts, self._has_verdicts = self._verdicts, pb.Frame(), False
        if self._step:
            put_step(frame, self._step)
            self._step = None
        elif self._merged:
            put_merged(frame, self._merged)
        return frame

    def _hold_back(self, batch: Batch) -> Batch:
        """Keep the output of requests that want one final frame; gives back the rest."""
        held, rest = batch.partition(self._held)
        merge(held, self._held)
        for ending in held.ended:
            self._merge_step()
            self._merged[ending.handle] = self._held.pop(ending.handle)
        return rest

    def _merge_step(self) -> None:
        if self._step:
            merge(self._step, self._merged)
            self._step = None
