"""From scheduled rows to the arrays that a device runs."""

from itertools import chain

import numpy as np

from stoker_worker.scheduling.plan import Int32, StepPlan
from stoker_worker.scheduling.scheduler import ScheduledRow


def build_plan(rows: list[ScheduledRow], block_size: int) -> StepPlan:
    """Lay out `rows` one after the other.

    Logits are wanted of each row's last token if it is the sequence's last known one, and of every token of a row whose
    sequence wants prompt logits.
    """
    counts = np.fromiter((row.count for row in rows), np.int32, len(rows))
    starts = np.fromiter((row.start for row in rows), np.int32, len(rows))
    query_starts = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(counts, out=query_starts[1:])
    tokens = int(query_starts[-1])
    token_ids = np.fromiter(
        chain.from_iterable(row.sequence.token_ids[row.start : row.start + row.count] for row in rows), np.int32, tokens
    )
    row_of_token = np.repeat(np.arange(len(rows)), counts)
    positions = np.arange(tokens, dtype=np.int32) - (query_starts[:-1] - starts)[row_of_token]
    tables = _block_tables(rows)
    blocks = tables[row_of_token, positions // block_size].astype(np.int64)
    return StepPlan(
        token_ids=token_ids,
        positions=positions.astype(np.int32),
        slots=blocks * block_size + positions % block_size,
        query_starts=query_starts,
        context_lens=starts + counts,
        block_tables=tables,
        logits_rows=_logits_rows(rows, query_starts),
    )


def _block_tables(rows: list[ScheduledRow]) -> Int32:
    tables = np.full((len(rows), max(len(row.sequence.blocks) for row in rows)), -1, np.int32)
    for index, row in enumerate(rows):
        tables[index, : len(row.sequence.blocks)] = row.sequence.blocks
    return tables


def _logits_rows(rows: list[ScheduledRow], query_starts: Int32) -> Int32:
    wanted: list[int] = []
    for index, row in enumerate(rows):
        end = int(query_starts[index + 1])
        if row.sequence.wants_prompt_logits:
            wanted.extend(range(end - row.count, end))
        elif row.reaches_end:
            wanted.append(end - 1)
    return np.array(wanted, np.int32)
