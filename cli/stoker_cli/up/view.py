"""What `stoker up` shows: bars while it starts, a banner when it is ready, a line when something happens.

On a terminal that is rich's; anywhere else plain lines, each stage once.
"""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from stoker_cli.up.assembly import Assembly, OnBytes
from stoker_cli.up.model import ServedModel
from stoker_cli.up.options import UpOptions


class View(Assembly):
    """Owns what is on the screen. `close` takes the bars away."""

    def __init__(self, out: Console, err: Console) -> None:
        self._out = out
        self._err = err
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}[/]"),
            console=err,
            disable=not err.is_terminal,
            refresh_per_second=8,
        )
        self._bars.start()
        self._current: TaskID | None = None

    def stage(self, name: str, total_bytes: int) -> OnBytes:
        """A stage measured in bytes begins."""
        task = self._begin(name, total_bytes)
        return lambda done: self._bars.update(
            task, completed=min(done, total_bytes), note=f"{done / 1e6:.0f} of {total_bytes / 1e6:.0f} MB"
        )

    def loading(self) -> Callable[[str], None]:
        """The processes start; call what is returned with what they wait for."""
        task = self._begin("loading the model", None)
        return lambda note: self._bars.update(task, note=note)

    def ready(self, options: UpOptions, model: ServedModel, usage_file: Path, log_file: Path) -> None:
        """Everything runs."""
        self._finish()
        self.close()
        self._out.print(banner(options, model, usage_file, log_file), markup=False)

    def announce(self, message: str) -> None:
        """Something happened that a person may want to know."""
        self._err.print(f"[dim]stoker: {escape(message)}[/]")

    def close(self) -> None:
        """No more bars."""
        self._bars.stop()

    def _begin(self, name: str, total: int | None) -> TaskID:
        self._finish()
        if not self._err.is_terminal:
            self._err.print(f"stoker: {name} …", markup=False)
        self._current = self._bars.add_task(name, total=total, note="")
        return self._current

    def _finish(self) -> None:
        if self._current is not None:
            self._bars.update(self._current, total=1, completed=1, note="")
            self._current = None


def banner(options: UpOptions, model: ServedModel, usage_file: Path, log_file: Path) -> str:
    """What to know and what to paste."""
    name = model.aliases[0] if model.aliases else model.model_id
    key = ' -H "Authorization: Bearer $STOKER_API_KEY"' if options.keys else ""
    return "\n".join(
        (
            "",
            "Stoker is ready.",
            "",
            f"  URL     {options.url}/v1",
            f"  models  {', '.join((model.model_id, *model.aliases))}",
            f"  usage   {usage_file}",
            f"  log     {log_file}",
            "",
            f"  curl {options.url}/v1/chat/completions{key} -H 'Content-Type: application/json' \\",
            f"""    -d '{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'""",
            "",
            "Ctrl-C stops.",
        )
    )
