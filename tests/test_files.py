"""Files are whole or absent."""

import json

import numpy as np
import pytest

from workbench.errors import DataError, StorageError
from workbench.files import atomic, plain, read_json, write_json, write_text


def test_an_exception_keeps_the_earlier_file_and_leaves_no_temporary(tmp_path):
    target = tmp_path / "deep" / "result.json"
    write_json(target, {"good": 1})
    with pytest.raises(OSError, match="disk full"), atomic(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise OSError("disk full")
    assert json.loads(target.read_text()) == {"good": 1}
    assert [p.name for p in target.parent.iterdir()] == ["result.json"]


def test_suffix_is_kept_so_that_numpy_writes_where_it_is_told(tmp_path):
    with atomic(tmp_path / "trial.npz") as temporary:
        np.savez(temporary, a=np.arange(3))
    assert np.load(tmp_path / "trial.npz")["a"].tolist() == [0, 1, 2]


def test_permissions_follow_the_umask(tmp_path):
    write_text(tmp_path / "atomic.txt", "a")
    (tmp_path / "direct.txt").write_text("a")
    assert (tmp_path / "atomic.txt").stat().st_mode == (tmp_path / "direct.txt").stat().st_mode


def test_json_is_standard(tmp_path):
    data = {"a": np.float32(0.5), "b": [float("nan"), -np.inf], "c": np.arange(2), "d": None, 3: True, "e": tmp_path}
    write_json(tmp_path / "x.json", data)
    expected = {"a": 0.5, "b": ["nan", "-inf"], "c": [0, 1], "d": None, "3": True, "e": str(tmp_path)}
    assert json.loads((tmp_path / "x.json").read_text()) == expected


def test_what_json_cannot_hold_is_named():
    with pytest.raises(TypeError, match="function cannot be written as JSON"):
        plain({"a": lambda: 0})


def test_half_a_surrogate_pair_survives(tmp_path):
    write_json(tmp_path / "x.json", ["\udcff", "\\", "ü"])
    assert read_json(tmp_path / "x.json") == ["\udcff", "\\", "ü"]


def test_what_the_system_refuses_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "x", tmp_path / "folder"):
        with pytest.raises(StorageError, match=f"{target} could not be written .*then resume"):
            write_text(target, "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("error", [DataError("mine"), StorageError("mine"), ValueError("mine"), KeyboardInterrupt()])
def test_errors_of_the_block_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, atomic(tmp_path / "x"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("text", [None, "", "{", "[" * 100_000, "9" * 5000])
def test_what_is_no_json_is_a_data_error(tmp_path, text):
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json must be a JSON file that is whole"):
        read_json(tmp_path / "x.json")
