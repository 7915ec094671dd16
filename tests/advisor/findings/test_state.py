from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from advisor.findings.state import Checks
from storage.errors import RecordError
from storage.records import Finding, Severity
from tests.advisor.findings.made import NOW


def some_checks() -> tuple[Checks, list[Finding]]:
    found: list[Finding] = []
    return Checks("r", "made", clock=lambda: NOW, raised=found.extend), found


def codes_of(found: list[Finding]) -> list[str]:
    return [finding.code for finding in found]


def an_epoch(checks: Checks, order: Any, x: Any, y: Any, *, size: int = 16) -> None:
    for low in range(0, len(order), size):
        rows = order[low : low + size]
        checks.batch(x[rows], y[rows])
    checks.epoch_end()


def some_data(n: int = 320) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 5)), rng.integers(0, 4, n)


# -- data


def test_shuffled_epochs_raise_nothing() -> None:
    (checks, found), (x, y), rng = some_checks(), some_data(), np.random.default_rng(1)
    for _ in range(5):
        an_epoch(checks, rng.permutation(len(x)), x, y)
    assert found == []


def test_two_epochs_in_the_same_order_are_not_shuffled() -> None:
    (checks, found), (x, y) = some_checks(), some_data()
    for _ in range(3):
        an_epoch(checks, np.arange(len(x)), x, y)
    assert codes_of(found) == ["ADV119"]


def test_labels_tell_the_order_where_inputs_are_augmented() -> None:
    (checks, found), (x, y), rng = some_checks(), some_data(), np.random.default_rng(1)
    for _ in range(2):
        an_epoch(checks, np.arange(len(x)), x + 0.1 * rng.standard_normal(x.shape), y)
    assert codes_of(found) == ["ADV119"]


def test_batches_of_one_label_each_are_sorted() -> None:
    (checks, found), (x, y) = some_checks(), some_data()
    an_epoch(checks, np.argsort(y), x, np.repeat([0, 1, 2, 3], 80)[np.argsort(np.argsort(y))])
    assert codes_of(found) == ["ADV119"]
    assert "single label" in found[0].title


def test_a_whole_data_set_as_one_batch_is_no_matter_of_order() -> None:
    (checks, found), (x, y) = some_checks(), some_data()
    for _ in range(4):
        an_epoch(checks, np.arange(len(x)), x, y, size=len(x))
    assert found == []


def test_a_stuck_loader_is_found_at_the_fourth_same_batch() -> None:
    (checks, found), (x, _) = some_checks(), some_data()
    told = [codes_of(checks.batch(x[:16])) for _ in range(5)]
    assert told == [[], [], [], ["ADV122"], []]
    assert found[0].evidence["n_repeated"] == 3


def test_constant_labels_are_an_error_within_the_epoch() -> None:
    (checks, found), (x, y) = some_checks(), some_data()
    an_epoch(checks, np.arange(len(x)), x, np.zeros_like(y))
    assert codes_of(found) == ["ADV121"]
    assert found[0].severity is Severity.ERROR


def test_another_mix_of_labels_is_drift_and_the_noise_of_samples_is_not() -> None:
    checks, found = some_checks()
    rng = np.random.default_rng(0)
    for _ in range(20):
        checks.batch(rng.standard_normal((200, 2)), rng.integers(0, 10, 200))
        checks.epoch_end()
    assert found == []
    checks.batch(rng.standard_normal((200, 2)), np.minimum(rng.integers(0, 20, 200), 9))
    checks.epoch_end()
    assert codes_of(found) == ["ADV120"]
    assert found[0].evidence["label"] == "9"


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x.tolist(), y.tolist()),
        lambda x, y: ({"input": x, "mask": x > 0}, y),
        lambda x, y: ([x, x + 1], np.eye(4)[y]),
        lambda x, y: ([f"text {value}" for value in x[:, 0]], [f"class {value}" for value in y]),
    ],
    ids=["lists", "mapping", "sequence, one-hot", "texts"],
)
def test_batches_of_any_form_are_read(form: Callable[[Any, Any], tuple[Any, Any]]) -> None:
    (checks, found), (x, y) = some_checks(), some_data()
    for _ in range(2):
        for low in range(0, 320, 32):
            checks.batch(*form(x[low : low + 32], y[low : low + 32]))
        checks.epoch_end()
    assert codes_of(found) == ["ADV119"]


def test_real_numbers_and_sequences_are_no_classes() -> None:
    checks, found = some_checks()
    rng = np.random.default_rng(0)
    for shift in range(3):
        for _ in range(4):
            checks.batch(rng.standard_normal(64), shift + rng.standard_normal(64))
            checks.batch(rng.standard_normal(64), rng.integers(0, 9, (64, 7)) + shift)
        checks.epoch_end()
    assert found == []


# -- model and optimizer, as doubles


class Parameter:
    def __init__(self, n: int, *, requires_grad: bool = True) -> None:
        self.n, self.requires_grad = n, requires_grad

    def numel(self) -> int:
        return self.n


class Layer:
    def __init__(self) -> None:
        self.training = True


class Dropout(Layer):
    pass


