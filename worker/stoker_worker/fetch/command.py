"""The verb `fetch`: observe what is here and there, choose, make sure of the room, fetch side by side, write the manifest."""

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from time import monotonic

from stoker_worker.errors import FetchStopped, SourceError, WorkerError
from stoker_worker.fetch.choose import choose, shards
from stoker_worker.fetch.digests import Check
from stoker_worker.fetch.download import Download
from stoker_worker.fetch.folder import NO_ROOM, Folder, in_units, room_error
from stoker_worker.fetch.manifest import Entry, Manifest
from stoker_worker.fetch.patience import Patience, Trying
from stoker_worker.fetch.progress import Progress, saying, serving
from stoker_worker.fetch.settings import BucketSource, FetchSettings
from stoker_worker.fetch.store import RemoteFile, Store

MOST_INDEX_BYTES = 64 << 20
Say = Callable[[str], None]


def fetch(settings: FetchSettings, say: Say) -> str:
    """Everything that the model needs, in its folder. What was done, in one sentence.

    say  hears of progress; neither it nor what is raised ever holds a secret
    Raises SettingsError, SourceError or FetchInterrupted.
    """
    hide = _hider(settings.credentials.secrets)
    try:
        return hide(_Fetch(settings, lambda text: say(hide(text))).run())
    except WorkerError as error:
        error.args = (hide(str(error)),)
        raise


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fetch, the largest first: what takes longest begins first."""

    files: tuple[RemoteFile, ...]
    commit: str

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)


class _Fetch:
    """One run."""

    def __init__(self, settings: FetchSettings, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._stop = threading.Event()
        self._trying = Trying(Patience(settings.attempts), self._stop, say)
        self._progress = Progress()
        self._folder = Folder(settings.to)
        self._began = monotonic()

    def run(self) -> str:
        settings = self._settings
        if here := self._folder.complete(str(settings.source), _revision(settings)):
            return f"{_named(here)} is here already: {_amount(here)} in {settings.to}"
        with serving(self._progress, settings.progress_listen), saying(self._progress, self._say):
            store = open_store(settings)
            plan = self._trying.run(str(settings.source), lambda: plan_of(store, settings))
            return self._carry_out(store, plan)

    def _carry_out(self, store: Store, plan: Plan) -> str:
        try:
            self._folder.prepare(plan.files)
            self._check_room(plan)
            entries = self._all(store, plan.files)
            made = Manifest(str(self._settings.source), _revision(self._settings), plan.commit, tuple(entries))
            self._folder.finish(made)
        except OSError as error:
            raise self._disk_error(error, plan) from None
        return f"fetched {_named(made)}: {_amount(made)} in {monotonic() - self._began:.1f} s to {self._settings.to}"

    def _check_room(self, plan: Plan) -> None:
        needed, free = self._missing(plan), self._folder.free_bytes()
        held = plan.total_bytes - needed
        self._progress.plan(plan.total_bytes, len(plan.files))
        here = f", of which {in_units(held)} are here" if held else ""
        self._say(f"{self._settings.source}: {len(plan.files)} files, {in_units(plan.total_bytes)}{here}")
        if needed > free:
            raise room_error(self._settings.to, needed, free)

    def _missing(self, plan: Plan) -> int:
        return sum(file.size - self._folder.held_bytes(file) for file in plan.files)

    def _all(self, store: Store, files: Sequence[RemoteFile]) -> list[Entry]:
        """Side by side. The first failure stops the others; what they have stays."""
        download = Download(store, self._folder, self._progress, self._trying, self._stop)
        with ThreadPoolExecutor(self._settings.parallel, "fetch") as threads:
            running = [threads.submit(download, file) for file in files]
            wait(running, return_when=FIRST_EXCEPTION)
            self._stop.set()
            threads.shutdown(cancel_futures=True)
        if error := _error_of(running):
            raise error
        return [future.result() for future in running]

    def _disk_error(self, error: OSError, plan: Plan) -> SourceError:
        if error.errno in NO_ROOM:
            return room_error(self._settings.to, self._missing(plan), self._folder.free_bytes())
        return SourceError(f"{error.filename or self._settings.to} cannot be written: {error.strerror}")


def open_store(settings: FetchSettings) -> Store:
    """Of the source's kind. The other kind's client is not imported."""
    if isinstance(settings.source, BucketSource):
        from stoker_worker.fetch.bucket import BucketStore

        return BucketStore(
            settings.source, settings.endpoint, settings.region, settings.credentials, settings.parallel + 1
        )
    from stoker_worker.fetch.hub import HubStore

    return HubStore(settings.source, settings.endpoint, settings.credentials.hub_token)


def plan_of(store: Store, settings: FetchSettings) -> Plan:
    """The files that the source's model is made of, each with its digest."""
    listing = store.listing()
    try:
        choice = choose(listing.files, getattr(settings.source, "file", ""))
        names = choice.names
        if choice.index:
            names += shards(_small(store, store.pinned(listing.files[choice.index])), listing.files)
    except SourceError as error:
        raise SourceError(f"{settings.source}: {error}") from None
    files = (store.pinned(listing.files[name]) for name in names)
    return Plan(tuple(sorted(files, key=lambda file: -file.size)), listing.commit)


def _small(store: Store, file: RemoteFile) -> bytes:
    """A file's content, in memory."""
    if file.size > MOST_INDEX_BYTES:
        raise SourceError(f"{file.name} has {in_units(file.size)}; at most {in_units(MOST_INDEX_BYTES)} are read")
    with store.reading(file, 0) as answer:
        data = b"".join(answer.chunks)
    check = Check(file.size, file.digest)
    check.update(data)
    if not check.passes():
        raise SourceError(f"{file.name} arrived with another content than the source says ({file.digest})")
    return data


def _error_of(ended: Sequence["Future[Entry]"]) -> BaseException | None:
    """The one to tell: what somebody must mend before what passes, and that before what it stopped."""
    errors = [error for future in ended if not future.cancelled() and (error := future.exception())]
    return min(
        errors, key=lambda error: (not isinstance(error, SourceError), isinstance(error, FetchStopped)), default=None
    )


def _revision(settings: FetchSettings) -> str:
    return getattr(settings.source, "revision", "")


def _named(made: Manifest) -> str:
    at = f" at {made.commit[:12]}" if made.commit else ""
    return made.source + at


def _amount(made: Manifest) -> str:
    return f"{len(made.files)} file{'s' if len(made.files) != 1 else ''}, {in_units(made.total_bytes)}"


def _hider(secrets: Sequence[str]) -> Callable[[str], str]:
    """Nothing of ours puts a secret into a text; this is for what others put there."""

    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return hide


def say_on_stderr(text: str) -> None:
    """One line, in one write."""
    sys.stderr.write(f"stoker fetch: {' '.join(text.split())}\n")
    sys.stderr.flush()
