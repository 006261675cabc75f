"""One choice of an answer: tokens in, text out. Lives over all attempts of its request."""

from stoker_gateway.generation.logprobs import TokenScore, join
from stoker_gateway.generation.plan import LogprobsShape, Plan
from stoker_gateway.text.model_text import ModelText
from stoker_gateway.text.stop import StopMatcher
from stoker_gateway.workers.inbox import Delta, Finish, TopLogprobs


class Choice:
    """Detokenizes, looks for stop strings, and gathers what the client has not been given yet.

    token_ids   everything workers delivered: what a resumed attempt replays
    text        gathered, and not yet taken
    scores      likewise; always empty if no logprobs were asked for
    finish      why it ended, None while it goes on
    cut_here    a stop string ended it, so the worker does not know
    """

    __slots__ = (
        "_detokenizer",
        "_matcher",
        "_plain",
        "_plan",
        "cut_here",
        "finish",
        "index",
        "scores",
        "text",
        "token_ids",
    )

    def __init__(self, index: int, plan: Plan, text: ModelText, prompt_text: str = "") -> None:
        """`prompt_text` is echoed before the output, if the plan says so."""
        self.index = index
        self.token_ids: list[int] = []
        self.text = prompt_text if plan.echo else ""
        self.scores: list[TokenScore] = []
        self.finish: Finish | None = None
        self.cut_here = False
        self._plan = plan
        self._detokenizer = text.detokenizer()
        self._matcher = StopMatcher(plan.stop_strings) if plan.stop_strings else None
        self._plain = self._matcher is None and plan.logprobs is LogprobsShape.NONE and not plan.hide_output

    def feed(self, delta: Delta) -> None:
        """Take in new tokens. What comes after the end is passed over."""
        token_ids = delta.token_ids
        self.token_ids += token_ids
        if self.finish is not None:
            return
        if self._plain and delta.finish is None:
            self.text += self._detokenizer.push(token_ids)
            return
        token_ids = self._visible(delta)
        if delta.logprobs is not None:
            self.scores += _scores(delta.logprobs, token_ids)
        text = self._detokenizer.push(token_ids) if token_ids else ""
        if delta.finish is not None:
            text += self._detokenizer.finish()
        self._say(text, delta.finish)

    def echo_scores(self, top: TopLogprobs) -> None:
        """Put the prompt's logprobs before the output's; its first token has none."""
        prompt = self._plan.prompt_ids
        self.scores[:0] = [TokenScore(prompt[0], None, ()), *_scores(top, prompt[1:])]

    def take_text(self) -> str:
        """The text since the last call."""
        text, self.text = self.text, ""
        return text

    def take_scores(self) -> list[TokenScore]:
        """The logprobs since the last call."""
        scores, self.scores = self.scores, []
        return scores

    def _visible(self, delta: Delta) -> list[int]:
        """The tokens that are part of the text: a stop token that ended the choice is not."""
        if self._plan.hide_output:
            return []
        if delta.finish is Finish.STOP and delta.token_ids and delta.token_ids[-1] in self._plan.stop_token_ids:
            return delta.token_ids[:-1]
        return delta.token_ids

    def _say(self, text: str, finish: Finish | None) -> None:
        self.finish = finish
        matcher = self._matcher
        if matcher is None or len(self.token_ids) < self._plan.min_tokens:
            self.text += text
            return
        emitted, hit = matcher.push(text)
        if hit:
            self.finish, self.cut_here = Finish.STOP, finish is None
        elif finish is not None:
            emitted += matcher.finish()
        self.text += emitted


def _scores(top: TopLogprobs, token_ids: list[int]) -> list[TokenScore]:
    """Scores of the first len(token_ids) positions."""
    return join(token_ids, top.logprobs[: len(token_ids)], top.top, top.top_token_ids, top.top_logprobs)
