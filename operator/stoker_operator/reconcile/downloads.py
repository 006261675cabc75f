"""Asks the fetching steps of pods how far they are, and has a Deployment reconciled when its sentence changes."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

import aiohttp
import msgspec

from stoker_operator.cluster.keys import Key
from stoker_operator.cluster.records import PodRecord
from stoker_operator.kube.paths import DEPLOYMENTS
from stoker_operator.planning.download import Progress, in_words
from stoker_operator.planning.pod import METRICS_PORT
from stoker_operator.planning.replica import Stage

PERIOD_S = 5.0
TIMEOUT_S = 2.0
MOST_BYTES = 1024
AT_ONCE = 32

logger = logging.getLogger(__name__)


class _Told(msgspec.Struct):
    bytes: int
    total_bytes: int


class Downloads:
    """`sentences` by pod's uid, of pods that fetch now."""

    def __init__(self, workers: Callable[[], Iterable[PodRecord]], changed: Callable[[Key], None]) -> None:
        self.sentences: Mapping[str, str] = {}
        self._workers = workers
        self._changed = changed

    async def run(self) -> None:
        """Ask now and then, until cancelled. No answer is no news: the step may just have ended."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False) as session:
            while True:
                await self.look(session)
                await asyncio.sleep(PERIOD_S)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Ask every pod that fetches, once."""
        fetching = [pod for pod in self._workers() if _fetches(pod)]
        answers = await asyncio.gather(*(_ask(session, pod.ip) for pod in fetching))
        before, found = self.sentences, {}
        for pod, answer in zip(fetching, answers, strict=True):
            sentence = in_words(answer) if answer else before.get(pod.ref.uid, "")
            if sentence:
                found[pod.ref.uid] = sentence
        self.sentences = found
        for pod in fetching:
            if found.get(pod.ref.uid) != before.get(pod.ref.uid):
                self._changed(Key(DEPLOYMENTS, pod.ref.namespace, pod.deployment))


def _fetches(pod: PodRecord) -> bool:
    return bool(pod.ip and pod.sign and pod.sign.stage is Stage.FETCHING and not pod.sign.trouble)


async def _ask(session: aiohttp.ClientSession, ip: str) -> Progress | None:
    host = f"[{ip}]" if ":" in ip else ip
    try:
        async with session.get(f"http://{host}:{METRICS_PORT}/progress", allow_redirects=False) as answer:
            told = msgspec.json.decode(await answer.content.read(MOST_BYTES), type=_Told)
    except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError):
        return None
    return Progress(told.bytes, told.total_bytes) if told.bytes >= 0 and told.total_bytes >= 0 else None
