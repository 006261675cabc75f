"""`POST /chat/completions` and `POST /completions`: from a request's bytes to its answer, room by room."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from stoker_core.principals import Principal
from stoker_gateway.api.common import CommonFields
from stoker_gateway.api.decode import decode
from stoker_gateway.api.fields import without_effect
from stoker_gateway.errors import DeadlineExceeded
from stoker_gateway.exchange import Exchange
from stoker_gateway.gateway import Gateway
from stoker_gateway.generation.answers import Meta
from stoker_gateway.generation.choice import Choice
from stoker_gateway.generation.job import Job, Owner
from stoker_gateway.generation.plan import ModelFacts, Plan, cache_salt, plan
from stoker_gateway.generation.run import Run
from stoker_gateway.handlers.fronts import Front, TokenPrompt
from stoker_gateway.handlers.reply import Reply, reply_stream, reply_whole
from stoker_gateway.observability.request_ids import echoed, traceparent
from stoker_gateway.routing.choose import choose_variant
from stoker_gateway.routing.table import Variant
from stoker_gateway.text.model_text import ModelText
from stoker_gateway.workers.signal import Signal

# The worker ends a request at its deadline and says what it used; the gateway waits that much longer before it does.
DEADLINE_GRACE_S = 1.0
# Beyond this many bytes, reading and encoding would hold up other requests' tokens: a thread does it.
LONG_BODY_BYTES = 32 * 1024

R = TypeVar("R", bound=CommonFields)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request as far as its head tells. Times are on the loop's clock."""

    exchange: Exchange
    request_id: str
    principal: Principal
    traceparent: str
    began_s: float
    deadline_s: float

    def timeout(self) -> asyncio.Timeout:
        """Ends what takes longer than the request may, by TimeoutError."""
        return asyncio.timeout_at(self.deadline_s + DEADLINE_GRACE_S)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request runs on: a model at a revision, and its text side."""

    entry_key: str
    variant: Variant
    text: ModelText

    @property
    def facts(self) -> ModelFacts:
        """What plans must know; of endpoints that differ, the smallest."""
        endpoints = self.variant.endpoints
        return ModelFacts(
            context_length=min(endpoint.context_length for endpoint in endpoints),
            vocab_size=endpoints[0].vocab_size,
            max_logprobs=min(endpoint.max_logprobs for endpoint in endpoints),
            stop_token_ids=tuple(self.text.stop_token_ids),
        )


class Generate(Generic[R]):
    """The handler of one endpoint; a `handlers.guard.Handler`."""

    def __init__(self, front: Front[R], gateway: Gateway) -> None:
        self._front = front
        self._gateway = gateway

    async def __call__(self, exchange: Exchange, request_id: str) -> None:
        """Answer one request. Raises ApiError, ClientGone."""
        gateway = self._gateway
        principal = gateway.auth.principal(exchange.header)
        gateway.enter()
        span = gateway.tracer.edge(traceparent(exchange.header(b"traceparent")))
        began_s = asyncio.get_running_loop().time()
        deadline_s = began_s + gateway.settings.limits.request_timeout_s
        try:
            await self._serve(Call(exchange, request_id, principal, span.traceparent, began_s, deadline_s))
        except TimeoutError:
            raise DeadlineExceeded("The request took longer than this gateway allows. Ask for fewer tokens.") from None
        finally:
            span.end({"stoker.request_id": request_id, "http.response.status_code": exchange.status})
            gateway.leave()

    async def _serve(self, call: Call) -> None:
        gateway, front = self._gateway, self._front
        async with call.timeout():
            body = await call.exchange.read_body(gateway.settings.limits.max_body_bytes)
            long = len(body) > LONG_BODY_BYTES
            request = await _off_loop_if(long, decode, front.decoder, body)
            target = await self._target(request.model, call.principal.account)
        salt = cache_salt(gateway.secret, call.principal.account, request.prompt_cache_isolation_key or "")
        prompts = await _off_loop_if(long, front.prompts, request, target.text, salt)
        plans = _plans(request, prompts, target.facts, salt, front.param)
        run = self._run(call, target, plans, prompts)
        call.exchange.on_closed(run.client_gone)
        async with run, call.timeout():
            await run.accepted()
            reply = self._reply(call, request, target, plans[0])
            await (reply_stream if request.stream else reply_whole)(call.exchange, run, reply, front)

    async def _target(self, name: str, account: str) -> Target:
        pool = self._gateway.pool
        entry = await self._gateway.model(name, account)
        variant = choose_variant(entry, pool.entry_loads(entry))
        text = pool.texts.get(variant.text_digest)
        assert text is not None, "an endpoint enters the table after its text"
        return Target(entry.key, variant, text)

    def _run(self, call: Call, target: Target, plans: Sequence[Plan], prompts: Sequence[TokenPrompt]) -> Run:
        gateway, limits = self._gateway, self._gateway.settings.limits
        signal = Signal()
        owner = Owner(
            principal=call.principal,
            entry_key=target.entry_key,
            model=target.variant,
            traceparent=call.traceparent,
            region=gateway.settings.region,
            deadline_s=call.deadline_s,
            clock=asyncio.get_running_loop().time,
            signal=signal,
            record=gateway.record,
        )
        jobs = []
        for i, (made, prompt) in enumerate(zip(plans, prompts, strict=True)):
            # Every prompt is a request of its own to workers and in the usage.
            job_id = call.request_id if len(plans) == 1 else f"{call.request_id}.{i}"
            choices = [Choice(i * made.n + j, made, target.text, prompt.text) for j in range(made.n)]
            jobs.append(Job(job_id, made, choices, owner, gateway.pool))
        return Run(jobs, signal, gateway.held, target.entry_key, limits.hold_timeout_s)

    def _reply(self, call: Call, request: R, target: Target, made: Plan) -> Reply:
        options = request.stream_options
        meta = Meta(
            id=call.request_id,
            created_unix_s=int(time.time()),
            model=target.variant.model.model_id,
            logprobs=made.logprobs,
            include_usage=bool(options and options.include_usage),
        )
        headers = [(b"x-request-id", echoed(call.exchange.header(b"x-request-id"), call.request_id))]
        if passed_over := without_effect(request):
            headers.append((b"x-stoker-fields-without-effect", ", ".join(passed_over).encode()))
        return Reply(meta, headers, target.text, call.began_s, self._gateway.metrics, self._gateway.accounted)


def _plans(
    request: CommonFields, prompts: Sequence[TokenPrompt], facts: ModelFacts, salt: bytes, param: str
) -> list[Plan]:
    """A plan per prompt; all share one seed, as if each were a request with it."""
    seed = random.getrandbits(64)
    return [plan(request, prompt.token_ids, facts, seed=seed, salt=salt, param=param) for prompt in prompts]


async def _off_loop_if(in_thread: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if in_thread:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)
