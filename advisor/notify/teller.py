"""Tells in the background what a desk decides: a thread that looks, and one for each channel that sends.

``Couriers`` send; the watcher has them, too. A ``Teller`` is what a training's own process, ``advisor check`` and
``optimize`` have: it looks when something was found, and every ``LOOK_EVERY_S`` seconds as long as the process lives,
at the experiments that this process has to do with. What is told, and to whom, is the desk's business, and all of it
is in the store; so what a process leaves undone at its end is done by the next one.

Invariant: nobody waits for a channel but whoever asks for ``drain`` or ``close``, and that no longer than they say.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from advisor.notify.channels import Channel
from advisor.notify.desk import Desk
from storage.errors import StorageError
from storage.store import RunStore

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 30.0
"""Between two looks when nothing is found: what waited for its group, or has held for a minute, is told then."""
RETRY_DELIVERY_S: Final = 1.0
"""Between two looks of a sending thread at what waits; a channel that failed is left alone for longer by the desk."""
DRAIN_S: Final = 5.0
"""How long a process that ends waits for its messages at most; what is not sent by then is kept in the store."""
LOOKS_AT_END: Final = 3
"""A message that another process overtook says nothing; whoever is about to end looks again."""
BUSY_S: Final = 0.05
"""Between two tries of a process that ends, while another one sends by the same channel."""


@dataclass(slots=True)
class _Request:
    """What a thread is asked for: to look, to hurry until a time, or to end."""

    until: float | None = None
    ends: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    fine: bool = False


class _Worker(abc.ABC):
    """A thread that does something when it is asked to, and now and then unasked."""

    def __init__(self, name: str) -> None:
        self.stopped = threading.Event()
        self._asked: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, request: _Request) -> None:
        self._asked.put(request)

    def end(self) -> None:
        self.stopped.set()
        self.ask(_Request(ends=True))

    def join(self, within_s: float) -> None:
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(max(within_s, 0.0))  # one that hangs ends with the process

    def _run(self) -> None:
        requests: list[_Request] = []
        while not any(request.ends for request in requests):
            fine = self._work(max((r.until for r in requests if r.until is not None), default=None))
            for request in requests:
                request.fine = fine
                request.done.set()
            requests = self._requests()

    def _requests(self) -> list[_Request]:
        requests: list[_Request] = []
        with contextlib.suppress(queue.Empty):
            requests.append(self._asked.get(timeout=self._pause_s()))
            while True:
                requests.append(self._asked.get_nowait())
        return requests

    @abc.abstractmethod
    def _work(self, until: float | None) -> bool:
        """Do it, in a hurry where there is a time until which somebody waits; return whether nothing is left to do."""

    def _pause_s(self) -> float:
        return LOOK_EVERY_S


class _Courier(_Worker):
    """Sends what waits for one channel."""

    def __init__(self, channel: Channel, desk: Callable[[], Desk | None]) -> None:
        super().__init__(f"notify-{channel.id}")
        self._channel, self._desk = channel, desk

    def _work(self, until: float | None) -> bool:
        desk = self._desk()
        if desk is None:
            return True
        hurries = until is not None
        try:
            while True:
                desk.deliver(self._channel, stop=lambda: self._is_late(until), hurries=hurries)
                if until is None or desk.next_message(self._channel) is None or self._is_late(until):
                    return not desk.n_waiting(self._channel)
                hurries = False  # once is enough
                time.sleep(BUSY_S)  # another process sends by this channel, and may end without having seen ours
        except StorageError as error:
            log.debug("%s", error)  # whoever looks says it
        except Exception:  # a thread's edge: other channels, and later messages, go on
            log.exception("messages for %s could not be delivered; it is tried again", self._channel.describe())
        return False

    def _is_late(self, until: float | None) -> bool:
        return self.stopped.is_set() or (until is not None and time.monotonic() > until)

    def _pause_s(self) -> float:
        desk = self._desk()
        return RETRY_DELIVERY_S if desk is not None and desk.n_waiting(self._channel) else LOOK_EVERY_S


class Couriers:
    """A thread for each channel, that sends what a desk has written down for it.

    Parameters
    ----------
    channels
        Those of the desk.
    desk
        Returns it; None as long as there is none.
    """

    def __init__(self, channels: Sequence[Channel], desk: Callable[[], Desk | None]) -> None:
        self._couriers = [_Courier(channel, desk) for channel in channels]

    def start(self) -> None:
        """Start the threads."""
        for courier in self._couriers:
            courier.start()

    def wake(self) -> None:
        """Have them look at what waits, now."""
        for courier in self._couriers:
            courier.ask(_Request())

    def drain(self, within_s: float) -> bool:
        """Wait until what waits is sent, each channel being tried once more; return whether that happened in time."""
        until = time.monotonic() + within_s
        requests = [_Request(until=until) for _ in self._couriers]
        for courier, request in zip(self._couriers, requests, strict=True):
            courier.ask(request)
        in_time = [_wait(request, until) for request in requests]
        return all(in_time)

    def stop(self, within_s: float) -> None:
        """End the threads, after the message that each is sending."""
        until = time.monotonic() + within_s
        for courier in self._couriers:
            courier.end()
        for courier in self._couriers:
            courier.join(until - time.monotonic())


class Teller(_Worker):
    """Tells what is wrong with the experiments that a process works on. Threads may share it; close it at exit.

    Parameters
    ----------
    store
        Returns the store, once it is open; may take long, or raise ``StorageError``.
    channels
        Where messages go.
    desk
        Makes the desk, given the store, the channels and a set of experiments that grows.
    is_watched
        Whether somebody else is known to tell a channel (its id) of all experiments: then what waits for its group
        when this process ends is left to him.
    """

    def __init__(
        self,
        store: Callable[[], RunStore],
        channels: Sequence[Channel],
        *,
        desk: Callable[[RunStore, Sequence[Channel], set[str]], Desk],
        is_watched: Callable[[str], bool] = lambda _: False,
    ) -> None:
        super().__init__("notify-look")
        self._store, self._make_desk, self._is_watched = store, desk, is_watched
        self._channels = list({channel.id: channel for channel in channels}.values())
        self._couriers = Couriers(self._channels, lambda: self._desk)
        self._experiments: set[str] = set()
        self._desk: Desk | None = None
        self._pid = os.getpid()

    def start(self) -> None:
        """Start the threads now: from Python 3.12 on none can be started once the interpreter has begun to end."""
        super().start()
        self._couriers.start()

    def tell(self, experiment: str) -> None:
        """Speak of an experiment from now on, and look soon; returns at once."""
        self._experiments.add(experiment)
        self.ask(_Request())

    def drain(self, within_s: float = DRAIN_S) -> bool:
        """Tell now what would wait for more runs of its group, as far as nobody else may tell it later, and wait.

        Returns
        -------
        bool
            Whether every channel has everything; what is left is tried by whoever opens the store next.
        """
        if os.getpid() != self._pid or self.stopped.is_set():  # a forked child has none of the threads
            return True
        until = time.monotonic() + within_s
        request = _Request(until=until)
        self.ask(request)
        return _wait(request, until) and self._couriers.drain(until - time.monotonic())

    def close(self, within_s: float = DRAIN_S) -> bool:
        """Drain, then stop; closing twice is fine."""
        until = time.monotonic() + within_s
        drained = self.drain(within_s)
        if os.getpid() == self._pid:
            self.end()
            self.join(until - time.monotonic())
            self._couriers.stop(until - time.monotonic())
        return drained

    # -- inner workings

    def _work(self, until: float | None) -> bool:
        if not self._experiments:
            return True
        leaves = until is not None
        leaving = [channel.id for channel in self._channels if leaves and not self._is_watched(channel.id)]
        try:
            desk = self._desk_at_last()
            for _ in range(LOOKS_AT_END if leaves else 1):
                if not desk.look(leaving=leaving).n_due:
                    break
            self._couriers.wake()
            return True
        except StorageError as error:
            log.debug("%s", error)  # the delivering thread of the run says it
        except Exception:  # a thread's edge: the training goes on, and what was found is in the store
            log.exception("what was found could not be told; it is tried again")
        return False

    def _desk_at_last(self) -> Desk:
        store = self._store()
        if self._desk is None:
            self._desk = self._make_desk(store, self._channels, self._experiments)
        return self._desk


def _wait(request: _Request, until: float) -> bool:
    return request.done.wait(max(until - time.monotonic(), 0.0)) and request.fine