class Model(Layer):
    def __init__(self, *parts: Layer) -> None:
        super().__init__()
        self.weights_ = [Parameter(100), Parameter(20)]
        self.parts = parts

    def parameters(self) -> list[Parameter]:
        return self.weights_

    def named_modules(self) -> Iterator[tuple[str, Layer]]:
        yield "", self
        yield from ((f"part{i}", part) for i, part in enumerate(self.parts))


def test_dropout_that_is_on_at_evaluation_is_a_warning() -> None:
    checks, found = some_checks()
    dropout = Dropout()
    model = Model(dropout)
    model.training = dropout.training = False
    assert checks.before_eval(model) == []
    dropout.training = True
    assert codes_of(checks.before_eval(model)) == ["ADV117"]
    assert found[0].severity is Severity.WARNING
    assert found[0].evidence["layers"] == ["part0"]


def test_training_mode_without_a_layer_that_cares_is_information() -> None:
    checks, found = some_checks()
    checks.before_eval(Model())
    assert found[0].severity is Severity.INFO


def test_training_in_evaluation_mode_is_a_warning() -> None:
    checks, found = some_checks()
    model = Model(Dropout())
    assert checks.before_train(model) == []
    model.training = model.parts[0].training = False
    checks.before_train(model)
    assert codes_of(found) == ["ADV117"]


def test_what_is_frozen_missing_or_changed_is_told() -> None:
    checks, found = some_checks()
    model = Model()
    optimizer = SimpleNamespace(param_groups=[{"params": list(model.weights_)}])
    assert checks.model(model, optimizer) == []
    model.weights_[1].requires_grad = False
    assert "it was 120 before" in checks.model(model)[0].title
    model.weights_[1] = Parameter(20)  # a layer replaced after the optimizer was made
    assert "1 trainable tensors are not in the optimizer" in checks.model(model, optimizer)[0].title
    for weights in model.weights_:
        weights.requires_grad = False
    assert checks.epoch_end(model)[0].severity is Severity.ERROR
    assert codes_of(found) == ["ADV118"] * 3


def adam(step: int | None, *, lr: float = 0.1) -> Mapping[str, Any]:
    state = {} if step is None else {0: {"step": step, "exp_avg": np.ones(3)}}
    return {"state": state, "param_groups": [{"lr": lr, "params": [0]}]}


@pytest.mark.parametrize(
    ("after", "words"),
    [(adam(None), "has none"), (adam(3), "from 50 back to 3"), (adam(50, lr=1.0), "learning rate")],
)
def test_an_optimizer_that_was_not_restored_is_found(after: Mapping[str, Any], words: str) -> None:
    first, _ = some_checks()
    kept = first.optimizer(adam(50))
    assert kept == {"step": 50, "n_states": 1, "lr": 0.1}
    resumed, found = some_checks()
    resumed.optimizer(after, before=kept)
    assert codes_of(found) == ["ADV116"]
    assert words in found[0].title


def test_an_optimizer_that_goes_on_is_none() -> None:
    checks, found = some_checks()
    for step, lr in ((None, 0.1), (10, 0.1), (20, 0.001), (20, 0.001)):
        kept = checks.optimizer(adam(step, lr=lr))
    checks.optimizer(adam(20, lr=0.0012), before=kept)
    assert found == []


def test_what_cannot_be_read_is_refused_in_words() -> None:
    checks, _ = some_checks()
    with pytest.raises(RecordError, match="state_dict"):
        checks.optimizer(object())
    with pytest.raises(RecordError, match="training"):
        checks.before_eval(object())
    with pytest.raises(RecordError, match="parameters"):
        checks.model(object())


# -- the real thing

TORCH = """
import torch
from datetime import UTC, datetime
from advisor.findings.state import Checks
torch.manual_seed(0)
found = []
checks = Checks("r", "e", clock=lambda: datetime.now(UTC), raised=found.extend)
x, y = torch.randn(128, 6, requires_grad=True), torch.randint(0, 3, (128,))
model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
checks.model(model, optimizer)
for epoch in range(3):
    model.train()
    checks.before_train(model)
    order = torch.randperm(128)
    for low in range(0, 128, 16):
        rows = order[low : low + 16]
        checks.batch(x[rows].to(torch.bfloat16), y[rows])
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x.detach()[rows]), y[rows]).backward()
        optimizer.step()
    model.eval()
    checks.before_eval(model)
    checks.epoch_end(model)
    kept = checks.optimizer(optimizer)
assert kept["step"] == 24 and kept["n_states"] == 6, kept
assert found == [], found
fresh = torch.optim.Adam(model.parameters(), lr=0.01)
checks.optimizer(fresh, before=kept)
fresh.load_state_dict(optimizer.state_dict())
model[2].train()
checks.before_eval(model)
model[0].weight.requires_grad_(False)
checks.epoch_end(model)
print(*[finding.code for finding in found])
"""


def test_a_real_training_is_sound_until_it_is_broken() -> None:
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", TORCH], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ADV116", "ADV117", "ADV118"]


def test_the_module_imports_no_framework() -> None:
    code = "import sys, advisor.findings.state; assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
