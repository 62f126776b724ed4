"""The command ``workbench``. Starts fast: kernels, papermill and torch are imported by what needs them."""

import sys

from workbench.errors import DataError, ExecutorError, InputError
from workbench.runner.commands import desk, records, run, sweep
from workbench.runner.console import REFUSED, STORAGE, app, complain

FAMILIES = (run, sweep, records, desk)  # importing them has added their commands
ORDER = ("run", "sweep", "resume", "list", "show", "runs", "compare", "report", "new", "lab", "course", "doctor")
_names = {id(command): command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
app.registered_commands.sort(key=lambda command: (*ORDER, _names[id(command)]).index(_names[id(command)]))


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app()
    except (InputError, DataError) as problem:
        complain("error", problem)
        sys.exit(REFUSED)
    except OSError as problem:
        complain("environment" if isinstance(problem, ExecutorError) else "storage", problem)
        sys.exit(STORAGE)
