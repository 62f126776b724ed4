"""JupyterLab for one person: loopback only, a fresh token, kernels of this Python."""

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager

from workbench.errors import ExecutorError
from workbench.records import project_folder
from workbench.runner.console import say

# Settings on the command line win over every configuration file.
_SETTINGS = {
    "ServerApp.ip": "127.0.0.1",
    "ServerApp.allow_root": True,  # as in a container
    "ServerApp.allow_remote_access": False,
    "ServerApp.allow_origin": "",
    "Application.log_level": "WARN",
    "ServerApp.kernel_spec_manager_class": f"{__name__}.OwnPython",
    "PasswordIdentityProvider.hashed_password": "",
}


class OwnPython(KernelSpecManager):
    """Knows the kernels installed, but the one that notebooks name is this interpreter's."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernel by name."""
        if kernel_name == NATIVE_KERNEL_NAME:
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())
        return super().get_kernel_spec(kernel_name)


def lab(notebook: Path | None, *, port: int | None, browser: bool) -> None:
    """Run JupyterLab until Ctrl-C, which ends its kernels too.

    Args:
        notebook: Opened first; None opens the launcher.
        port: None takes 8888 or the next that is free.
        browser: Whether to open one.

    Raises:
        ExecutorError: If the port is taken, or the user's Jupyter configuration would open the server to others.
    """
    from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

    os.environ.pop("WORKBENCH_BATCH", None)  # this is no batch run, even if one started it
    os.environ.pop("WORKBENCH_RUN_DIR", None)
    root, token = project_folder(), secrets.token_hex(24)
    if notebook and not notebook.is_relative_to(root):
        root = notebook.parent
    settings = _SETTINGS | {
        "ServerApp.port": port or 8888,
        "ServerApp.port_retries": 0 if port else 50,
        "ServerApp.open_browser": browser,
        "ServerApp.root_dir": root,
        "PasswordIdentityProvider.token": token,
        "LabApp.default_url": f"/lab/tree/{quote(notebook.relative_to(root).as_posix())}" if notebook else "/lab",
    }
    # In this process, so that the token stands in no list of processes.
    with _starting():
        server = LabApp.initialize_server([f"--{name}={value}" for name, value in settings.items()])
    identity = server.identity_provider
    if (server.ip, server.sock, identity.token) != ("127.0.0.1", "", token) or not identity.auth_enabled:
        raise ExecutorError(
            "Jupyter must listen on 127.0.0.1 and ask for our token, got other settings; "
            "`jupyter --paths` shows whose configuration says so, JUPYTER_NO_CONFIG=1 leaves it out"
        )
    server.web_app.settings["page_config_hook"] = _quiet
    url = f"{server.connection_url.rstrip('/')}{server.default_url}?token={token}"
    server.io_loop.add_callback(say, url, "Ctrl-C ends it and its kernels.")  # once it listens
    # Jupyter would leave kernels behind at a SIGINT without a terminal, and ask questions with one.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    with _starting():  # a port that was free is taken only now: another server may have come first
        server.start()


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Raise where Jupyter would end the program."""
    try:
        yield
    except SystemExit as error:
        raise ExecutorError("Jupyter must start, got what it says above; if a port is taken, try another") from error


def _quiet(_: Any, page: dict[str, Any]) -> dict[str, Any]:
    """Leave out the question whether one wants news, which stands before the notebook."""
    return page | {"disabledExtensions": [*page["disabledExtensions"], "@jupyterlab/apputils-extension:announcements"]}
