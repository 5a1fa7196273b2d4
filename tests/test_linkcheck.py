"""What asks the network can tell an address that leads somewhere from one that does not; the network is here a server
of this machine."""

from __future__ import annotations

import http.server
import threading

import pytest

from zecon_lite.weights import WeightFile

SCRIPT = "linkcheck"
LENGTH = 1000
NO_HEAD = 405


class Server(http.server.BaseHTTPRequestHandler):
    """/file is there; /shy too, but not for HEAD; /silent does not say how long it is; /page is a web page."""

    def do_HEAD(self):
        self.answer(NO_HEAD if self.path == "/shy" else 200)

    def do_GET(self):
        self.answer(206 if "Range" in self.headers else 200)

    def answer(self, code):
        self.server.asked.append((self.command, self.headers["Range"]))
        self.send_response(code if self.path in ("/file", "/shy", "/silent", "/page") else 404)
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "application/octet-stream")
        if code == 206:
            self.send_header("Content-Range", f"bytes 0-0/{LENGTH}")
        if self.path != "/silent":
            self.send_header("Content-Length", str(1 if code == 206 else LENGTH if code == 200 else 0))
        self.end_headers()
        if self.command == "GET" and code == 200:
            self.wfile.write(b" " * LENGTH)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    """The server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def there(server):
    """Its address."""
    return f"http://127.0.0.1:{server.server_port}"


def test_a_dead_link_is_told_from_a_live_one(script, there, stage, tmp_path):
    out = tmp_path / "answers"
    assert script.check(stage(f"[alive]({there}/file)", f"[dead]({there}/gone)"), out) != 0
    answers = (out / "output.txt").read_text()
    assert f"book/second.md:3: [broken] {there}/gone" in answers and f"{there}/file" not in answers
    assert script.check(stage(f"[alive]({there}/file)", f"[alive too]({there}/shy)"), out) == 0


@pytest.mark.parametrize(("path", "size", "wrong"), [
    ("file", LENGTH, None),
    ("file", None, None),
    ("shy", LENGTH, None),
    ("silent", LENGTH, None),
    ("file", LENGTH + 1, "1000 bytes, and the manifest says 1001"),
    ("shy", 1, "1000 bytes, and the manifest says 1"),
    ("page", None, "a web page in place of the file"),
    ("gone", LENGTH, "HTTP Error 404"),
])
def test_an_address_of_a_published_file_is_asked_whether_it_is_there_and_how_long(script, there, path, size, wrong):
    found = script.fault(f"{there}/{path}", size)
    assert found is None if wrong is None else found.startswith(f"{there}/{path}: {wrong}")


@pytest.mark.parametrize(("path", "asked"), [
    ("file", [("HEAD", None)]), ("shy", [("HEAD", None), ("GET", "bytes=0-0")]),
])
def test_no_file_is_fetched_to_learn_its_length(script, server, there, path, asked):
    server.asked.clear()
    script.fault(f"{there}/{path}", LENGTH)
    assert server.asked == asked


def test_nobody_at_the_address_is_a_fault_and_not_the_end(script):
    assert "refused" in script.fault("http://127.0.0.1:9/file", 1)


def test_mirrors_are_asked_too_and_a_file_without_an_address_is_passed_over(script, there):
    files = [WeightFile("one", f"{there}/file", size=LENGTH, mirrors=(f"{there}/gone", f"{there}/shy")),
             WeightFile("two", None), WeightFile("three", f"{there}/lost")]
    assert [told.split(": ")[0] for told in script.assets(files)] == [f"{there}/gone", f"{there}/lost"]


@pytest.mark.parametrize(("path", "code", "told"), [("file", 0, "where the manifest says"), ("gone", 1, "404")])
def test_the_manifest_is_what_is_asked_for(script, there, monkeypatch, capsys, path, code, told):
    monkeypatch.setattr(script, "MANIFEST", {"one": (WeightFile("one", f"{there}/{path}", size=LENGTH),)})
    assert script.main(["--assets"]) == code and told in capsys.readouterr().out
