"""The first process of a node. It leaves the machine's view behind, then starts, signals and reaps what it is asked to.

    python -IS init.py enter FOLDER    join the node's cgroups, start `serve` in new namespaces, end when it listens
    python -IS init.py serve FOLDER    mount the node's view, listen on FOLDER/init.sock; never ends by itself

Runs by its path with the standard library alone, so that it is up at once; FOLDER/init.json says what it needs (`Plan`).
One JSON object per connection: {"start": name, "command": [...], "log": path}, {"signal": name, "number": n},
{"forget": name} or {}; the answer tells each child's exit code, null while it runs, or {"error": text}.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, TypedDict

HOME = Path("/run/node")  # what FOLDER is called inside
NAMESPACES = ("--cgroup", "--mount", "--net", "--pid", "--uts", "--ipc")
POLL_S = 0.01
REQUEST_BYTES = 65536
# kubelet insists on these; they are shown to it, and not written to the machine's kernel.
KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


class Cgroup(TypedDict):
    """One hierarchy: where the machine has it mounted, how to mount it again, and the node's own group in it."""

    mount: str
    kind: str  # cgroup | cgroup2
    options: str
    group: str


class Plan(TypedDict):
    """What the node needs to know of the machine."""

    hostname: str
    cgroups: list[Cgroup]


def main() -> None:
    """The command line."""
    verb, folder = sys.argv[1], Path(sys.argv[2])
    plan: Plan = json.loads((folder / "init.json").read_text())
    if verb == "enter":
        sys.exit(enter(folder, plan))
    serve(folder, plan)


def serve(folder: Path, plan: Plan) -> NoReturn:
    """Be the node's first process."""
    make_view(folder, plan)
    os.chdir(HOME)
    Init().serve()


def enter(folder: Path, plan: Plan) -> int:
    """Start the node's first process; returns 0 as soon as it listens, 1 if it ends before."""
    for cgroup in plan["cgroups"]:
        (Path(cgroup["group"]) / "cgroup.procs").write_text(str(os.getpid()))
    serve = [sys.executable, "-IS", __file__, "serve", str(folder)]
    command = ["unshare", *NAMESPACES, "--propagation", "private", "--fork", "--mount-proc", *serve]
    child = subprocess.Popen(command, start_new_session=True)
    while not (folder / "init.sock").exists():
        if child.poll() is not None:
            return 1
        time.sleep(POLL_S)
    return 0


def make_view(folder: Path, plan: Plan) -> None:
    """Mount what a node sees in another way than the machine does. All of it ends with the mount namespace."""
    socket.sethostname(plan["hostname"])
    mount_cgroups(plan["cgroups"])
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    HOME.mkdir()
    run("mount", "--bind", str(folder), str(HOME))
    run("mount", "--bind", str(HOME / "logs"), "/var/log")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/lib")
    for path in (HOME / "kubelet", Path("/var/lib/kubelet")):
        path.mkdir()
    run("mount", "--bind", str(HOME / "kubelet"), "/var/lib/kubelet")
    show_kernel_settings()
    run("mount", "--make-rshared", "/")
    run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def mount_cgroups(cgroups: list[Cgroup]) -> None:
    """Show the node's groups as the roots of their hierarchies, where the machine has those."""
    run("umount", "--recursive", "--lazy", "/sys")
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    if cgroups[0]["kind"] == "cgroup":
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/sys/fs/cgroup")
    for cgroup in cgroups:
        Path(cgroup["mount"]).mkdir(exist_ok=True)
        run("mount", "-t", cgroup["kind"], "-o", cgroup["options"], cgroup["kind"], cgroup["mount"])


def show_kernel_settings() -> None:
    """Put files of our own over the settings that kubelet checks."""
    for name, value in KERNEL.items():
        file = HOME / "kernel" / name.replace("/", "-")
        file.parent.mkdir(exist_ok=True)
        file.write_text(value)
        run("mount", "--bind", str(file), f"/proc/sys/{name}")


def run(*command: str) -> None:
    """Run to its end. Raises CalledProcessError."""
    subprocess.run(command, check=True)


class Init:
    """Owns every process of the node, the orphans too."""

    def __init__(self) -> None:
        self.pids: dict[str, int] = {}
        self.codes: dict[str, int | None] = {}

    def serve(self) -> NoReturn:
        """Answer requests and reap children, forever."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("init.new")
        Path("init.new").chmod(0o600)
        listener.listen(16)
        alarm = self._child_alarm()
        Path("init.new").rename("init.sock")
        selector = selectors.DefaultSelector()
        selector.register(listener, selectors.EVENT_READ)
        selector.register(alarm, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    self._answer(listener.accept()[0])
                else:
                    alarm.recv(REQUEST_BYTES)
                self._reap()

    @staticmethod
    def _child_alarm() -> socket.socket:
        """Readable whenever a child has ended."""
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return reader

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            try:
                reply: dict[str, Any] = self._obey(json.loads(connection.makefile().readline()))
            except (OSError, ValueError, KeyError) as error:
                reply = {"error": f"{type(error).__name__}: {error}"}
            try:
                connection.sendall(json.dumps(reply).encode() + b"\n")
            except OSError as error:  # whoever asked is gone
                print(error, file=sys.stderr, flush=True)

    def _obey(self, request: dict[str, Any]) -> dict[str, Any]:
        if "start" in request:
            self._start(request["start"], request["command"], request["log"])
        elif "signal" in request:
            os.kill(self.pids[request["signal"]], request["number"])
        elif "forget" in request:
            self.codes.pop(request["forget"], None)
        self._reap()
        return {"codes": self.codes}

    def _start(self, name: str, command: list[str], log: str) -> None:
        if self.codes.get(name, 0) is None:
            raise ValueError(f"{name} runs already")
        files = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        # Python ignores SIGPIPE, and children would inherit that.
        reset = [signal.SIGPIPE, signal.SIGXFSZ]
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=files, setsid=True, setsigdef=reset)
        self.pids[name], self.codes[name] = pid, None

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for name in [name for name, known in self.pids.items() if known == pid]:
                del self.pids[name]
                self.codes[name] = os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
