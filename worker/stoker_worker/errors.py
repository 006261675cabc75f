"""What can go wrong in a worker.

WorkerError
├── ModelFileError       a model file is missing, truncated or unsupported; names the file
├── SettingsError        a setting is unknown or out of range; names it
├── OutOfMemory          weights or KV do not fit; says how much is missing
├── NativeUnavailable    the native step cannot be used here; says why
├── EngineFailure        the engine process cannot go on
├── SourceError          weights cannot be fetched from there, or not to here; says what to change
└── FetchInterrupted     weights are not here yet, for reasons that pass; the next start goes on where this one ended
    └── FetchStopped     this file is not to blame: another one's failure ended the run
"""

from pathlib import Path


class WorkerError(Exception):
    """Any failure that a person should read; its text says what to change."""


class ModelFileError(WorkerError):
    """A model file is missing, truncated or of a kind that is not supported."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class SettingsError(WorkerError):
    """A setting is unknown or out of range."""


class OutOfMemory(WorkerError):
    """The machine has less memory than asked for."""


class NativeUnavailable(WorkerError):
    """The native library can be neither found nor compiled."""


class EngineFailure(WorkerError):
    """The engine process cannot go on; its requests are lost and it must be restarted."""


class SourceError(WorkerError):
    """Weights cannot be fetched before somebody changes something: the source, its credentials or the disk."""


class FetchInterrupted(WorkerError):
    """Weights are not complete, for a reason that passes; what was fetched stays.

    retry_after_s  how long the source asks to be left alone
    in_vain        trying the same again would change nothing; a new start may
    """

    def __init__(self, problem: str, retry_after_s: float | None = None, *, in_vain: bool = False) -> None:
        super().__init__(problem)
        self.retry_after_s = retry_after_s
        self.in_vain = in_vain


class FetchStopped(FetchInterrupted):
    """Another file's failure ended the run."""

    def __init__(self) -> None:
        super().__init__("stopped", in_vain=True)
