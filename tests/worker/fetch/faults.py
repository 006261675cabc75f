"""What can go wrong on the way: faults that a server of ours commits, and counts of what it gave away."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

CHUNK_BYTES = 1 << 18
GATE_S = 60.0


@dataclass(frozen=True)
class Refuse:
    """Answer with a status instead."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""


@dataclass(frozen=True)
class Cut:
    """Break the connection after that many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Flip:
    """Answer with one bit turned."""


@dataclass(frozen=True)
class Whole:
    """Answer 200 with everything, whatever range was asked for; break off after `after` bytes."""

    after: int = 1 << 60


@dataclass
class Gate:
    """Stop after that many bytes of the body until the gate is opened."""

    after: int
    open: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Then:
    """Answer well, but let something happen first."""

    action: Callable[[], object]


Fault = Then | Refuse | Cut | Flip | Whole | Gate


class Faults:
    """Faults by the name of the file, used up in order; and bytes given away by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.next: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.bytes: dict[str, int] = defaultdict(int)
        self.asked: dict[str, list[dict[str, str]]] = defaultdict(list)

    def take(self, name: str, headers: dict[str, str]) -> Fault | None:
        with self._lock:
            self.asked[name].append({key.lower(): value for key, value in headers.items()})
            waiting = self.next.get(name)
            fault = waiting.pop(0) if waiting else self.always.get(name)
        if isinstance(fault, Then):
            fault.action()
            return None
        return fault

    def body(self, name: str, data: bytes, fault: Fault | None) -> Iterator[bytes]:
        """What of `data` goes out; ends early where the connection is to break."""
        if isinstance(fault, Flip):
            data = bytes([data[0] ^ 1]) + data[1:]
        stop = min(fault.after, len(data)) if isinstance(fault, Cut | Whole | Gate) else len(data)
        yield from self._counted(name, data[:stop])
        if isinstance(fault, Gate):
            assert fault.open.wait(GATE_S)
            yield from self._counted(name, data[stop:])

    def _counted(self, name: str, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), CHUNK_BYTES):
            piece = data[start : start + CHUNK_BYTES]
            with self._lock:
                self.bytes[name] += len(piece)
            yield piece
