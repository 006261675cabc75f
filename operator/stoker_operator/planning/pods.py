"""What a pod's status says of the replica it carries."""

from collections.abc import Callable
from dataclasses import dataclass

from stoker_core import labels
from stoker_operator.api.kubernetes import ContainerStatus, Pod, PodSpec, Terminated
from stoker_operator.planning.quantity import most_milli, parsed, sum_milli
from stoker_operator.planning.replica import Stage, Trouble

PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
CONFIG_REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
ENDED = frozenset({"Succeeded", "Failed"})
OUT_OF_MEMORY = "OOMKilled"
# How a worker ends whose settings or model file cannot work, or whose engine can never be ready.
EXIT_CANNOT_WORK = 2
DETAIL_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Sign:
    """How far a pod has come, and what keeps it there."""

    stage: Stage
    trouble: Trouble | None = None
    detail: str = ""


def sign_of(pod: Pod) -> Sign:
    """Read a worker pod's status."""
    if pod.metadata.deletion_timestamp or pod.status.phase in ENDED:
        return Sign(Stage.LEAVING)
    if not pod.spec.node_name:
        return _unscheduled(pod)
    for status in pod.status.init_container_statuses:
        if found := _fetching(status):
            return found
    worker = next((one for one in pod.status.container_statuses if one.name == labels.WORKER), None)
    if worker is None:
        return Sign(Stage.FETCHING)
    return _worker(worker, _is_ready(pod))


def requests_of(spec: PodSpec) -> dict[str, int]:
    """What the scheduler sets aside for a pod, in thousandths: containers together, or the largest step before them."""
    beside = [one for one in spec.init_containers if one.restart_policy == "Always"]
    steps = [parsed(one.resources.requests) for one in spec.init_containers if one not in beside]
    together = sum_milli(*(parsed(one.resources.requests) for one in (*spec.containers, *beside)))
    return sum_milli(most_milli(together, *steps), parsed(spec.overhead))


def _unscheduled(pod: Pod) -> Sign:
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.reason in ("Unschedulable", "SchedulingGated"):
            return Sign(Stage.PENDING, Trouble.UNSCHEDULABLE, _short(condition.message or condition.reason))
    return Sign(Stage.PENDING)


def _fetching(status: ContainerStatus) -> Sign | None:
    """None once the step is done."""
    state = status.state
    if state.terminated and state.terminated.exit_code == 0:
        return None
    ended = state.terminated or status.last_state.terminated
    if state.waiting and (trouble := _cannot_start(state.waiting.reason)):
        return Sign(Stage.FETCHING, trouble, _short(state.waiting.message or state.waiting.reason))
    if ended and ended.exit_code:
        trouble = Trouble.OUT_OF_MEMORY if ended.reason == OUT_OF_MEMORY else Trouble.DOWNLOAD
        return Sign(Stage.FETCHING, trouble, _ending(ended, status.restart_count))
    return Sign(Stage.FETCHING)


def _worker(status: ContainerStatus, ready: bool) -> Sign:
    state, before = status.state, status.last_state.terminated
    if state.running and status.started:
        return Sign(Stage.ROUTABLE if ready else Stage.STARTED)
    if state.waiting and (trouble := _cannot_start(state.waiting.reason)):
        return Sign(Stage.FETCHING, trouble, _short(state.waiting.message or state.waiting.reason))
    if ended := state.terminated or before:
        return Sign(Stage.STARTING, _why_ended(ended), _ending(ended, status.restart_count))
    return Sign(Stage.STARTING if state.running else Stage.FETCHING)


def _cannot_start(reason: str) -> Trouble | None:
    if reason in PULL_REASONS:
        return Trouble.IMAGE_PULL
    return Trouble.BAD_CONFIG if reason in CONFIG_REASONS else None


WHY_ENDED: tuple[tuple[Callable[[Terminated], bool], Trouble], ...] = (
    (lambda ended: ended.reason == OUT_OF_MEMORY, Trouble.OUT_OF_MEMORY),
    (lambda ended: ended.exit_code == EXIT_CANNOT_WORK, Trouble.ENGINE),
)


def _why_ended(ended: Terminated) -> Trouble:
    return next((trouble for applies, trouble in WHY_ENDED if applies(ended)), Trouble.CRASH_LOOP)


def _ending(ended: Terminated, restarts: int) -> str:
    what = "out of memory" if ended.reason == OUT_OF_MEMORY else f"exit code {ended.exit_code}"
    again = f", {restarts} restart{'s' if restarts != 1 else ''}" if restarts else ""
    said = ended.message.strip().splitlines()
    return _short(f"{what}{again}" + (f": {said[-1]}" if said else ""))


def _is_ready(pod: Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def _short(text: str) -> str:
    return text if len(text) <= DETAIL_LENGTH else text[: DETAIL_LENGTH - 1] + "…"
