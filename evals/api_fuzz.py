"""Made-up requests against the JSON API: does each answer keep what its OpenAPI document promises?

    python evals/api_fuzz.py [--requests 10000] [--seed 0] [--out build/evals/api_fuzz.json]

``advisor serve`` runs as its users run it, over a copy of a store with ordinary and hostile names in it: writing,
read-only, and with a token. Requests come from schemathesis, made from the document: such as fit it, and such as do
not. Into half of those that fit, names of what is in the store are put, so that they get past "no such run"; now and
then a request is bent further: foreign headers, another method, no token. Counted are: answers by status, answers that
are not as described, 5xx, requests that fit and were refused all the same (a filter may be any text, but not any text
is a filter), answers that tell of the program's inside, the slowest, and whether a server that may not write wrote.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

import advisor
from advisor import Float, Int
from advisor.suggest.space import Space
from storage.records import CurveChunk, Event
from storage.store import open_store

TOKEN = "a-token-of-the-fuzzer-1234567890"
MODES: dict[str, tuple[str, ...]] = {"writing": (), "read-only": ("--read-only",), "token": ("--token", TOKEN)}
HOSTILE = ("vision/v2#a b", "..", "<script>alert(1)</script>", "\u202egnp.exe", "'; drop table runs; --", "n" * 3_000)
PER_ROUND = 8
"""Requests to one operation in one round."""
LEAKS = re.compile(rb"Traceback \(most|File \"/|site-packages|root:x:0|\.rs:\d+|panicked|" + TOKEN.encode())
TOO_LARGE = 32_768
"""Bytes of headers beyond which a request is refused."""
TOO_MUCH = "Invalid HTTP request received."
"""What the HTTP library says, before anything of ours, of a first line beyond 64 KiB."""
SUPPRESSED = list(HealthCheck)


@dataclass
class Counts:
    """What came of requests."""

    n: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    by_operation: dict[str, Counter[int]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)
    refused_though_it_fits: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""

    def fail(self, kind: str, what: str) -> None:
        self.failures.setdefault(kind, []).append(what[:2_000])

    @property
    def n_failed(self) -> int:
        return sum(map(len, self.failures.values()))

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.n,
            "statuses": dict(sorted(self.statuses.items())),
            "operations": {name: dict(sorted(found.items())) for name, found in sorted(self.by_operation.items())},
            "failures": {kind: {"n": len(found), "examples": found[:5]} for kind, found in self.failures.items()},
            "refused_though_it_fits": dict(self.refused_though_it_fits),
            "slowest_s": round(self.slowest_s, 2),
            "slowest": self.slowest,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/evals/api_fuzz.json"))
    args = parser.parse_args()
    found: dict[str, Any] = {}
    print(f"{'server':10} {'requests':>8} {'failed':>7} {'5xx':>4} {'2xx':>6} {'4xx':>6} {'slowest s':>9}  wrote")
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "store")
        for mode, options in MODES.items():
            store = Path(shutil.copytree(Path(folder) / "store", Path(folder) / mode))
            before = version_of(store)
            with serving(store, options, Path(folder) / f"{mode}.log") as address:
                headers = {"Authorization": f"Bearer {TOKEN}"} if mode == "token" else {}
                counts = fuzz(
                    address, args.requests // len(MODES), seed=args.seed, names=names_in(store), headers=headers
                )
            wrote = version_of(store) != before
            said = (Path(folder) / f"{mode}.log").read_text()
            if mode == "read-only" and wrote:
                counts.fail("a read-only server wrote", "")
            if "Traceback" in said or TOKEN in said.replace(f"?token={TOKEN}", "", 1):
                counts.fail("in the server's output", said[-2_000:])
            found[mode] = counts.as_json() | {"wrote": wrote}
            print_row(mode, counts, wrote)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"seed": args.seed, "servers": found}, indent=1))
    sys.exit(any(each["failures"] for each in found.values()))


def print_row(mode: str, counts: Counts, wrote: bool) -> None:
    n = {first: sum(many for status, many in counts.statuses.items() if status // 100 == first) for first in (2, 4, 5)}
    figures = f"{counts.n:>8,} {counts.n_failed:>7} {n[5]:>4} {n[2]:>6,} {n[4]:>6,} {counts.slowest_s:>9.2f}"
    print(f"{mode:10} {figures}  {'yes' if wrote else 'no'}", flush=True)
    for kind, examples in counts.failures.items():
        print(f"    {len(examples)} x {kind}")
        for each in examples[:3]:
            print("        " + each.replace("\n", "\n        ")[:1_500])


# -- the store and its server


def fill(path: Path) -> None:
    """Write a store with runs of every kind, and names that are hard to bear."""
    space = Space.of({"lr": Float(1e-4, 1, log=True), "hidden": Int(16, 512, log=True)}).to_json()
    objective = [{"metric": "val_loss", "direction": "minimize"}]
    events = [Event.new("experiment.created", "digits", objectives=objective, space=space, description="MLP on digits")]
    events.append(Event.new("experiment.created", "empty"))
    chunks = []
    for i, name in enumerate(["digits"] * 8 + list(HOSTILE)):
        run_id = f"{i:02x}" * 16
        losses = [float("nan") if i == 7 and step > 12 else 1 / (1 + step) + i / 10 for step in range(30)]
        if name != "digits":
            events.append(Event.new("experiment.created", name, objectives=objective, description=name))
        last = next((loss for loss in reversed(losses) if math.isfinite(loss)), None)
        params = (
            {"lr": 10 ** (-i / 2), "hidden": 16 << i % 5} if name == "digits" else {name: name, "inf": float("inf")}
        )
        state = "failed" if i == 3 else "running" if i == 6 else "finished"
        figures = {"val_loss": {"n": 30, "last": losses[-1], "last_finite": last}}
        events.append(
            Event.new("run.created", name, run_id, state=state, params=params, summary=figures, notes=[name * 20])
        )
        steps = list(range(30))
        chunks.append(CurveChunk(run_id, metric="val_loss", chunk=0, through=30, steps=steps, values=losses))
    store = open_store(path)
    store.append(events)
    store.append_curves(chunks)
    with advisor.open(path, capture=False) as adv:
        adv.experiment("digits", create=False).check()
        adv.experiment("digits", create=False).report(path=path.parent / "reports")


def names_in(store: Path) -> dict[str, list[str]]:
    """Return what may be asked for by name, by argument."""
    with advisor.open(store, capture=False) as adv:
        experiments = [each.name for each in adv.experiments()]
        runs = adv.store.runs(limit=100)
        findings = [f"{run.id[:8]}:{finding.code}" for run in runs for finding in run.findings]
        documents = [each.id for each in adv.documents()]
    ids = [run.id for run in runs] + [f"{run.experiment}#{run.number}" for run in runs[:4]]
    return {
        "experiment": experiments,
        "run": ids,
        "runs": ids,
        "finding": findings or ["ADV103"],
        "findings": findings + ids[:2],
        "document": documents or ["none"],
        "a": ids + experiments,
        "b": ids + experiments,
        "what": [*experiments, "ADV103", *ids[:2]],
        "where": [
            "state = 'finished'",
            "params.lr < 0.1",
            "objective > 0 and not seed is null",
            "metrics.val_loss < 1",
        ],
        "sort": ["objective", "number", "params.lr", "metrics.val_loss"],
        "metrics": ["val_loss", "train_loss"],
        "text": ["learning rate too high", "state:failed", "the loss of digits#1 is 1.2"],
        "ids": ["experiment/digits/n_runs"],
    }


def version_of(store: Path) -> str:
    with advisor.open(store, capture=False) as adv:
        return adv.store.stamp()


@contextmanager
def serving(store: Path, options: tuple[str, ...], log: Path) -> Iterator[str]:
    """Serve a store in a process of its own; yields the address."""
    command = [sys.executable, "-m", "advisor", "--store", str(store), "serve", "--port", "0", *options]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with log.open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split("?")[0].strip().rstrip("/")
        finally:
            process.terminate()
            process.wait(30)


# -- requests


def fuzz(address: str, n_requests: int, *, seed: int, names: dict[str, list[str]], headers: dict[str, str]) -> Counts:
    """Send requests, each operation its share, and count what comes back."""
    load_all_checks()
    schema = schemathesis.openapi.from_url(f"{address}/api/openapi.json", headers=headers)
    counts, rng = Counts(), random.Random(seed)
    operations = [found.ok() for found in schema.get_all_operations()]
    sending = Sending(counts, rng, names, headers, limit=n_requests)
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    kinds = [(operation, mode) for operation in operations for mode in modes]
    while counts.n < n_requests:
        for operation, mode in list(kinds):
            send = sending.of(fits=mode is schemathesis.GenerationMode.POSITIVE)
            if counts.n < n_requests and not one_round(
                operation.as_strategy(generation_mode=mode), send, seed=rng.getrandbits(32)
            ):
                kinds.remove((operation, mode))
    return counts


def one_round(strategy: Any, send: Callable[[Any], None], *, seed: int) -> bool:
    """Send some requests; return whether any could be made: nothing that does not fit can be of what takes nothing."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=PER_ROUND, phases=[Phase.generate], deadline=None, database=None, suppress_health_check=SUPPRESSED
    )
    @hypothesis.given(case=strategy)
    def run(case: Any) -> None:
        send(case)

    try:
        run()
    except hypothesis.errors.Unsatisfiable:
        return False
    return True


