"""Searches, run one after the other or in several processes, each of them seeded by its task and number alone."""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import optuna
from methods import METHODS, Search
from problems import benchmark, finished

from storage.records import Run


@dataclass(frozen=True)
class Cell:
    """One method on one benchmark: how many runs, how often."""

    benchmark: str
    method: str
    budget: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """One search."""

    benchmark: str
    method: str
    task: str
    group: str
    seed: int
    regret: tuple[float, ...]
    """Of the best run so far, after each run."""
    ask_s: tuple[float, ...]
    """Wall time of each ask."""


def play(where: str, method: str, task: str, seed: int, budget: int) -> Result:
    """Run one search."""
    bench = benchmark(where)
    name = bench.experiment(task).name
    ask, answer = METHODS[method](Search(bench, task, seed)), bench.answering(task)
    runs: list[Run] = []
    regrets: list[float] = []
    asks: list[float] = []
    for number in range(budget):
        began = time.perf_counter()
        params = ask(runs)
        asks.append(time.perf_counter() - began)
        params, value = answer(params)
        runs.append(finished(name, f"{method}-{seed}", number, params, value))
        regrets.append(min(bench.regret(task, value), regrets[-1] if regrets else float("inf")))
    return Result(where, method, task, bench.group(task), seed, tuple(regrets), tuple(asks))


def play_all(cells: Sequence[Cell], tasks: dict[str, Sequence[str]], jobs: int) -> Iterator[Result]:
    """Yield the result of each search, in no certain order; the searches of one task and seed share a process."""
    together = sorted({(c.benchmark, seed, task) for c in cells for task in tasks[c.benchmark] for seed in c.seeds})
    random.Random(0).shuffle(together)  # so that an interrupted evaluation has tasks of all kinds
    together.sort(key=lambda one: one[1])
    batches = [
        (where, task, seed, [(c.method, c.budget) for c in cells if c.benchmark == where and seed in c.seeds])
        for where, seed, task in together
    ]
    if jobs == 1:
        yield from _counted(map(_batch, batches), len(batches))
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_batch, batch) for batch in batches]
        try:
            yield from _counted((future.result() for future in as_completed(futures)), len(batches))
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(batch: tuple[str, str, int, list[tuple[str, int]]]) -> list[Result]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    where, task, seed, methods = batch
    return [play(where, method, task, seed, budget) for method, budget in methods]


def _counted(batches: Iterator[list[Result]], n: int) -> Iterator[Result]:
    began = time.monotonic()
    for done, results in enumerate(batches, 1):
        print(f"\r{done}/{n} searches of a task and seed, {time.monotonic() - began:.0f} s", end="", file=sys.stderr)
        yield from results
    print(file=sys.stderr)
