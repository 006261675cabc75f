"""What can go wrong in the operator.

OperatorError
├── SettingsError      a setting is unknown, missing or out of range; names it
├── ManifestError      a file that `plan` was given holds no object that can be planned; names it
├── WatchesEnded       nobody brings events any more; the process must be started anew
├── LeadershipLost     another process holds the Lease; this one must end
└── KubeError          the API server was not reached, or answered with an error
    ├── Unreachable    no answer; the request may or may not have been carried out
    ├── NotFound       404
    ├── Conflict       409: the object has changed, or exists already
    ├── Refused        400, 403, 413, 422: the request will never succeed as it is
    └── Busy           429, 5xx: later, perhaps
"""


class OperatorError(Exception):
    """Any failure that a person should read; its text says what to change."""


class SettingsError(OperatorError):
    """A setting is unknown, missing or out of range."""


class ManifestError(OperatorError):
    """A file holds no object that can be planned."""


class WatchesEnded(OperatorError):
    """Nobody brings events any more."""


class LeadershipLost(OperatorError):
    """Another process holds the Lease."""


class KubeError(OperatorError):
    """The API server was not reached, or answered with an error."""


class Unreachable(KubeError):
    """No answer came."""


class NotFound(KubeError):
    """There is no such object, or no such kind."""


class Conflict(KubeError):
    """The object has changed since it was read, or exists already."""


class Refused(KubeError):
    """The request is invalid or not allowed, and would be the next time."""


class Busy(KubeError):
    """The API server cannot answer now."""
