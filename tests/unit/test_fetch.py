"""Fetching: the real code path against a package index on this machine, with every way in which it can go wrong."""

import errno
import hashlib
import io
import json
import os
import stat
import sys
import tarfile
import threading
import types
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from searchtune import stage
from searchtune.errors import FetchError
from searchtune.files import read_json
from searchtune.registry import download as downloading
from searchtune.registry import fetch, hub, irds, unpack
from searchtune.registry.settings import pip_settings, redacted

WHEEL = "tiny_pack-1.0-py3-none-any.whl"
TEXT = {"tiny_pack/data/a.json": b'{"a": 1}' * 5000, "tiny_pack/data/b.txt": b"b\n", "tiny_pack/code.py": b"boom()"}


def zipped(members, links=()):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, data in members.items():
            pack.writestr(name, data)
        for name in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            pack.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def tarred(members, links=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as pack:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            pack.addfile(info, io.BytesIO(data))
        for name, kind in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../secret"
            pack.addfile(info)
    return buffer.getvalue()


class Index(ThreadingHTTPServer):
    """A simple index (PEP 503) and its files. ``cut`` is the number of bytes after which answers break off."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.ranges, self.requests, self.sums = {}, None, True, [], {}
        self.url = f"http://user:secret@127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        if self.path.startswith("/simple/"):
            return self.page()
        data = server.files.get(self.path.rsplit("/", 1)[-1])
        if data is None:
            return self.send_error(404)
        start = int(self.headers["Range"][6:-1]) if self.headers.get("Range") and server.ranges else 0
        if start and start >= len(data):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data) if server.cut is None else min(len(data), start + server.cut)
        self.wfile.write(data[start:end])
        return None

    def page(self):
        if self.path != "/simple/tiny-pack/":
            return self.send_error(404)
        links = "".join(
            f'<a href="/files/{name}#sha256={self.server.sums.get(name, "")}">{name}</a>' for name in self.server.files
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
        return None


@pytest.fixture
def index(monkeypatch, tmp_path):
    """Serve an index on this machine and make it pip's only one."""
    server = Index()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


def part(data, archive=WHEEL, members=("tiny_pack/data/*",), **changed):
    found = {
        "archive": archive,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "members": list(members),
    }
    return found | changed


def spec(tmp_path, *parts, source="pypi", **params):
    return {
        "stage": "fetch.artefact",
        "inputs": {},
        "outputs": {"raw": str(tmp_path / "resources/raw/tiny-pack-1.0")},
        "threads": 1,
        "params": {"artefact": "tiny-pack-1.0", "kind": "dataset", "source": source, "name": "tiny-pack",
                   "version": "1.0", "parts": list(parts), "licences": ["CC0-1.0"], "canary": ["mark"],
                   "pause": 0.0} | params,
    }  # fmt: skip


def tree(tmp_path):
    root = tmp_path / "resources/raw/tiny-pack-1.0"
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def refused(tmp_path, job, match):
    """The job fails with this message and leaves nothing below resources/raw."""
    with pytest.raises(FetchError, match=match) as caught:
        stage.run_job(job)
    raw = tmp_path / "resources/raw"
    assert [p.name for p in raw.iterdir()] == []
    return str(caught.value)


# --- the way it should go ---------------------------------------------------------------------------------


def test_only_the_wanted_members_arrive(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    counts = stage.run_job(spec(tmp_path, part(data)))
    assert tree(tmp_path) == {name: text for name, text in TEXT.items() if "/data/" in name}
    assert counts["files"] == 2
    record = read_json(tmp_path / "resources/raw/tiny-pack-1.0.prov.json")
    assert record["canary"] == ["mark"] and record["licences"] == ["CC0-1.0"]
    assert (tmp_path / "resources/downloads" / WHEEL).read_bytes() == data


def test_a_kept_download_is_not_fetched_again(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    stage.run_job(spec(tmp_path, part(data)))
    index.requests.clear()
    stage.run_job(spec(tmp_path, part(data, members=["tiny_pack/data/b.txt"])))
    assert index.requests == []
    assert list(tree(tmp_path)) == ["tiny_pack/data/b.txt"]


def test_source_distribution_loses_its_top_folder(tmp_path, index):
    data = index.files["tiny-pack-1.0.tar.gz"] = tarred({f"tiny-pack-1.0/{k}": v for k, v in TEXT.items()})
    stage.run_job(spec(tmp_path, part(data, "tiny-pack-1.0.tar.gz")))
    assert sorted(tree(tmp_path)) == ["tiny_pack/data/a.json", "tiny_pack/data/b.txt"]


def test_archive_inside_an_archive(tmp_path, index):
    jar = zipped({"topics-and-qrels/topics.x.txt": b"1:q\n", "Main.class": b"code"})
    data = index.files[WHEEL] = zipped({"tiny_pack/jars/big.jar": jar})
    name = f"{WHEEL}!/tiny_pack/jars/big.jar"
    stage.run_job(spec(tmp_path, part(data, name, ["topics-and-qrels/topics.*"])))
    assert tree(tmp_path) == {"topics-and-qrels/topics.x.txt": b"1:q\n"}


def test_file_from_a_find_links_folder(tmp_path, index, monkeypatch):
    data = zipped(TEXT)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(data)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    stage.run_job(spec(tmp_path, part(data)))
    assert len(tree(tmp_path)) == 2
    assert [path for path, _ in index.requests if path.startswith("/files")] == []


def test_file_from_an_index_in_a_folder(tmp_path, index, monkeypatch):
    data = zipped(TEXT)
    page = tmp_path / "mirror/simple/tiny-pack"
    page.mkdir(parents=True)
    (page / WHEEL).write_bytes(data)
    (page / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "mirror/simple").as_uri())
    stage.run_job(spec(tmp_path, part(data)))
    assert len(tree(tmp_path)) == 2


def test_plain_file_from_an_address(tmp_path, index):
    index.files["rows.jsonl"] = b'{"a": 1}\n'
    job = spec(tmp_path, part(b'{"a": 1}\n', f"{index.url}/files/rows.jsonl", ["rows.jsonl"]), source="url")
    stage.run_job(job)
    assert tree(tmp_path) == {"rows.jsonl": b'{"a": 1}\n'}


def test_md5_where_the_publisher_states_no_other(tmp_path, index):
    index.files["rows.jsonl"] = b"x"
    good = "md5:" + hashlib.md5(b"x").hexdigest()
    stage.run_job(spec(tmp_path, part(b"x", f"{index.url}/files/rows.jsonl", sha256=good), source="url"))
    index.files["other.jsonl"] = b"y"
    job = spec(tmp_path, part(b"y", f"{index.url}/files/other.jsonl", sha256=good), source="url")
    with pytest.raises(
        FetchError, match=r"other\.jsonl is altered: sum md5:415290769594460e2e485922904f345d, expected md5"
    ):
        stage.run_job(job)


# --- broken, truncated, altered ---------------------------------------------------------------------------


def test_cut_connection_is_resumed(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    index.cut = len(data) // 3 + 1
    stage.run_job(spec(tmp_path, part(data)))
    ranges = [r for path, r in index.requests if path.startswith("/files")]
    assert ranges == [None, f"bytes={index.cut}-", f"bytes={2 * index.cut}-"]
    assert len(tree(tmp_path)) == 2


def test_an_earlier_run_is_resumed(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    downloads = tmp_path / "resources/downloads"
    downloads.mkdir(parents=True)
    (downloads / f"{WHEEL}.part").write_bytes(data[:1000])
    stage.run_job(spec(tmp_path, part(data)))
    assert [r for path, r in index.requests if path.startswith("/files")] == ["bytes=1000-"]
    assert not (downloads / f"{WHEEL}.part").exists()


def test_server_that_cannot_resume(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    index.ranges = False
    downloads = tmp_path / "resources/downloads"
    downloads.mkdir(parents=True)
    (downloads / f"{WHEEL}.part").write_bytes(b"old" * 100)
    stage.run_job(spec(tmp_path, part(data)))
    assert (downloads / WHEEL).read_bytes() == data


def test_wrong_part_of_an_earlier_run_is_replaced(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    downloads = tmp_path / "resources/downloads"
    downloads.mkdir(parents=True)
    (downloads / f"{WHEEL}.part").write_bytes(b"?" * 1000)
    stage.run_job(spec(tmp_path, part(data)))
    assert (downloads / WHEEL).read_bytes() == data


def test_connection_that_never_lasts(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    index.cut = 7
    refused(tmp_path, spec(tmp_path, part(data)), rf"{WHEEL}: the connection broke 5 times; what has come stays in")
    assert (tmp_path / "resources/downloads" / f"{WHEEL}.part").read_bytes() == data[:35]


def test_truncated_file_is_refused_by_name(tmp_path, index):
    data = zipped(TEXT)
    index.files[WHEEL] = data[:-100]
    refused(tmp_path, spec(tmp_path, part(data)), rf"{WHEEL} is truncated: {len(data) - 100:,} of {len(data):,} bytes")
    assert list((tmp_path / "resources/downloads").iterdir()) == []


def test_altered_file_is_refused_by_name(tmp_path, index):
    data = zipped(TEXT)
    index.files[WHEEL] = altered = data[:-1] + bytes([data[-1] ^ 1])
    sums = (hashlib.sha256(altered).hexdigest(), hashlib.sha256(data).hexdigest())
    refused(tmp_path, spec(tmp_path, part(data)), f"{WHEEL} is altered: sum {sums[0]}, expected {sums[1]}")
    assert list((tmp_path / "resources/downloads").iterdir()) == []


def test_larger_file_is_not_read_to_its_end(tmp_path, index, monkeypatch):
    monkeypatch.setattr(downloading, "BLOCK", 1024)
    index.files[WHEEL] = bytes(1 << 20)
    message = refused(tmp_path, spec(tmp_path, part(b"x" * 10)), f"{WHEEL} is not the registered file: ")
    assert "1,024 bytes, expected 10" in message


def test_index_that_states_another_sum_is_not_asked_for_the_file(tmp_path, index):
    index.files[WHEEL] = zipped(TEXT)
    index.sums[WHEEL] = "0" * 64
    refused(tmp_path, spec(tmp_path, part(b"other")), "offers a file of this name with sum 0000")
    assert [path for path, _ in index.requests if path.startswith("/files")] == []


def test_altered_kept_download_is_fetched_again(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    downloads = tmp_path / "resources/downloads"
    downloads.mkdir(parents=True)
    (downloads / WHEEL).write_bytes(b"?" * len(data))
    stage.run_job(spec(tmp_path, part(data)))
    assert (downloads / WHEEL).read_bytes() == data


def test_missing_file_says_who_was_asked_and_keeps_secrets(tmp_path, index):
    message = refused(tmp_path, spec(tmp_path, part(b"x")), rf"{WHEEL} \(project tiny-pack\) was not found: http://127")
    assert "has no such file" in message and "resources/downloads/" in message
    assert "secret" not in message


def test_no_such_address(tmp_path, index):
    job = spec(tmp_path, part(b"x", f"{index.url}/files/gone.jsonl"), source="url")
    assert "secret" not in refused(tmp_path, job, "gone.jsonl could not be fetched.*HTTP status 404")
    assert len(index.requests) == 1  # trying again would be of no use


def test_full_disk_is_named(tmp_path, index, monkeypatch):
    data = index.files[WHEEL] = zipped(TEXT)

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloading, "open", lambda *_: Full(), raising=False)
    refused(tmp_path, spec(tmp_path, part(data)), rf"no space left while writing .*{WHEEL}.part; free some space")


def test_file_without_a_sum_is_refused(tmp_path, index):
    job = spec(tmp_path, part(b"x", f"{index.url}/files/rows.jsonl", sha256=""), source="url")
    refused(tmp_path, job, "rows.jsonl: the registry gives no sha256")


# --- unsafe archives --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "tiny_pack/data/../../../x", "/tmp/x", "c:/x", "tiny_pack\\..\\x"])
def test_member_outside_its_folder_is_refused(tmp_path, index, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name  # ZipInfo's constructor would tidy it
        pack.writestr(info, b"evil")
        pack.writestr("tiny_pack/data/a.json", b"{}")
    data = index.files[WHEEL] = buffer.getvalue()
    message = refused(tmp_path, spec(tmp_path, part(data)), f"{WHEEL} holds the member .* leads out of its folder")
    assert repr(name) in message
    assert not (tmp_path / "x").exists() and not (tmp_path / "resources/x").exists()


@pytest.mark.parametrize("name", ["../x", "tiny-pack-1.0/../../x", "/tmp/x"])
def test_tar_member_outside_its_folder_is_refused(tmp_path, index, name):
    data = index.files["tiny-pack-1.0.tar.gz"] = tarred({name: b"evil"})
    job = spec(tmp_path, part(data, "tiny-pack-1.0.tar.gz"))
    refused(tmp_path, job, "tiny-pack-1.0.tar.gz holds the member .* leads out of its folder")


def test_wanted_link_is_refused(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT, links=["tiny_pack/data/link"])
    refused(tmp_path, spec(tmp_path, part(data)), "the member 'tiny_pack/data/link' is a link or a device")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_wanted_tar_link_or_device_is_refused(tmp_path, index, kind):
    data = index.files["tiny-pack-1.0.tar.gz"] = tarred({}, links=[("tiny-pack-1.0/tiny_pack/data/l", kind)])
    job = spec(tmp_path, part(data, "tiny-pack-1.0.tar.gz"))
    refused(tmp_path, job, "the member 'tiny_pack/data/l' is a link or a device")


def test_link_that_nobody_wants_is_left_alone(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT, links=["tiny_pack/elsewhere"])
    stage.run_job(spec(tmp_path, part(data)))
    assert sorted(tree(tmp_path)) == ["tiny_pack/data/a.json", "tiny_pack/data/b.txt"]


def test_pattern_without_a_member_is_refused(tmp_path, index):
    data = index.files[WHEEL] = zipped(TEXT)
    job = spec(tmp_path, part(data, members=["tiny_pack/data/*", "tiny_pack/gone.json"]))
    refused(tmp_path, job, f"{WHEEL} holds no member that matches 'tiny_pack/gone.json'")


def test_swelling_archive_is_refused(tmp_path, index, monkeypatch):
    monkeypatch.setattr(unpack, "SMALLEST_BOUND", 1000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("tiny_pack/data/zeros", bytes(5_000_000))
    data = index.files[WHEEL] = buffer.getvalue()
    refused(tmp_path, spec(tmp_path, part(data)), f"{WHEEL} unpacks to more than 60 times its size")


def test_damaged_archive_is_refused(tmp_path, index):
    data = index.files["tiny-pack-1.0.tar.gz"] = tarred({"tiny-pack-1.0/tiny_pack/data/a": os.urandom(9000)})[:4000]
    job = spec(tmp_path, part(data, "tiny-pack-1.0.tar.gz"))
    refused(tmp_path, job, "tiny-pack-1.0.tar.gz cannot be unpacked")


# --- the other sources ------------------------------------------------------------------------------------


def test_local_files_are_checked(tmp_path):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini/a.json").write_bytes(b"{}")
    good = part(b"{}", "mini/a.json", ["a.json"])
    stage.run_job(spec(tmp_path, good, source="local", root=str(tmp_path)))
    assert tree(tmp_path) == {"a.json": b"{}"}
    (tmp_path / "mini/a.json").write_bytes(b"[]")
    with pytest.raises(FetchError, match=r"mini/a.json is altered: .* Restore the file, or put its new sha256"):
        stage.run_job(spec(tmp_path, good, source="local", root=str(tmp_path)))


def test_licensed_unpinned_and_unknown_sources_are_refused(tmp_path):
    refused(tmp_path, spec(tmp_path, source="licensed"), "tiny-pack-1.0 is licensed and cannot be fetched; get it from")
    refused(tmp_path, spec(tmp_path, source="url", version="unpinned"), "tiny-pack-1.0 has no pinned version")
    refused(tmp_path, spec(tmp_path, source="hub", version="unpinned"), "tiny-pack has no pinned revision. Look up a")
    refused(tmp_path, spec(tmp_path, source="built"), "nothing is fetched for the source 'built'")


def test_hub_takes_safe_files_only():
    names = ["model.safetensors", "pytorch_model.bin", "config.json", "modeling.py", "tokenizer.json", "README.md"]
    assert hub.chosen(names, "model", ["*"], "o/m") == ["config.json", "model.safetensors", "tokenizer.json"]
    assert hub.chosen(["d/a.parquet", "load.py"], "dataset", ["*"], "o/d") == ["d/a.parquet"]
    assert hub.chosen(["d/a.parquet", "b.parquet"], "dataset", ["d/*"], "o/d") == ["d/a.parquet"]


def test_hub_refuses_pickled_weights():
    with pytest.raises(
        FetchError, match=r"o/m offers its weights only in a form that can run code .*pytorch_model.bin"
    ):
        hub.chosen(["pytorch_model.bin", "config.json"], "model", ["*"], "o/m")
    with pytest.raises(FetchError, match="o/m holds no file that may be fetched"):
        hub.chosen(["run.py"], "model", ["*"], "o/m")


def test_hub_snapshot_at_its_revision(tmp_path, monkeypatch):
    calls = []
    fake = types.ModuleType("huggingface_hub")
    errors = types.ModuleType("huggingface_hub.errors")
    for name in ("GatedRepoError", "HfHubHTTPError", "RepositoryNotFoundError", "RevisionNotFoundError"):
        setattr(errors, name, type(name, (OSError,), {}))

    def snapshot(name, revision, repo_type, allow_patterns, local_dir):
        calls.append((name, revision, repo_type, allow_patterns))
        (local_dir / ".cache").mkdir(parents=True)
        (local_dir / "config.json").write_text("{}")

    fake.list_repo_files = lambda name, revision, repo_type: ["config.json", "x.bin", "m.safetensors"]
    fake.snapshot_download = snapshot
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    job = spec(tmp_path, {"archive": "", "sha256": "", "bytes": 0, "members": ["*"]}, source="hub", kind="model",
               version="a" * 40)  # fmt: skip
    stage.run_job(job)
    assert calls == [("tiny-pack", "a" * 40, "model", ["config.json", "m.safetensors"])]
    assert list(tree(tmp_path)) == ["config.json"]

    def gated(*_, **__):
        raise errors.GatedRepoError("403")

    fake.list_repo_files = gated
    with pytest.raises(FetchError, match=r"tiny-pack is not open to you .*accept its terms on its page"):
        stage.run_job(job)


def test_ir_datasets_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(FetchError, match=r"the package ir_datasets is not installed.*pip install ir_datasets=="):
        irds.fetch_ir_dataset("dpr-w100", "0.6.3", tmp_path / "out")


def test_ir_dataset_becomes_a_beir_folder(tmp_path, monkeypatch):
    class Item:
        def __init__(self, **values):
            self.__dict__.update(values)

        def default_text(self):
            return " ".join(filter(None, (getattr(self, "title", ""), self.text)))

    data = types.SimpleNamespace(
        docs_iter=lambda: [Item(doc_id="d1", title="T", text="body"), Item(doc_id="d2", text="plain")],
        queries_iter=lambda: [Item(query_id="q1", text="ask")],
        qrels_iter=lambda: [Item(query_id="q1", doc_id="d1", relevance=2)],
        has_queries=lambda: True,
        has_qrels=lambda: True,
    )
    fake = types.ModuleType("ir_datasets")
    fake.__version__, fake.load = "0.6.3", lambda name: data
    monkeypatch.setitem(sys.modules, "ir_datasets", fake)
    counts = irds.fetch_ir_dataset("x", "0.6.3", tmp_path / "out")
    assert counts == {"documents": 2, "queries": 1, "judgements": 1}
    rows = [json.loads(line) for line in (tmp_path / "out/corpus.jsonl").read_text().splitlines()]
    assert rows == [{"_id": "d1", "title": "T", "text": "body"}, {"_id": "d2", "title": "", "text": "plain"}]
    assert (tmp_path / "out/qrels.tsv").read_text() == "query-id\tcorpus-id\tscore\nq1\td1\t2\n"
    with pytest.raises(FetchError, match=r"pinned to ir_datasets 0\.1, installed is 0\.6\.3"):
        irds.fetch_ir_dataset("x", "0.1", tmp_path / "other")


# --- pip's settings ---------------------------------------------------------------------------------------


def test_pip_settings_from_files_and_variables(tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text(
        "[global]\nindex-url = https://a/simple\ncert = /c.pem\n"
        "[download]\nfind-links = /one\n  /two\n[install]\nextra-index-url = https://b/simple https://c/simple\n"
    )
    env = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none"), "PIP_CONFIG_FILE": str(conf)}
    found = pip_settings(env)
    assert found.index_urls == ("https://a/simple", "https://b/simple", "https://c/simple")
    assert found.find_links == ("/one", "/two")
    assert found.cert == "/c.pem"
    over = pip_settings(env | {"PIP_INDEX_URL": "https://z/simple", "PIP_DEFAULT_TIMEOUT": "180"})
    assert over.index_urls[0] == "https://z/simple" and over.timeout == 180
    assert pip_settings(env | {"PIP_NO_INDEX": "1"}).index_urls == ()


def test_addresses_are_shown_without_secrets():
    assert redacted("https://user:pw@host:8/simple/?token=x#f") == "https://host:8/simple/"
    assert redacted("/opt/wheels") == "/opt/wheels"


def test_every_source_of_the_registry_is_known():
    from searchtune.registry.table import SOURCES

    assert set(fetch.SOURCES) == set(SOURCES) - {"built"}
