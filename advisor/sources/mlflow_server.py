"""MLflow's tracking server, asked over its REST interface; nothing is sent but questions.

Credentials are those that MLflow's own client takes, from the environment, and go to the given host only: an answer
that points elsewhere is refused.
"""

from __future__ import annotations

import base64
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import numpy as np

from advisor.errors import SourceError
from advisor.sources.mlflow_run import FINITE_MAX, Record, about_experiment, from_ms, source_run
from advisor.sources.port import Cursor, Entry, Piece, Points, Source, SourceExperiment, SourceRun
from advisor.sources.reading import number, parse_json, whole
from advisor.sources.values import counted

ANSWER_MAX_BYTES: Final = 64 * 2**20
RUNS_AT_ONCE: Final = 500
POINTS_AT_ONCE: Final = 25_000
"""The most that MLflow gives at once."""
PAGES_AT_MOST: Final = 20_000
METRICS_AT_MOST: Final = 20_000
TRIES: Final = 3
AGAIN: Final = frozenset({429, 502, 503, 504})
"""HTTP statuses after which the same question may be answered a moment later."""
PAUSE_S: Final = 1.0


class ServerSource(Source):
    """Runs of a tracking server, or of one experiment there."""

    def __init__(self, address: str, *, deadline_s: float) -> None:
        """Remember where to ask; nothing is asked yet.

        Parameters
        ----------
        address
            Of the server; the address of an experiment's page (``…/#/experiments/3``) means that experiment.
        deadline_s
            For one answer.
        """
        super().__init__()
        base, _, page = address.partition("#")
        parts = [part for part in page.split("?")[0].split("/") if part]
        self._only = parts[1] if len(parts) >= 2 and parts[0] == "experiments" else None
        self._client = Client(base.rstrip("/"), deadline_s=deadline_s)

    def entries(self) -> Iterator[Entry]:
        """Yield runs, oldest first within an experiment.

        A run's stamp is made of what the server tells of it at once, the last point of each metric among it.
        """
        self.notes.clear()
        for experiment in sorted(self._experiments(), key=lambda each: whole(each.get("creation_time")) or 0):
            known = str(experiment.get("experiment_id", ""))
            about = about_experiment(known, _pairs(experiment.get("tags")), _text(experiment.get("artifact_location")))
            name = _text(experiment.get("name")) or known
            question = {
                "experiment_ids": [known],
                "max_results": RUNS_AT_ONCE,
                "run_view_type": "ACTIVE_ONLY",
                "order_by": ["attributes.start_time ASC"],
            }
            for run in self._client.pages("runs/search", "runs", question):
                info = run.get("info")
                run_id = _text(info.get("run_id") or info.get("run_uuid")) if isinstance(info, dict) else None
                if run_id is None:
                    self.notes.append(f"a run of experiment {name!r} has no id and was left out")
                    continue
                stamp = zlib.crc32(json.dumps([name, run], sort_keys=True).encode())
                yield Entry(run_id, stamp=f"{stamp:08x}", load=partial(self._load, run_id, name, about, run))

    def _experiments(self) -> Iterator[Mapping[str, Any]]:
        if self._only is not None:
            answer = self._client.ask("experiments/get", {"experiment_id": self._only}, is_get=True)
            found = answer.get("experiment")
            if not isinstance(found, dict):
                raise SourceError(f"the server knows no experiment {self._only!r}")
            yield found
            return
        question = {"max_results": RUNS_AT_ONCE, "view_type": "ACTIVE_ONLY"}
        yield from self._client.pages("experiments/search", "experiments", question)

    def _load(self, run_id: str, experiment: str, about: SourceExperiment, run: Mapping[str, Any]) -> SourceRun:
        info, data = run["info"], run.get("data")
        data = data if isinstance(data, dict) else {}
        latest = [each for each in _objects(data.get("metrics")) if isinstance(each.get("key"), str)]
        times = [time for each in latest if (time := whole(each.get("timestamp"))) is not None]
        start = from_ms(info.get("start_time"))
        record = Record(
            run_id=run_id,
            experiment=experiment,
            about=about,
            name=_text(info.get("run_name")),
            status=info.get("status"),
            start_ms=info.get("start_time"),
            end_ms=info.get("end_time"),
            active=from_ms(max(times, default=None)) or start,
            user=_text(info.get("user_id")),
            artifact_uri=_text(info.get("artifact_uri")),
            params=_pairs(data.get("params")),
            tags=_pairs(data.get("tags")),
            datasets=list(_datasets(run.get("inputs"))),
        )
        metrics = [each["key"] for each in latest]
        return source_run(record, partial(self._read, run_id, metrics, whole(info.get("start_time"))))

    def _read(self, run_id: str, metrics: list[str], start_ms: int | None, cursor: Cursor | None) -> Piece:
        """Return the curves, always whole: pages of a server are no place to go on from."""
        del cursor
        curves, notes = {}, []
        n_lost = 0
        for metric in metrics[:METRICS_AT_MOST]:
            question = {"run_id": run_id, "metric_key": metric, "max_results": POINTS_AT_ONCE}
            rows = []
            for each in self._client.pages("metrics/get-history", "metrics", question, is_get=True):
                step, value, time_ms = (
                    whole(each.get("step", 0)),
                    number(each.get("value")),
                    whole(each.get("timestamp")),
                )
                if step is None or value is None or time_ms is None:
                    n_lost += 1
                else:
                    rows.append((step, value, float(time_ms)))
            if rows:
                curves[metric] = _points(rows, start_ms)
        if n_lost:
            notes.append(
                counted(
                    n_lost,
                    "point without a number was left out",
                    "points without a number were left out",
                )
            )
        if len(metrics) > METRICS_AT_MOST:
            notes.append(f"metrics beyond the first {METRICS_AT_MOST:,} were left out")
        return Piece(curves, notes=tuple(notes))


