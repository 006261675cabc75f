"""What writing alone costs on this machine: the same events to as many sockets at the same pace, and nothing else.

No server can stream for less than this, and machines differ in it more than in anything else that a gateway does.
"""

import argparse
import asyncio
import os
import socket
import sys
import time
from collections.abc import Sequence

from bench.machine import ROOT

EVENT_BYTES = 260  # a chunk of a chat with one token


async def bare_write_us(streams: int, step_ms: float, steps: int, core: int) -> float:
    """CPU microseconds of a write, measured in a process of its own on `core`; this one reads."""
    numbers = ("--streams", str(streams), "--step-ms", str(step_ms), "--steps", str(steps), "--core", str(core))
    command = (sys.executable, "-m", "bench.gateway.bare", *numbers)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    await asyncio.gather(*(_read(port) for _ in range(streams)))
    microseconds = float(await process.stdout.readline())
    await process.wait()
    return microseconds


async def _read(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while await reader.read(65_536):
        pass
    writer.close()


def write(sockets: Sequence[socket.socket], step_s: float, steps: int) -> float:
    """Write an event to each socket at every step; returns the CPU seconds it took."""
    event = b"x" * EVENT_BYTES
    due = time.monotonic()
    began = time.process_time()
    for _ in range(steps):
        for each in sockets:
            each.send(event)
        now = time.monotonic()
        due = max(due + step_s, now)
        time.sleep(due - now)
    return time.process_time() - began


def main() -> None:
    """The process that writes: says its port, waits for all readers, writes, says microseconds per write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--step-ms", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    with socket.create_server(("127.0.0.1", 0), backlog=arguments.streams) as listener:
        print(listener.getsockname()[1], flush=True)
        sockets = [listener.accept()[0] for _ in range(arguments.streams)]
    for each in sockets:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took_s = write(sockets, arguments.step_ms / 1e3, arguments.steps)
    for each in sockets:
        each.close()
    print(took_s / (arguments.steps * arguments.streams) * 1e6, flush=True)


if __name__ == "__main__":
    main()
