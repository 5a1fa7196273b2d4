"""A run in a thread of its own, which tells each step and can be told to stop."""

from __future__ import annotations

import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from torch.utils.hooks import RemovableHandle

from ..progress import quiet
from ..state import Step
from ..stylize import Result
from .settings import Settings


class Stopped(Exception):
    """Raised between two steps of a run that shall end early, on its way towards noise too."""


class Job(threading.Thread):
    """A run that has been begun by `start`, as of any thread.

    A kernel reads no messages while it runs a cell or a callback, so a click on "Stop" would be heard when all is over,
    and asyncio would not help: a step is one long call that gives nothing back in between. A thread leaves the kernel
    free, in JupyterLab as in Colab, and a flag between the steps is all that stopping needs.

    on_step: called with the job and each `Step`; on_end: with the job, once, however it ended; both in the thread.
    done, total: steps, of the present attempt where the recipe begins again. result: None unless the run came to its
    end. error: what ended it otherwise, `Stopped` or another exception. notes: the warnings, as text.
    Raises ValueError for settings that make no recipe.
    """

    def __init__(
        self, settings: Settings, on_step: Callable[[Job, Step], None], on_end: Callable[[Job], None]
    ) -> None:
        super().__init__(daemon=True)    # nobody who closes a notebook wants to wait for a picture
        self.settings, self.on_step, self.on_end = settings, on_step, on_end
        self.done, self.total = 0, len(settings.chosen.positions)
        self.result: Result | None = None
        self.error: Exception | None = None
        self.notes: list[str] = []
        self._stopping = threading.Event()
        self._times: list[float] = []

    def stop(self) -> None:
        """Ask the run to end; it does so after the step that it is at, also on the way towards noise."""
        self._stopping.set()

    def run(self) -> None:
        """What the thread does."""
        try:
            with quiet(), _noting(self.notes), self._heeding():
                self.result = self.settings.run(self._step)
        except Exception as error:    # out of a thread an exception reaches nobody
            traceback.clear_frames(error.__traceback__)    # they hold the graph, and this job: neither would be freed
            self.error = error
        self.on_end(self)

    @property
    def seconds_left(self) -> float | None:
        """How long the other steps will take if they take as long as those before; None before the second step."""
        if len(self._times) < 2:
            return None
        return (self._times[-1] - self._times[0]) / (len(self._times) - 1) * (self.total - self.done)

    def _heeding(self) -> RemovableHandle:
        """While this is open, every pass of the UNet asks first whether to stop: the way towards noise tells no step.

        Only in this thread: elsewhere the same network may be at work for others.
        """

        def ask(*_: object) -> None:
            if threading.current_thread() is self:
                self._heed()

        return self.settings.models.denoiser.unet.register_forward_pre_hook(ask)

    def _heed(self) -> None:
        if self._stopping.is_set():
            raise Stopped

    def _step(self, step: Step) -> None:
        self._heed()
        goes_on = self.done < self.total and self.settings.chosen.positions[self.done] == step.i
        self.done = self.done + 1 if goes_on else 1    # else the recipe has begun again
        self._times.append(time.monotonic())
        self.on_step(self, step)


@contextmanager
def _noting(notes: list[str]) -> Iterator[None]:
    """A user's warnings become notes; those of other threads are shown as ever."""
    here, show = threading.current_thread(), warnings.showwarning

    def note(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if threading.current_thread() is here and issubclass(category, UserWarning):
            notes.append(str(message))
        else:
            show(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = note
        yield
