"""JupyterLab for one person: loopback only, a fresh token, kernels of this Python."""

import contextlib
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager

from workbench.errors import ExecutorError
from workbench.files import write_json
from workbench.records import project_folder
from workbench.runner.console import say


class OwnPython(KernelSpecManager):
    """Knows the kernels installed, but the one that notebooks name is this interpreter's."""

    def find_kernel_specs(self) -> dict[str, str]:
        """Return name -> folder."""
        return {**super().find_kernel_specs(), NATIVE_KERNEL_NAME: RESOURCES}

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
        ExecutorError: If the user's Jupyter configuration would open the server to others.
    """
    for name in ("WORKBENCH_BATCH", "WORKBENCH_RUN_DIR"):  # what a batch run tells its kernel is wrong for a person
        os.environ.pop(name, None)
    root, token = project_folder(), secrets.token_hex(24)
    if notebook and not notebook.is_relative_to(root):
        root = notebook.parent
    with _quiet():
        _serve(_settings(root, notebook, token, port, browser), token)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Switch off the question whether one wants news, which no setting of the server can."""
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        off = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
        write_json(Path(folder, "labconfig", "page_config.json"), off)
        before = os.environ.get("JUPYTER_CONFIG_PATH")
        os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, (folder, before)))
        yield


def _serve(settings: list[str], token: str) -> None:
    """Start the server, or raise ExecutorError if it would not be as asked; return when it ends."""
    from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

    # In this process, so that the token stands in no list of processes.
    server = LabApp.initialize_server(settings)
    identity = server.identity_provider
    if (server.ip, server.sock, identity.token) != ("127.0.0.1", "", token) or not identity.auth_enabled:
        raise ExecutorError(
            "Jupyter must listen on 127.0.0.1 and ask for our token, got other settings; "
            "`jupyter --paths` shows whose configuration says so, JUPYTER_NO_CONFIG=1 leaves it out"
        )
    url = f"{server.connection_url.rstrip('/')}{server.default_url}?token={token}"
    server.io_loop.add_callback(say, url, "Ctrl-C ends it and its kernels.")  # once it listens
    # Jupyter would leave kernels behind at a SIGINT without a terminal, and ask questions with one.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    server.start()


def _settings(root: Path, notebook: Path | None, token: str, port: int | None, browser: bool) -> list[str]:
    """Return settings as command-line arguments, which win over every configuration file."""
    settings: dict[str, Any] = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.sock": "",
        "ServerApp.port": port or 8888,
        "ServerApp.port_retries": 0 if port else 50,
        "ServerApp.open_browser": browser,
        "ServerApp.root_dir": root,
        "ServerApp.allow_root": True,  # as in a container
        "ServerApp.allow_remote_access": False,
        "ServerApp.allow_origin": "",
        "ServerApp.base_url": "/",
        "ServerApp.log_level": "WARN",
        "LabApp.log_level": "WARN",
        "ServerApp.kernel_spec_manager_class": f"{__name__}.{OwnPython.__name__}",
        "ServerApp.identity_provider_class": "jupyter_server.auth.identity.PasswordIdentityProvider",
        "PasswordIdentityProvider.token": token,
        "PasswordIdentityProvider.hashed_password": "",
        "PasswordIdentityProvider.password_required": False,
        # Announcements ask the network and stand before the notebook.
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.default_url": f"/lab/tree/{quote(notebook.relative_to(root).as_posix())}" if notebook else "/lab",
    }
    return [f"--{name}={value}" for name, value in settings.items()]
