"""Stop strings, found across token borders (Aho and Corasick, 1975)."""

import re
from collections import deque
from collections.abc import Sequence


class StopMatcher:
    """Cuts a stream of text at the first stop string that is complete; of several that end together the longest counts.

    Text and stop are the same however the stream is split. Time is linear in the text, whatever the stops are.
    Empty stop strings never match.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._automaton = _Automaton([stop for stop in stops if stop])
        self._state = 0
        self._stopped = False

    def push(self, text: str) -> tuple[str, bool]:
        """Take more text; returns what may be emitted now and whether a stop was hit, then or earlier.

        Held back is the longest suffix that may yet become a stop. The stop and what follows it are never emitted.
        """
        if self._stopped:
            return "", True
        automaton, state = self._automaton, self._state
        held = automaton.prefix(state)
        state, end = automaton.run(state, text)
        self._state = state
        matched = automaton.match[state]
        self._stopped = matched > 0
        # After a stop nothing is held: the matched text is dropped instead.
        keep = matched or automaton.depth[state]
        emitted = len(held) + end - keep
        if emitted <= len(held):
            return held[:emitted], self._stopped
        return held + text[: emitted - len(held)], self._stopped

    def finish(self) -> str:
        """The text that was held back and has become no stop."""
        held = "" if self._stopped else self._automaton.prefix(self._state)
        self._state = 0
        return held


class _Automaton:
    """States are prefixes of stops, 0 the empty one.

    depth  length of the state's prefix
    match  length of the longest stop that the prefix ends with; 0: none
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.depth = [0]
        self.match = [0]
        self._goto: list[dict[str, int]] = [{}]
        self._fail = [0]
        self._owner = [""]
        for stop in stops:
            self._add(stop)
        self._link()
        heads = "".join(re.escape(head) for head in self._goto[0])
        # Where no prefix is open, everything up to a stop's first character is skipped at the speed of C.
        self._head = re.compile(f"[{heads}]") if heads else None

    def _add(self, stop: str) -> None:
        state = 0
        for char in stop:
            following = self._goto[state].get(char)
            if following is None:
                following = len(self.depth)
                self._goto[state][char] = following
                self._goto.append({})
                self._fail.append(0)
                self._owner.append(stop)
                self.depth.append(self.depth[state] + 1)
                self.match.append(0)
            state = following
        self.match[state] = len(stop)

    def _link(self) -> None:
        queue = deque(self._goto[0].values())
        while queue:
            state = queue.popleft()
            for char, following in self._goto[state].items():
                self._fail[following] = self._step(self._fail[state], char)
                self.match[following] = self.match[following] or self.match[self._fail[following]]
                queue.append(following)

    def _step(self, state: int, char: str) -> int:
        goto, fail = self._goto, self._fail
        while state and char not in goto[state]:
            state = fail[state]
        return goto[state].get(char, 0)

    def prefix(self, state: int) -> str:
        """The text of a state."""
        return self._owner[state][: self.depth[state]]

    def run(self, state: int, text: str) -> tuple[int, int]:
        """Read `text` until a stop is complete or the text ends; returns the state there and how much was read."""
        position, end = 0, len(text)
        while position < end:
            if state == 0:
                head = self._head.search(text, position) if self._head else None
                if head is None:
                    return 0, end
                position = head.start()
            state = self._step(state, text[position])
            position += 1
            if self.match[state]:
                break
        return state, position
