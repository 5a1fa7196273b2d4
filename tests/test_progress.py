"""The progress bar shows where somebody watches, and nowhere else."""

import io
import sys

import pytest

from zecon_lite import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shell(monkeypatch):
    """A plain shell outside CI: no notebook kernel in the process."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


def test_a_terminal_gets_a_bar_after_two_seconds(shell, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.bar(3, "steps") as bar:
        assert not bar.disable and bar.delay == 2 and bar.total == 3
        bar.update()
    assert bar.n == 1 and sys.stderr.getvalue().strip() == ""    # quick work shows nothing


def test_a_notebook_gets_a_bar(shell, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert not progress.bar(3, "steps").disable


def test_a_file_and_ci_get_none(shell, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress.bar(3, "steps").disable
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("CI", "true")
    assert progress.bar(3, "steps").disable


def test_bars_inside_the_only_bar_stay_quiet(shell, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.only_bar(3, "photographs") as outer:
        assert not outer.disable and progress.bar(3, "steps").disable
    assert not progress.bar(3, "steps").disable
