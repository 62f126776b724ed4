"""A real server, under a configuration that would open it to everybody."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from jupyter_client import BlockingKernelClient

psutil = pytest.importorskip("psutil")
OPEN_TO_ALL = """
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.allow_remote_access = True
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.token = ""
c.ServerApp.open_browser = True
"""


@pytest.fixture
def served(command, tmp_path):
    """Start `workbench lab` under a user's careless configuration; yield its process and URL."""
    for name in ("jupyter_server_config.py", "jupyter_lab_config.py"):
        path = tmp_path / "config" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(OPEN_TO_ALL)
    spec = tmp_path / "data" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/nowhere/python", "{connection_file}"], "display_name": "not ours"}))
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "a b.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    folders = {name: str(tmp_path / name.split("_")[1].lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    process = command("lab", "a b.ipynb", "--no-browser", wait=False, WORKBENCH_BATCH="1", PYTHONUNBUFFERED="1",
                      JUPYTER_RUNTIME_DIR=str(tmp_path / "runtime"), **folders)  # fmt: skip
    try:
        yield process, next(line.strip() for line in process.stdout if line.startswith("http"))
    finally:
        process.kill()
        process.communicate()


def ask(url: str, method: str = "GET") -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_lab_is_for_this_machine_and_this_person_alone(served, tmp_path):
    process, url = served
    base, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/lab/tree/a%20b\.ipynb\?token=([0-9a-f]{48})", url).groups()
    listening = {c.laddr for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN}
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert token not in " ".join(psutil.Process(process.pid).cmdline())
    assert [ask(f"{base}/api/contents{end}")[0] for end in ("", "?token=", "?token=wrong")] == [403] * 3
    status, contents = ask(f"{base}/api/contents?token={token}")
    assert status == 200
    assert "a b.ipynb" in [entry["name"] for entry in json.loads(contents)["content"]]  # the project folder
    page = ask(f"{base}/lab?token={token}")[1].decode()
    assert re.search(r'"disabledExtensions": \[[^]]*"@jupyterlab/apputils-extension:announcements"', page)

    specs = json.loads(ask(f"{base}/api/kernelspecs?token={token}")[1])["kernelspecs"]
    assert specs["python3"]["spec"]["argv"][0] == sys.executable
    kernel = json.loads(ask(f"{base}/api/kernels?token={token}", "POST")[1])["id"]
    client = BlockingKernelClient(connection_file=str(next((tmp_path / "runtime").glob(f"kernel-{kernel}.json"))))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(30)
    asked = {"batch": "os.environ.get('WORKBENCH_BATCH')", "pid": "os.getpid()"}
    told = client.execute_interactive("import os", user_expressions=asked, timeout=30)["content"]["user_expressions"]
    client.stop_channels()
    assert told["batch"]["data"]["text/plain"] == "None"
    found = psutil.Process(int(told["pid"]["data"]["text/plain"]))
    assert found.exe() == psutil.Process(process.pid).exe()
    assert process.pid in [each.pid for each in found.parents()]

    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    found.wait(30)  # ends with its server
    with pytest.raises(OSError, match="refused"), socket.socket() as plug:
        plug.connect(("127.0.0.1", int(base.rpartition(":")[2])))


def test_a_configuration_that_opens_it_all_the_same_is_refused(command, tmp_path):
    (tmp_path / "config").mkdir()
    switch_off = "from jupyter_server.auth import PasswordIdentityProvider as Known\nKnown.auth_enabled = False\n"
    (tmp_path / "config" / "jupyter_server_config.py").write_text(switch_off)
    process = command("lab", "--no-browser", wait=False, JUPYTER_CONFIG_DIR=str(tmp_path / "config"))
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 4
    assert "ask for our token" in err
    assert "JUPYTER_NO_CONFIG=1" in err
    assert "http" not in out


def test_a_port_that_is_taken_is_told_from_a_failed_study(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command("lab", "--no-browser", "--port", taken.getsockname()[1])
    assert done.returncode == 4
    assert "is not available" in done.stderr
    assert "try another" in done.stderr
    assert done.stdout == ""


def test_a_port_lost_to_a_server_that_starts_at_once_is_told_from_a_failed_study(tmp_path):
    (tmp_path / "first.py").write_text(
        "import socket\n"
        "from jupyter_server.serverapp import ServerApp\n"
        "from workbench.__main__ import main\n"
        "find, taken = ServerApp._find_http_port, []\n"
        "def lose(self):\n"
        "    find(self)\n"
        "    taken.append(socket.create_server(('127.0.0.1', self.port)))\n"
        "ServerApp._find_http_port = lose\n"
        "main()"
    )
    started = [sys.executable, "first.py", "lab", "--no-browser"]
    done = subprocess.run(started, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4, done.stderr
    assert "is already in use" in done.stderr
    assert "try another" in done.stderr
    assert done.stdout == ""
