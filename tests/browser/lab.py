"""JupyterLab as a person meets it: a project at the smoke profile, a server, a notebook on a page."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from workbench.runner.studies import resolve

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
SHOTS = ROOT / "build" / "screenshots"
PANEL = "jupyterapp.shell.currentWidget"
READY = f"""name => window.jupyterapp && {PANEL}?.context?.path.endsWith(name)
    && {PANEL}.sessionContext?.session?.kernel?.status === 'idle'"""
# What a figure draws: curves, markers, images and, because an axis may move under them, the ticks.
DRAWN = """el => [...el.querySelectorAll(
    '.js-plotly-plot :is(.mlayer :is(path, image, text), .xtick text, .ytick text)')
].map(n => [n.textContent, ...['d', 'transform', 'href'].map(name => n.getAttribute(name))].join()).join('\\n')"""
SETTLED = f"""async el => {{
    for (let last = null, left = 100; left; left--) {{
        const now = ({DRAWN})(el);
        if (now && now === last) return now;
        last = now;
        await new Promise(done => setTimeout(done, 200));
    }}
    return null;
}}"""

FAINT = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
# Texts of a figure that lie over one another or leave it, and titles of axes that lie in a panel.
CROWDED = """el => {
    const panels = Object.values(el._fullLayout._plots ?? {});
    const page = el.getBoundingClientRect(), found = [];
    const texts = [...el.querySelectorAll('.main-svg text')].filter(t => t.textContent && t.checkVisibility());
    const boxes = texts.map(t => t.getBoundingClientRect());
    texts.forEach((one, i) => {
        const a = boxes[i];
        if (a.left < page.left - 1 || a.right > page.right + 1 || a.top < page.top - 1 || a.bottom > page.bottom + 1)
            found.push(`${one.textContent} leaves the figure`);
        if (/^[xy]\\d*title$/.test(one.getAttribute('class')) && panels.some(({xaxis: x, yaxis: y}) =>
            Math.min(a.right - page.left, x._offset + x._length) - Math.max(a.left - page.left, x._offset) > 3 &&
            Math.min(a.bottom - page.top, y._offset + y._length) - Math.max(a.top - page.top, y._offset) > 3))
            found.push(`${one.textContent} lies in a panel`);
        texts.slice(i + 1).forEach((other, j) => {
            const b = boxes[i + 1 + j];
            const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (wide > 3 && high > 3) found.push(`${one.textContent} | ${other.textContent}`);
        });
    });
    return found;
}"""


def project(folder: Path) -> Path:
    """Copy the notebooks with what stands beside them, each with the values of its smoke profile injected."""
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=ignored)
    (folder / "pyproject.toml").touch()
    for path in (folder / "notebooks").rglob("*.ipynb"):
        values = resolve(path, profile="smoke", file=None, assignments=[])
        nbformat.write(parameterize_notebook(load_notebook_node(str(path)), values), path)
    return folder


@contextlib.contextmanager
def serve(folder: Path, *arguments: str) -> Iterator[str]:
    """Run `workbench lab` in a project as somebody who has never used Jupyter; yield the address it prints."""
    own = {f"JUPYTER_{name}_DIR": folder / name.lower() for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"HOME": folder / "home", "IPYTHONDIR": folder / "ipython"}
    for path in own.values():
        path.mkdir()
    (own["JUPYTER_CONFIG_DIR"] / "jupyter_lab_config.py").write_text("c.LabApp.expose_app_in_browser = True\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "WORKBENCH_"))}
    with socket.create_server(("127.0.0.1", 0)) as free:  # two servers that start at once both take the first free port
        port = free.getsockname()[1]
    with (folder / "lab.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "lab", *arguments, "--no-browser", "--port", str(port)],
            cwd=folder,
            env=clean | {name: str(path) for name, path in own.items()} | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            address = next((line.strip() for line in process.stdout if line.startswith("http")), None)
            assert address, Path(log.name).read_text()
            yield address
            process.send_signal(signal.SIGINT)
            process.wait(30)
        finally:
            process.kill()
            process.communicate()


class Notebook:
    """One notebook on one page, driven through what JupyterLab shows."""

    def __init__(self, seen, address: str, path: Path) -> None:
        self.seen, self.page, self.path, self.name = seen, seen.page, path, "-".join(path.with_suffix("").parts)
        base, token = re.fullmatch(r"(http://[^/]+)/.*\?token=(\w+)", address).groups()
        self.url = f"{base}/lab/tree/notebooks/{path.as_posix()}?token={token}"

    def open(self, *, afresh: bool) -> None:
        """Go to the notebook and wait for its kernel; not afresh: as Lab keeps its workspace."""
        self.page.goto(self.url + "&reset" * afresh)
        self.wait()
        self.page.evaluate(f"{PANEL}.content.widgets.forEach(cell => {{ cell.node.dataset.id = cell.model.id; }})")

    def wait(self) -> None:
        """Wait until the notebook is the one in front and its kernel has nothing to do."""
        self.page.wait_for_function(READY, arg=self.path.name, timeout=300_000)

    def do(self, command: str, **arguments: object) -> object:
        """Execute a command of Lab's."""
        return self.page.evaluate("([command, its]) => jupyterapp.commands.execute(command, its)", [command, arguments])

    def ids(self) -> list[str]:
        """Return the ids of the cells in order."""
        return self.page.evaluate(f"{PANEL}.content.widgets.map(cell => cell.model.id)")

    def show(self, cell: str) -> None:
        """Make a cell the active one, in command mode, and bring it into view."""
        self.page.evaluate(
            f"""async id => {{
                const book = {PANEL}.content;
                book.activeCellIndex = book.widgets.findIndex(cell => cell.model.id === id);
                book.deselectAll();
                book.mode = 'command';
                await book.scrollToItem(book.activeCellIndex, 'start');
                book.activeCell.node.focus();
            }}""",
            cell,
        )

    def run(self, until: str | None = None) -> list[str]:
        """Run all cells, or those above one, to their end; return the errors."""
        if until:
            self.show(until)
        self.do("notebook:run-all-above" if until else "notebook:run-all-cells")
        self.wait()
        return self.page.evaluate(
            f"""{PANEL}.content.widgets.filter(cell => cell.model.type === 'code').flatMap(
                cell => cell.model.outputs.toJSON().filter(out => out.output_type === 'error').map(
                    out => `${{cell.model.id}}: ${{out.ename}}: ${{out.evalue}}`))"""
        )

    def output(self, name: str):
        """Return a cell's output, the cell scrolled into view."""
        self.show(name)
        return self.page.locator(f".jp-Notebook .jp-Cell[data-id='{name}'] .jp-OutputArea-output")

    def until(self, condition: str, locator, *more: object) -> None:
        """Wait until a condition holds of an element."""
        self.page.wait_for_function(condition, arg=[locator.element_handle(), *more])

    def figure(self, name: str):
        """Return a cell's output, its figure drawn and at rest."""
        output = self.output(name)
        output.locator(".js-plotly-plot .main-svg").first.wait_for()
        assert output.evaluate(SETTLED)
        return output

    def drawn(self, output) -> str:
        """Return what the figure of an output draws."""
        return output.evaluate(DRAWN)

    def changed(self, output, before: str, *, rest: bool = True) -> str:
        """Wait until a figure draws something else and, mostly, for its rest; return that."""
        self.until(f"([el, before]) => ({DRAWN})(el) !== before", output, before)
        return output.evaluate(SETTLED if rest else DRAWN)

    def ask(self, expression: str, before: str = "") -> str:
        """Evaluate an expression in the kernel and return it as text.

        What the kernel sent before has then reached the page.
        """
        return self.page.evaluate(
            f"""async ([code, expression]) => {{
                const asked = {{ code, silent: false, store_history: false, user_expressions: {{ it: expression }} }};
                const reply = await {PANEL}.sessionContext.session.kernel.requestExecute(asked).done;
                const it = reply.content.user_expressions?.it ?? reply.content;
                await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
                return it.data?.['text/plain'] ?? `${{it.ename}}: ${{it.evalue}}`;
            }}""",
            [before, expression],
        )

    def shut_down(self) -> None:
        """End the kernel and close the page."""
        self.page.evaluate(f"{PANEL}.sessionContext.shutdown()")
        self.page.context.close()

    def shoot(self, step: str) -> None:
        """Keep a picture."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{self.name}-{step}.png")