def is_text_by_now(case: Any) -> bool:
    """Return whether a number or the like was made for a text or for several, which in an address it is like any other.

    By now it may be text: "ids=true" was made as what is no list of texts, and is one.
    """
    given = case.query if isinstance(case.query, dict) else {}
    for parameter in case.operation.definition.raw.get("parameters", ()):
        schema, value = parameter.get("schema", {}), given.get(parameter.get("name"))
        for option in (schema, *schema.get("anyOf", ())):
            is_text = option.get("type") == "string" and "enum" not in option
            of_texts = option.get("items", {}).get("type") == "string"
            if (is_text and isinstance(value, bool | int | float)) or (of_texts and value in ("true", "false", True)):
                return True
    return False


@dataclass
class Sending:
    """Sends requests and looks at the answers."""

    counts: Counts
    rng: random.Random
    names: dict[str, list[str]]
    headers: dict[str, str]
    limit: int
    session: requests.Session = field(default_factory=requests.Session)

    def of(self, *, fits: bool) -> Callable[[Any], None]:
        """Return what sends one request."""

        def send(case: Any) -> None:
            if self.counts.n >= self.limit:
                return
            if fits and self.rng.random() < 0.5:
                self.put_names_in(case)
            bent = self.bent() if self.rng.random() < 0.1 else {}
            self.ask(case, fits=fits and not bent, bent=bent)

        return send

    def put_names_in(self, case: Any) -> None:
        for part in (case.path_parameters, case.query, case.body):
            if isinstance(part, dict):
                for name in part:
                    if name in self.names:
                        chosen = self.rng.choice(self.names[name])
                        chosen = quote(chosen, safe="") if part is case.path_parameters else chosen
                        part[name] = (
                            [chosen, *self.rng.sample(self.names[name], 1)] if isinstance(part[name], list) else chosen
                        )

    def bent(self) -> dict[str, str]:
        """Return headers that no client of ours sends."""
        return self.rng.choice(
            [
                {"Origin": "https://evil.example"},
                {"Host": "evil.example"},
                {"Sec-Fetch-Site": "cross-site"},
                {"Content-Type": "text/plain"},
                {"Authorization": "Bearer wrong"},
                {"If-None-Match": 'W/"x", *'},
                {"Accept": "text/html", "Accept-Encoding": "gzip"},
                {"X": "y" * 40_000},
            ]
        )

    def ask(self, case: Any, *, fits: bool, bent: dict[str, str]) -> None:
        counts, name = self.counts, case.operation.definition.raw["operationId"]
        began = time.monotonic()
        try:
            answer = case.call(session=self.session, headers=self.headers | bent, timeout=90)
        except requests.exceptions.InvalidHeader:
            return  # cannot be sent at all
        except requests.exceptions.RequestException as error:
            counts.n += 1
            # A head that is too large is refused before all of it has come; then the reset of the connection may
            # overtake the answer (RFC 9112, section 9.6).
            sent = urlencode(case.query or {}, doseq=True)
            n_bytes = len(case.as_transport_kwargs()["url"]) + len(sent) + sum(map(len, bent.values()))
            if n_bytes < TOO_LARGE:
                counts.fail("no answer", f"{name}: {n_bytes} bytes: {error!r}")
            return
        seconds = time.monotonic() - began
        counts.n += 1
        counts.statuses[answer.status_code] += 1
        counts.by_operation.setdefault(name, Counter())[answer.status_code] += 1
        if answer.status_code == 400 and answer.text == TOO_MUCH:
            return
        if seconds > counts.slowest_s:
            counts.slowest_s, counts.slowest = seconds, f"{name} {answer.status_code}"
        if answer.status_code >= 500:
            counts.fail(f"{answer.status_code} of {name}", f"{answer.text[:400]}\n{self.shown(case)}")
        if LEAKS.search(answer.content) or TOKEN in str(answer.headers):
            counts.fail(f"tells of the inside: {name}", f"{answer.text[:600]}\n{self.shown(case)}")
        if answer.status_code >= 400 and "application/problem+json" not in answer.headers["content-type"]:
            counts.fail(f"no problem: {name}", f"{answer.status_code} {answer.text[:200]}\n{self.shown(case)}")
        if fits and answer.status_code in (400, 413, 414, 415, 422):
            counts.refused_though_it_fits[f"{name}: {answer.json()['detail'][:100]}"] += 1
        self.check(case, answer, name, bent=bool(bent))

    def check(self, case: Any, answer: Any, name: str, *, bent: bool) -> None:
        if bent and answer.status_code == 303 and "/api" in answer.headers["location"]:
            return  # an experiment called ".." is taken out of the address by the client, and people are sent on
        wanted = [
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
            checks.response_headers_conformance,
            checks.allow_header_conformance,
        ]
        # Too large is refused before it is looked at, which the library does not count as a refusal.
        wanted += (
            []
            if bent or answer.status_code in (413, 414, 431) or is_text_by_now(case)
            else [checks.negative_data_rejection, checks.unsupported_method]
        )
        try:
            case.validate_response(answer, checks=wanted)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.counts.fail(f"not as described: {name}", f"{str(error)[:1_200]}\n{self.shown(case)}")

    def shown(self, case: Any) -> str:
        return str(case.as_curl_command())[:600]


if __name__ == "__main__":
    main()