class Client:
    """Asks one MLflow server."""

    def __init__(self, base: str, *, deadline_s: float) -> None:
        self._base = base
        self._deadline_s = deadline_s

    def pages(
        self, what: str, name: str, question: Mapping[str, Any], *, is_get: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the objects of a list that comes in pages.

        Raises
        ------
        SourceError
            If the server does not answer, or without end.
        """
        token = ""
        for _ in range(PAGES_AT_MOST):
            answer = self.ask(what, {**question, "page_token": token} if token else question, is_get=is_get)
            yield from _objects(answer.get(name))
            following = answer.get("next_page_token")
            if not following or not isinstance(following, str):
                return
            if following == token:
                raise SourceError("the server gives the same page again and again")
            token = following
        raise SourceError(f"the server gives more than {PAGES_AT_MOST:,} pages")

    def ask(self, what: str, question: Mapping[str, Any], *, is_get: bool = False) -> dict[str, Any]:
        """Return the answer to one question.

        Raises
        ------
        SourceError
            If there is none within the deadline, or it is no JSON object.
        """
        address = f"{self._base}/api/2.0/mlflow/{what}"
        body = None if is_get else json.dumps(question).encode()
        if is_get:
            address += "?" + urlencode(question, errors="replace")
        for attempt in range(1, TRIES + 1):
            status, content = self._once(address, body)
            if status not in AGAIN or attempt == TRIES:
                break
            time.sleep(PAUSE_S * attempt)
        if status != 200:
            raise SourceError(_refusal(status, content))
        answer = parse_json(content)
        if not isinstance(answer, dict):
            raise SourceError("the answer is no MLflow server's")
        return answer

    def _once(self, address: str, body: bytes | None) -> tuple[int, bytes]:
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

        class SameHost(HTTPRedirectHandler):
            def redirect_request(self, request: Any, *rest: Any) -> Any:
                if _origin(rest[-1]) != _origin(address):
                    raise SourceError(
                        f"the server sends to another host, {urlsplit(rest[-1]).hostname!r}; it was not asked"
                    )
                return super().redirect_request(request, *rest)

        until = time.monotonic() + self._deadline_s
        headers = {"Content-Type": "application/json", "Accept": "application/json", **_credentials()}
        try:
            request = Request(address, data=body, headers=headers)
            direct = [ProxyHandler({})] if _is_here(address) else []
            with build_opener(SameHost, *direct).open(request, timeout=self._deadline_s) as answer:
                return answer.status, _content(answer, until, self._deadline_s)
        except HTTPError as error:
            with error:
                return error.code, error.read(2_000)
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"the server does not answer: {_cause(error)}") from None


def _content(answer: Any, until: float, deadline_s: float) -> bytes:
    parts, size = [], 0
    while part := answer.read1(2**20):
        size += len(part)
        if size > ANSWER_MAX_BYTES:
            raise SourceError(f"the server's answer is larger than {ANSWER_MAX_BYTES:,} bytes")
        if time.monotonic() > until:
            raise SourceError(f"the server's answer did not end within {deadline_s:g} s")
        parts.append(part)
    return b"".join(parts)


def _credentials() -> dict[str, str]:
    """Return the header that the environment's credentials make; they are kept nowhere."""
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if user is not None and password is not None:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _refusal(status: int, content: bytes) -> str:
    if status in (401, 403):
        return (
            f"the server answered {status}: it wants credentials; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if status == 404:
        return "the server answered 404: there is no MLflow tracking server at this address"
    try:
        said = parse_json(content)
    except SourceError:
        said = None
    message = said.get("message") if isinstance(said, dict) else None
    why = f": {' '.join(message.split())[:200]}" if isinstance(message, str) else ""
    return f"the server answered {status}{why}"


def _origin(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port


def _is_here(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return "no answer in time" if isinstance(reason, TimeoutError) else " ".join(str(reason).split())[:200]


def _points(rows: list[tuple[int, float, float]], start_ms: int | None) -> Points:
    steps, values, times = (np.array(column) for column in zip(*rows, strict=True))
    values = values.astype(np.float64)
    values[values == FINITE_MAX] = np.inf
    values[values == -FINITE_MAX] = -np.inf
    return Points(steps.astype(np.int64), values, (times - start_ms) / 1000 if start_ms else np.empty(0))


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _pairs(value: Any) -> dict[str, str]:
    return {str(each["key"]): _text(each.get("value")) or "" for each in _objects(value) if "key" in each}


def _datasets(inputs: Any) -> Iterator[dict[str, Any]]:
    for each in _objects(inputs.get("dataset_inputs") if isinstance(inputs, dict) else None):
        dataset = each.get("dataset")
        if isinstance(dataset, dict):
            context = _pairs(each.get("tags")).get("mlflow.data.context")
            yield {
                "name": _text(dataset.get("name")),
                "digest": _text(dataset.get("digest")),
                "context": context,
                "source_type": _text(dataset.get("source_type")),
            }


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
