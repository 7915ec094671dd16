"""Record what a real MLflow server answers to our reader.

After ``mlflow.py server``, with MLflow's environment of its own::

    mlflow-env/bin/mlflow server --backend-store-uri sqlite:///served.db --port 5005 &
    python -P tests/data/sources/make/mlflow_server.py http://127.0.0.1:5005 tests/data/sources/mlflow-3.18.0-server

Pages are made small, so that there are several; ``expected.json`` beside it is what MLflow's own client says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from advisor.sources import mlflow_server
from advisor.sources.mlflow import MLflowReader
from advisor.sources.port import Options


def main(address: str, out: str) -> None:
    """Read everything once and write the exchange down."""
    mlflow_server.RUNS_AT_ONCE, mlflow_server.POINTS_AT_ONCE = 3, 90  # type: ignore[misc]
    exchange: list[dict[str, Any]] = []
    ask = mlflow_server.Client.ask

    def recorded(self: Any, what: str, question: Any, *, is_get: bool = False) -> Any:
        answer = ask(self, what, question, is_get=is_get)
        exchange.append({"what": what, "is_get": is_get, "question": dict(question), "answer": answer})
        return answer

    mlflow_server.Client.ask = recorded  # type: ignore[method-assign]
    reader = MLflowReader()
    found = reader.find_address(address)
    assert found is not None
    with reader.open(found, Options()) as source:
        for entry in source.entries():
            run = entry.load()
            print(run.name, {metric: len(points) for metric, points in run.read(None).curves.items()})
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(exchange, ensure_ascii=False, separators=(",", ":"))
    (folder / "exchange.json").write_text(text.replace(str(folder.resolve()), "/data"))


if __name__ == "__main__":
    main(*sys.argv[1:])
