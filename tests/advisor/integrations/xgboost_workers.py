"""Two processes that train one booster together, for test_xgboost.py: ``python xgboost_workers.py STORE``."""

from __future__ import annotations

import json
import multiprocessing
import sys
from typing import Any

import numpy as np
import xgboost
from xgboost.tracker import RabitTracker

from advisor.integrations.xgboost import AdvisorCallback

RATES = (0.3, 0.32, 0.34, 0.36, 0.38, 0.001)


def work(worker: int, address: dict[str, Any], store: str, said: Any) -> None:
    lengths = []
    with xgboost.collective.CommunicatorContext(**address):
        rank = xgboost.collective.get_rank()
        rng = np.random.default_rng(rank)
        x = rng.normal(size=(60, 4))
        data = xgboost.DMatrix(x, 2 * x[:, 0])
        for rate in RATES:
            recorded: dict[str, Any] = {}
            callback = AdvisorCallback(
                "shared", params={"eta": rate}, store=store, objective="train/rmse", prune=True, capture=False
            )
            xgboost.train(
                {"eta": rate, "max_depth": 2, "nthread": 1, "tree_method": "hist"},
                data,
                15,
                evals=[(data, "train")],
                evals_result=recorded,
                callbacks=[callback],
                verbose_eval=False,
            )
            lengths.append(len(recorded["train"]["rmse"]))
    said.put((rank, lengths, recorded["train"]["rmse"]))


def main(store: str) -> None:
    tracker = RabitTracker(n_workers=2, host_ip="127.0.0.1")
    tracker.start()
    address = tracker.worker_args()
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    workers = [context.Process(target=work, args=(worker, address, store, said)) for worker in range(2)]
    for each in workers:
        each.start()
    answers = sorted(said.get(timeout=90) for _ in workers)
    for each in workers:
        each.join(30)
    tracker.wait_for(30)
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
