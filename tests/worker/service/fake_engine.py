"""An engine without a model: speaks the engine's messages over the real socket, as a real process.

It makes `max_tokens` tokens of every choice, one per step and as fast as it can: prompt[0], prompt[0] + 1, … What a
request's id says before a "/" changes that:

    hang    nothing comes until the request is aborted
    first   one token, then nothing until it is aborted
    die     the process is gone after the request's first token
    deadline, failed   ends so after its first token
"""

import argparse
import os
import signal
import socket
import sys
from dataclasses import dataclass

import msgspec

from stoker_worker.engine.messages import (
    AbortRequest,
    EndedRequest,
    EndReason,
    EngineFailed,
    EngineReady,
    FinishReason,
    Load,
    LoadProgress,
    RequestCounters,
    StepReport,
    SubmitRequest,
    TopLogprobs,
)
from stoker_worker.engine.wire import EngineEnd

VOCAB = 1000
CONTEXT = 4096
BLOCKS = 256


@dataclass
class Request:
    message: SubmitRequest
    made: int = 0

    @property
    def script(self) -> str:
        return self.message.request_id.partition("/")[0]

    @property
    def is_active(self) -> bool:
        return self.script != "hang" and not (self.script == "first" and self.made)


class FakeEngine:
    def __init__(self, end: EngineEnd) -> None:
        self.end = end
        self.live: dict[int, Request] = {}
        self.ended: list[EndedRequest] = []

    def run(self) -> None:
        while True:
            busy = bool(self.ended) or any(request.is_active for request in self.live.values())
            for command in self.end.receive(0 if busy else None):
                match command:
                    case SubmitRequest():
                        self.live[command.key] = Request(command)
                    case AbortRequest(key) if key in self.live:
                        self.finish(key, EndReason.ABORTED)
                    case AbortRequest():
                        pass
                    case _:
                        return
            self.step()

    def finish(self, key: int, reason: EndReason) -> None:
        del self.live[key]
        self.ended.append(EndedRequest(key, reason))

    def step(self) -> None:
        active = [request for request in self.live.values() if request.is_active]
        report = StepReport([], [], [], [], [], [], self.ended, Load(0, 0, 0, 0, 0))
        for request in active:
            self.advance(request, report)
        self.ended = []
        if active or report.ended:
            load = Load(len(self.live), 0, BLOCKS - len(self.live), BLOCKS, 2000)
            self.end.send(msgspec.structs.replace(report, load=load))
        if any(request.script == "die" for request in active):
            os._exit(7)

    def advance(self, request: Request, report: StepReport) -> None:
        message, resumed = request.message, {part.choice: part for part in request.message.resumed}
        request.made += 1
        last = request.made == message.max_tokens
        for choice in range(message.n):
            report.keys.append(message.key)
            report.choices.append(choice)
            report.counts.append(1)
            token = message.prompt[0] + len(resumed[choice].token_ids if choice in resumed else ()) + request.made - 1
            report.token_ids.append(token % VOCAB)
            report.finish.append(FinishReason.LENGTH if last else FinishReason.NOT_FINISHED)
            if message.logprobs.output:
                top = message.logprobs.output_top
                report.logprobs[len(report.keys) - 1] = TopLogprobs([-0.5], top, list(range(top)), [-0.5] * top)
        if message.logprobs.prompt and request.made == 1:
            report.prompt_logprobs[message.key] = TopLogprobs([-1.0] * (len(message.prompt) - 1), 0, [], [])
        report.counters.append(
            RequestCounters(
                message.key, len(message.prompt), 1, request.made * message.n, 1000, 2000, 10 * request.made
            )
        )
        reasons = {"deadline": EndReason.DEADLINE, "failed": EndReason.FAILED}
        if last or request.script in reasons:
            self.finish(message.key, reasons.get(request.script, EndReason.FINISHED))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--broken", default="", help="the model file is: fail for good with this message")
    parser.add_argument("--loads-for-ever", action="store_true")
    parser.add_argument("--deaf-while-loading", action="store_true")
    parser.add_argument("--dies-while-loading", action="store_true")
    options = parser.parse_args()
    end = EngineEnd(socket.socket(fileno=options.fd))
    end.send(LoadProgress(45, 100))
    if options.broken:
        end.send(EngineFailed(options.broken, fatal=True))
        return 2
    if options.dies_while_loading:
        os._exit(3)
    if options.deaf_while_loading:
        signal.pause()
    try:
        if options.loads_for_ever:
            end.receive(None)
            return 0
        end.send(EngineReady(VOCAB, CONTEXT, "none", 16, BLOCKS, 0.0))
        FakeEngine(end).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
