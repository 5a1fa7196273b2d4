"""Kernels that the tests start reach no network, so that a notebook which asks for it fails on every machine."""

from __future__ import annotations

import re
import subprocess
import sys

import miniature
from conftest import ROOT
from test_execute import notebook

sys.path.insert(0, str(ROOT / "book/scripts"))
import execute

# Addresses and names that are kept for examples: nobody has them.
REFUSED = """
import socket, urllib.request
def refusal(ask):
    try:
        ask()
    except OSError as error:
        return str(error)
for name, ask in {
    "192.0.2.1": lambda: socket.socket().connect(("192.0.2.1", 80)),
    "192.0.2.2": lambda: socket.socket().connect_ex(("192.0.2.2", 80)),
    "2001:db8::1": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect(("2001:db8::1", 80)),
    "somewhere.invalid": lambda: socket.getaddrinfo("somewhere.invalid", 80),
    "elsewhere.invalid": lambda: urllib.request.urlopen("http://elsewhere.invalid/"),
}.items():
    assert f"asked the network for {name}; it must" in str(refusal(ask)), (name, refusal(ask))
"""
NEAR = """
import os, socket, tempfile
for family, address in [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, tempfile.mktemp())]:
    with socket.socket(family) as server, socket.socket(family) as one, socket.socket(family) as other:
        server.bind(address)
        server.listen()
        one.connect(server.getsockname())
        assert other.connect_ex(server.getsockname()) == 0
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(("localhost", server.getsockname()[1])).close()
assert not {"_stay_here", "ipaddress"} & set(globals()), "the notebook finds names that it did not make"
"""


def run(folder, code):
    return execute.papermill(notebook(folder / "one.ipynb", code), folder / "ran.ipynb", "tiny")[0]


def test_a_kernel_reaches_its_own_machine_and_no_other(tmp_path):
    assert run(tmp_path, NEAR + REFUSED) is None


def test_nbval_starts_kernels_alike():
    told = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in told.splitlines() if "-m pytest tests notebooks" in line)
    assert re.search(r'IPYTHONDIR="([^"]+)"', line)[1] == str(execute.OFFLINE)


def test_a_notebook_that_asks_the_network_fails(tmp_path):
    failure = run(tmp_path, "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=5)")
    assert "asked the network for 192.0.2.1; it must do without one" in failure


def test_runs_with_networks_in_miniature_reach_none_either(tmp_path):
    (tmp_path / "miniature.py").write_text("def start():\n    pass")    # what follows the guard is not wanted here
    command = [sys.executable, "-c", miniature.START + REFUSED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
