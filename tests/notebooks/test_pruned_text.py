"""The text that character transformers learn: downloaded once, verified, cut into sequences."""

import hashlib
import http.server
import os
import threading
from functools import partial

import numpy as np
import pytest
import torch
from pruned import CONTEXT, TEXT, _text

from workbench.datasets.sources import PLACES, Part, Place, Source
from workbench.errors import DataError

LETTERS = np.random.default_rng(0).choice(np.frombuffer(b"abcde", np.uint8), 9000 * (CONTEXT + 1) + 7).tobytes()


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Serve a stand-in for the text; return the path it is served from."""
    (tmp_path / "served").mkdir()
    path = tmp_path / "served" / "input.txt"
    path.write_bytes(LETTERS)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("WORKBENCH_DATA", "")
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(path.parent))) as web:
        part = Part("input.txt", len(LETTERS), hashlib.sha256(LETTERS).hexdigest())
        source = Source("input.txt", (part,), (f"http://127.0.0.1:{web.server_port}/input.txt",))
        monkeypatch.setitem(PLACES, TEXT, (Place(TEXT, (source,)),))
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield path
        web.shutdown()
        thread.join()


def test_the_text_is_downloaded_once_and_cut(served):
    text = _text()
    served.unlink()
    again = _text()
    assert torch.equal(again.train.x, text.train.x)
    assert (text.n_classes, len(text.train), len(text.validation), len(text.test)) == (5, 8100, 250, 500)
    assert text.note == f"8,100 training sequences of {CONTEXT} characters of tiny-shakespeare"
    whole = torch.cat([text.train.x[0], text.train.y[0, -1:]])
    assert bytes((whole + ord("a")).tolist()) == LETTERS[: CONTEXT + 1]
    assert torch.equal(text.train.x[:, 1:], text.train.y[:, :-1])


def test_an_altered_text_is_refused(served):
    served.write_bytes(LETTERS[:-1] + b"z")
    with pytest.raises(DataError, match=r"input\.txt could not be downloaded: .*must hold input\.txt"):
        _text()


@pytest.mark.skipif(not os.environ.get("WORKBENCH_DATA"), reason="set WORKBENCH_DATA to a folder with the text")
def test_the_text_itself():
    text = _text()
    assert text.n_classes == 65
    assert text.checksum.startswith("86c4e6aa9db7c042")
    assert len(text.train) == 1_115_394 // (CONTEXT + 1) * 9 // 10
