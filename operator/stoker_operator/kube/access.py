"""How this process reaches the API server: by --kubeconfig, or as its pod."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from stoker_core.api_server import Access, AccessError, of_kubeconfig, of_pod
from stoker_operator.errors import SettingsError


def find_access(kubeconfig: Path | None, env: Mapping[str, str]) -> Access:
    """From the file if one is given, else as a pod's service account; `env` is the pod's. Raises SettingsError."""
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig)
    try:
        return of_pod(env)
    except AccessError:
        raise SettingsError("this process runs in no pod: give --kubeconfig") from None


def from_kubeconfig(path: Path) -> Access:
    """The current context's cluster and user. Raises SettingsError."""
    try:
        return of_kubeconfig(yaml.safe_load(path.read_text()), path.parent)
    except OSError as error:
        raise SettingsError(f"--kubeconfig: {path}: {error.strerror}") from None
    except (yaml.YAMLError, AccessError) as error:
        raise SettingsError(f"--kubeconfig: {path}: {error}") from None
