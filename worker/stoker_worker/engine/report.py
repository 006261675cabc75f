"""Collects what a step brought, in the packed form in which it leaves the process."""

from stoker_worker.engine.messages import EndedRequest, Load, RequestCounters, StepReport, TopLogprobs


class ReportBuilder:
    """One step's report in the making."""

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._choices: list[int] = []
        self._token_ids: list[int] = []
        self._finish: list[int] = []
        self._counters: dict[int, RequestCounters] = {}
        self._logprobs: dict[int, TopLogprobs] = {}
        self._prompt_logprobs: dict[int, TopLogprobs] = {}

    def add_token(self, key: int, choice: int, token: int, finish: int) -> int:
        """Add one new token of a choice; returns the entry's index."""
        self._keys.append(key)
        self._choices.append(choice)
        self._token_ids.append(token)
        self._finish.append(int(finish))
        return len(self._keys) - 1

    def add_counters(self, counters: RequestCounters) -> None:
        """Set a request's cumulative figures; the last ones of a step count."""
        self._counters[counters.key] = counters

    def add_logprobs(self, entry: int, logprobs: TopLogprobs) -> None:
        """Logprobs of an entry's token."""
        self._logprobs[entry] = logprobs

    def add_prompt_logprobs(self, key: int, logprobs: TopLogprobs) -> None:
        """Logprobs of a request's whole prompt."""
        self._prompt_logprobs[key] = logprobs

    def build(self, ended: list[EndedRequest], load: Load) -> StepReport:
        """The finished report."""
        return StepReport(
            keys=self._keys,
            choices=self._choices,
            counts=[1] * len(self._keys),
            token_ids=self._token_ids,
            finish=self._finish,
            counters=list(self._counters.values()),
            ended=ended,
            load=load,
            logprobs=self._logprobs,
            prompt_logprobs=self._prompt_logprobs,
        )
