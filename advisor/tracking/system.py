"""What the machine does while a run trains: processor, memory, disk, network, GPUs, sampled beside the training.

A thread of its own asks the system every 15 seconds and adds the figures to the run as curves ``system/…``, with steps
in seconds since the run's start. They touch neither the run's own steps nor its last values, and whatever looks for
trouble or writes documents leaves them out (``storage.curves.of_training``): a processor at 100% is no loss.

On by default, because it was measured to cost next to nothing: a sample takes 0.33 ms of processor time, at 15 s 2 in
100,000 of one core. 200,000 calls of ``log()`` (evals/log_latency.py, 2 shared cores) took 3.5 µs (p50) and 9.9 µs
(p99) without, and with a sample every 0.2 s, 75 times as often, 3.5 µs and 7.6 µs. The curves of an hour are 240 points
each. A run that is shorter than two intervals has none. The setting ``system_metrics`` (``ADVISOR_SYSTEM_METRICS``)
gives another interval in seconds, or ``off``.

GPUs are asked through NVML where the package ``nvidia-ml-py`` is installed. Only a stand-in of NVML was tried.

Invariant: the training never waits for a sample, and no trouble of sampling reaches it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun

log = logging.getLogger(__name__)

GIB: Final = 2**30
MIB: Final = 2**20
GPUS_AT_MOST: Final = 16
"""GPUs of one machine that are recorded, four curves each."""
TROUBLES_AT_MOST: Final = 3
"""Samples that may fail one after another before the machine is left alone."""

Sample = dict[str, float]


class Sampler:
    """The thread that samples for one run, until the run ends.

    Parameters
    ----------
    run
        Gets the samples.
    every_s
        Seconds between two samples.
    machine
        What is asked; the machine that this runs on by default.
    """

    def __init__(self, run: LiveRun, every_s: float, machine: Callable[[], Sample] | None = None) -> None:
        self._run, self._every_s = run, every_s
        self._machine = machine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name=f"advisor-system-{run.id[:8]}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no further sample; returns at once."""
        self._stop.set()

    def _sample(self) -> None:
        n_failed = 0
        began = time.perf_counter()
        machine = self._machine
        while not self._stop.wait(self._every_s):
            try:
                if machine is None:
                    machine = Machine().sample
                    continue  # what is a rate needs a first look
                values = machine()
                if values and not self._stop.is_set():
                    self._run._log_aside(values, int(time.perf_counter() - began))
                n_failed = 0
            except Exception as error:  # noqa: BLE001  # a thread's edge: the training goes on, whatever the machine says
                n_failed += 1
                log.debug("the machine was not sampled for run %s: %r", self._run.id, error)
                if n_failed >= TROUBLES_AT_MOST:
                    log.info("the machine is no longer sampled for run %s: %r", self._run.id, error)
                    return


class Machine:
    """The machine and this process, asked for their figures since the last time."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first answer of each is without meaning
        psutil.cpu_percent()
        self._at = time.perf_counter()
        self._moved = self._counters()
        self._gpus = Gpus()

    def sample(self) -> Sample:
        """Return figures by name; what the system does not tell is left out."""
        psutil = self._psutil
        memory = psutil.virtual_memory()
        out = {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_percent": memory.percent,
            "system/memory_available_gib": memory.available / GIB,
        }
        with self._process.oneshot():
            out["system/process_cpu_percent"] = self._process.cpu_percent()  # of one core: 400 is four of them
            out["system/process_memory_gib"] = self._process.memory_info().rss / GIB
            out["system/process_threads"] = self._process.num_threads()
        now, moved = time.perf_counter(), self._counters()
        for name, before in self._moved.items():
            if name in moved:
                out[name] = (moved[name] - before) / MIB / max(now - self._at, 1e-9)
        self._at, self._moved = now, moved
        out |= self._gpus.sample()
        return {name: float(value) for name, value in out.items()}

    def _counters(self) -> Mapping[str, int]:
        """Return bytes moved since the machine started; containers and some systems tell none."""
        out: dict[str, int] = {}
        try:
            disk = self._psutil.disk_io_counters()
            if disk is not None:
                out["system/disk_read_mib_per_s"] = disk.read_bytes
                out["system/disk_write_mib_per_s"] = disk.write_bytes
            network = self._psutil.net_io_counters()
            if network is not None:
                out["system/network_sent_mib_per_s"] = network.bytes_sent
                out["system/network_received_mib_per_s"] = network.bytes_recv
        except (OSError, RuntimeError, NotImplementedError) as error:
            log.debug("no counters: %r", error)
        return out


class Gpus:
    """The GPUs that this process may use, by NVML; none where its package or its driver is missing."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[tuple[int, Any]] = []
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            n = min(pynvml.nvmlDeviceGetCount(), GPUS_AT_MOST)
            self._handles = [(i, pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(n) if i in visible(n)]
            self._nvml = pynvml
        except pynvml.NVMLError as error:
            log.debug("no GPUs: %r", error)

    def sample(self) -> Sample:
        """Return the figures of each GPU; what one does not tell is left out."""
        out: Sample = {}
        for i, handle in self._handles:
            for name, ask in _ASKED.items():
                try:
                    out[f"system/gpu_{i}_{name}"] = ask(self._nvml, handle)
                except self._nvml.NVMLError as error:
                    log.debug("GPU %d does not tell %s: %r", i, name, error)
        return out


_ASKED: Final[Mapping[str, Callable[[Any, Any], float]]] = {
    "percent": lambda nvml, handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
    "memory_gib": lambda nvml, handle: nvml.nvmlDeviceGetMemoryInfo(handle).used / GIB,
    "temperature_c": lambda nvml, handle: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
    "power_w": lambda nvml, handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
}


def visible(n: int) -> frozenset[int]:
    """Return the numbers of the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves; all where it says none by number."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None or not all(part.strip().isdigit() for part in named.split(",") if part.strip()):
        return frozenset(range(n))
    return frozenset(int(part) for part in named.split(",") if part.strip())
