"""Downloads from a server that breaks off, sends something else, or cannot resume; licences are accepted once."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from hbcoop_dist.cli import model_commands as command
from hbcoop_dist.models import CheckpointError, ModelCard, ModelError, card, registry
from hbcoop_dist.models.checkpoints import accept, accepted, fetch, find, sha256_of

CONTENT = bytes(range(256)) * 4096


@dataclass
class Server:
    """What it sends, and what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    breaks_after: int | None = None
    ranges: bool = True
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.asked.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            body = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if state.breaks_after is None else body[: state.breaks_after])

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{httpd.server_port}/x.model"
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def model(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setenv("HBCOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", str(tmp_path / "mine"))
    monkeypatch.delenv("HBCOOP_OFFLINE", raising=False)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return card("toy").with_fields(name="public", file="x.model", sha256=sha256, url=server.url, restricted=True)


def test_a_checkpoint_is_fetched_once_and_found_from_then_on(model: ModelCard, server: Server) -> None:
    seen: list[tuple[int, int]] = []
    found = fetch(model, lambda here, total: seen.append((here, total)))
    assert found.path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(model) == find(model) == found
    assert len(server.asked) == 1
    assert {path.name for path in found.path.parent.iterdir()} <= {"x.model", "x.model.lock"}


@pytest.mark.parametrize("ranges", [True, False], ids=["resumes", "starts again"])
def test_what_broke_off_goes_on(model: ModelCard, server: Server, ranges: bool) -> None:
    server.breaks_after, server.ranges = 300_000, ranges
    with pytest.raises(CheckpointError, match="the same command resumes the download"):
        fetch(model)
    with pytest.raises(CheckpointError, match="found none"):
        find(model)
    server.breaks_after = None
    assert fetch(model).path.read_bytes() == CONTENT
    assert server.asked[1].startswith("bytes=")


def test_what_is_not_the_checkpoint_is_not_kept(model: ModelCard, server: Server) -> None:
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(CheckpointError, match=r"public: the file from http.* is not its checkpoint: expected sha256"):
        fetch(model)
    server.content = CONTENT
    assert fetch(model).path.read_bytes() == CONTENT
    assert server.asked == ["", ""], "the wrong bytes were resumed"


def test_a_spoiled_copy_in_the_cache_is_replaced_and_one_of_the_user_s_is_not(model: ModelCard, tmp_path: Path) -> None:
    fetch(model).path.write_bytes(b"spoiled")
    assert fetch(model).path.read_bytes() == CONTENT
    mine = tmp_path / "mine" / "x.model"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="is not its checkpoint"):
        fetch(model)
    assert mine.read_bytes() == b"mine"


def test_an_archive_is_fetched_and_its_folder_kept(model: ModelCard, server: Server, tmp_path: Path) -> None:
    inside = {"zoo/resources/x/net.params": b"parameters", "zoo/resources/y/net.params": b"another model's"}
    with zipfile.ZipFile(tmp_path / "zoo.zip", "w") as archive:
        for name, content in inside.items():
            archive.writestr(name, content)
    server.content = (tmp_path / "zoo.zip").read_bytes()
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "net.params").write_bytes(b"parameters")
    zipped = model.with_fields(file="x", sha256=sha256_of(folder), options={"archive": "zoo/resources/x"})
    found = fetch(zipped)
    assert {path.name for path in found.path.iterdir()} == {"net.params"}
    assert {path.name for path in found.path.parent.iterdir()} <= {"x", "x.lock"}
    (found.path / "net.params").write_bytes(b"spoiled")
    assert (fetch(zipped).path / "net.params").read_bytes() == b"parameters"
    with pytest.raises(CheckpointError, match="expected folder zoo/resources/z"):
        fetch(zipped.with_fields(file="z", options={"archive": "zoo/resources/z"}))
    wrong = zipped.with_fields(file="y", options={"archive": "zoo/resources/y"})
    with pytest.raises(CheckpointError, match="is not its checkpoint"):
        fetch(wrong)
    assert not (found.path.parent / "y").exists()
    server.content = CONTENT
    with pytest.raises(CheckpointError, match="expected a zip archive"):
        fetch(wrong)


def test_what_has_no_published_hash_is_held_to_what_came(model: ModelCard) -> None:
    unknown = model.with_fields(sha256=None)
    found = fetch(unknown)
    found.path.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match="has changed since it was fetched"):
        find(unknown)
    assert fetch(unknown).path.read_bytes() == CONTENT
    with pytest.raises(CheckpointError, match="expected a public address and a hash"):
        fetch(unknown.with_fields(file="z.model", pickled=True))


def test_offline_means_offline(model: ModelCard, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HBCOOP_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="HBCOOP_OFFLINE set"):
        fetch(model)
    assert server.asked == []


def test_two_at_once_download_once(model: ModelCard, server: Server) -> None:
    threads = [threading.Thread(target=fetch, args=(model,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert find(model).path.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_restricting_licence_is_accepted_once(model: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "card", lambda name: model)
    asked: list[str] = []

    def no(text: str) -> bool:
        asked.append(text)
        return False

    with pytest.raises(ModelError, match="licence was not accepted, nothing was fetched"):
        command.fetch(["public"], False, Console(quiet=True), no)
    assert not accepted(model)
    command.fetch(["public"], False, Console(quiet=True), lambda _: True)
    command.fetch(["public"], False, Console(quiet=True), no)
    assert len(asked) == 1
    accept(model.with_fields(licence="another"))
    assert accepted(model)
    assert accepted(model.with_fields(licence="another"))


def test_acceptances_are_plain_data(model: ModelCard, tmp_path: Path) -> None:
    accept(model)
    assert list(json.loads((tmp_path / "cache" / "accepted-licences.json").read_text())) == [model.about.licence]
