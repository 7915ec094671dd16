"""Filters against a real table: what they select, and that nothing can break out of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage.errors import FilterError
from storage.query import MAX_DEPTH, Names, Order, compile_filter, compile_order

NAN, INF = math.nan, math.inf
DAY = datetime(2026, 2, 1, tzinfo=UTC)

ROWS: list[dict[str, Any]] = [
    {
        "run_id": "good",
        "number": 0,
        "state": "finished",
        "objective": 1.0,
        "seed": 1,
        "started": DAY,
        "tags": ["best", "it's", "team=vision"],
        "notes": ["loss\nexploded", "50% done"],
        "params": {
            "lr": 0.01,
            "optimizer": "adam",
            "nesterov": True,
            "weird name": 5,
            "a.b/c": 7,
            "both": 1,
            "neg": -2,
        },
        "metrics": {"loss": 0.5, "val/loss": 0.25, "both": 1},
        "environment": {"gpu": "H200"},
    },
    {
        "run_id": "nan",
        "number": 1,
        "state": "failed",
        "objective": NAN,
        "seed": None,
        "started": datetime(2026, 2, 1, 23, 59, tzinfo=UTC),
        "tags": [],
        "notes": [],
        "params": {"lr": "auto", "optimizer": "sgd", "nesterov": False},
        "metrics": {"loss": "NaN"},
        "environment": {},
    },
    {
        "run_id": "inf",
        "number": 2,
        "state": "crashed",
        "objective": INF,
        "seed": 3,
        "started": datetime(2026, 2, 2, tzinfo=UTC),
        "tags": ["old", "team:nlp"],
        "notes": ["quiet"],
        "params": {"lr": 1e-5, "optimizer": "o'brien"},
        "metrics": {"loss": "Infinity"},
        "environment": {},
    },
    {
        "run_id": "none",
        "number": 3,
        "state": "running",
        "objective": None,
        "seed": 2**62,
        "started": None,
        "tags": None,
        "notes": None,
        "params": {},
        "metrics": {},
        "environment": {},
    },
]
NAMES = Names(
    params=frozenset({"lr", "optimizer", "nesterov", "weird name", "a.b/c", "both", "neg"}),
    metrics=frozenset({"loss", "val/loss", "both"}),
    environment=frozenset({"gpu"}),
)

Matching = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def matching(tmp_path_factory: pytest.TempPathFactory) -> Matching:
    """Return a function from a user's filter to the ids of the runs that it selects."""
    import lancedb
    import pyarrow as pa

    plain = {
        "run_id": pa.string(),
        "number": pa.int64(),
        "state": pa.string(),
        "objective": pa.float64(),
        "seed": pa.int64(),
        "started": pa.timestamp("us", "UTC"),
        "tags": pa.list_(pa.string()),
        "notes": pa.list_(pa.string()),
    }
    columns = {name: pa.array([row[name] for row in ROWS], kind) for name, kind in plain.items()}
    for name in ("params", "metrics", "environment"):
        text = pa.array([json.dumps(row[name]) for row in ROWS], pa.string())
        columns[name] = pa.ExtensionArray.from_storage(pa.json_(), text)
    table = lancedb.connect(tmp_path_factory.mktemp("query")).create_table("runs", pa.table(columns))

    def run(text: str) -> list[str]:
        rows = table.search().where(compile_filter(text, names=NAMES)).select(["run_id"]).to_list()
        return [str(row["run_id"]) for row in rows]

    return run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # comparisons of columns
        ("objective < 2", ["good"]),
        ("objective > 0", ["good", "inf"]),
        ("objective >= 1e0", ["good", "inf"]),
        ("objective <= inf", ["good", "inf"]),
        ("objective = inf", ["inf"]),
        ("objective > -Infinity", ["good", "inf"]),
        ("objective between 0.5 and 1.5", ["good"]),
        ("objective not between 0.5 and 1.5", ["nan", "inf"]),
        ("number == 2", ["inf"]),
        ("number = 2.0", ["inf"]),
        ("number < 1.5", ["good", "nan"]),
        ("number in (0, 3)", ["good", "none"]),
        ("number != 0", ["nan", "inf", "none"]),
        ("seed < 99999999999999999999", ["good", "inf", "none"]),
        (f"seed = {2**62}", ["none"]),
        ("seed > 2.5", ["inf", "none"]),
        # NaN is data, and neither small nor large
        ("objective = nan", ["nan"]),
        ("objective != nan", ["good", "inf"]),
        ("objective <> 1", ["nan", "inf"]),
        ("not objective > 0", ["nan"]),
        ("objective in (1, nan)", ["good", "nan"]),
        ("metrics.loss = NaN", ["nan"]),
        ("metrics.loss > 0", ["good", "inf"]),
        ("metrics.loss < 1e300", ["good"]),
        # what is missing fits only `is null`
        ("objective is null", ["none"]),
        ("objective is not null", ["good", "nan", "inf"]),
        ("objective = null", ["none"]),
        ("params.optimizer is null", ["none"]),
        ("params.optimizer != 'adam'", ["nan", "inf"]),
        ("not params.optimizer = 'adam'", ["nan", "inf"]),
        ("started is null", ["none"]),
        # parameters and metrics, of any kind
        ("params.lr < 0.1", ["good", "inf"]),
        ("params.lr >= 1e-2", ["good"]),
        ("params.lr = 0.01", ["good"]),
        ("params.lr = 'auto'", ["nan"]),
        ("params.neg = -2", ["good"]),
        ("params.optimizer = 'adam'", ["good"]),
        ('params.optimizer = "adam"', ["good"]),
        ("params.optimizer = 'o''brien'", ["inf"]),
        ('params.optimizer = "o\'brien"', ["inf"]),
        ("params.optimizer in ('adam', 'sgd')", ["good", "nan"]),
        ("params.optimizer not in ('adam', 'sgd')", ["inf"]),
        ("params.lr in (0.01, 'auto')", ["good", "nan"]),
        ("params.optimizer like 's%'", ["nan"]),
        ("params.optimizer not like 's%'", ["good", "inf"]),
        ("params.nesterov = true", ["good"]),
        ("params.nesterov != TRUE", ["nan"]),
        ("params.`weird name` = 5", ["good"]),
        ('params."weird name" = 5', ["good"]),
        ("`weird name` = 5", ["good"]),
        ("params.a.b/c = 7", ["good"]),
        ("a.b/c = 7", ["good"]),
        ("metrics.val/loss < 1", ["good"]),
        ("loss < 1", ["good"]),
        ("env.gpu = 'H200'", ["good"]),
        ("environment.gpu like '%200'", ["good"]),
        # text, tags, notes
        ("id = 'good'", ["good"]),
        ("state = 'finished'", ["good"]),
        ("state in ('finished', 'failed')", ["good", "nan"]),
        ("state like '%ed'", ["good", "nan", "inf"]),
        ("tag = 'best'", ["good"]),
        ("tag = 'it''s'", ["good"]),
        ("tag in ('best', 'old')", ["good", "inf"]),
        ("tag != 'best'", ["nan", "inf", "none"]),
        ("not tag = 'best'", ["nan", "inf", "none"]),
        ("tags is null", ["nan", "none"]),
        ("tags is not null", ["good", "inf"]),
        # tags by name
        ("tags.best = true", ["good"]),
        ("tag.best = false", ["nan", "inf", "none"]),
        ("tags.best != true", ["nan", "inf", "none"]),
        ("tags.old is not null", ["inf"]),
        ("tags.old is null", ["good", "nan", "none"]),
        ("tags.`it's` = true", ["good"]),
        ("tags.team = 'vision'", ["good"]),
        ("tags.team in ('vision', 'nlp')", ["good", "inf"]),
        ("tags.team != 'nlp'", ["good", "nan", "none"]),
        ("notes like '%exploded%'", ["good"]),
        ("notes like '%50\\% d%'", ["good"]),
        ("notes = 'quiet'", ["inf"]),
        ("note not like '%exploded%'", ["nan", "inf", "none"]),
        # times: a date is a whole day, UTC
        ("started = '2026-02-01'", ["good", "nan"]),
        ("started != '2026-02-01'", ["inf"]),
        ("started > '2026-02-01'", ["inf"]),
        ("started >= '2026-02-01 12:00'", ["nan", "inf"]),
        ("started < '2026-02-02T00:00:00+00:00'", ["good", "nan"]),
        ("started <= '2026-02-02'", ["good", "nan", "inf"]),
        ("started between '2026-02-01' and '2026-02-01'", ["good", "nan"]),
        ("started < '9999-12-30'", ["good", "nan", "inf"]),
        ("started > '0001-01-01'", ["good", "nan", "inf"]),
        # logic
        ("state = 'failed' or number = 0 and objective = 1", ["good", "nan"]),
        ("(state = 'failed' or number = 0) and objective = 1", ["good"]),
        ("NOT (state = 'failed' OR number = 0)", ["inf", "none"]),
        ("not not number = 0", ["good"]),
        ("number=0 and(state='finished')", ["good"]),
        ("(" * MAX_DEPTH + "number = 0" + ")" * MAX_DEPTH, ["good"]),
        ("not " * MAX_DEPTH + "number = 0", ["nan", "inf", "none"]),
        ("not (number = 9 or " * 7 + "number = 0" + ")" * 7, ["nan", "inf", "none"]),
        (" or ".join(["number = 0"] * 900), ["good"]),
        ("id in (" + ", ".join(f"'r{i}'" for i in range(1000)) + ", 'good')", ["good"]),
    ],
)
def test_a_filter_selects_what_it_says(matching: Matching, text: str, expected: list[str]) -> None:
    assert matching(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the filter is empty; write for instance: state = 'finished'"),
        ("lr <", "at character 5: expected a value after '<'"),
        ("lr < and", "at character 6: expected a value after '<'"),
        ("lr ! 3", "at character 4: '!' means nothing here; write 'not'"),
        ("lr < 1 && number = 1", "at character 8: '&' means nothing here; write 'and'"),
        ("state = finished", "at character 9: expected a value after '='; text is written in quotes: 'finished'"),
        ("state = 'finishd'", "at character 9: there is no state 'finishd'; did you mean 'finished'?"),
        ("params.optimizer = 'adam", "at character 20: the ' that opens here is never closed"),
        ("lr < 1 number = 1", "at character 8: expected 'and', 'or' or the end, found 'number'"),
        ("(lr < 1", "at character 8: expected ')', found 'the end'"),
        ("lr between 1 or 2", "at character 14: expected 'and' between the two bounds, found 'or'"),
        ("lr in 1", "at character 7: expected '(' after 'in', found '1'"),
        ("lr in (1 2)", "at character 10: expected ',' or ')', found '2'"),
        ("lr is 3", "at character 7: expected 'null' after 'is', found '3'"),
        ("lr", "at character 3: expected a comparison after 'lr', found 'the end'"),
        ("3 < lr", "at character 1: expected a name, found '3'"),
        ("params.lrr < 1", "at character 1: no run has params.lrr; did you mean 'params.lr'?"),
        ("optimiser = 'adam'", "no column, metric or parameter 'optimiser'; did you mean 'optimizer'?"),
        ("meta.x = 1", "no run has meta.x; there is none yet."),
        ("both = 1", "'both' is a metric and a parameter; write metrics.both or params.both"),
        ("objective = 'low'", "'objective' is a number; write the value without quotes"),
        ("experiment = 5", "'experiment' is text; write the value in quotes"),
        ("objective < nan", "nan has no order; write 'objective = nan' or 'objective != nan'"),
        ("objective > null", "null has no order; write 'objective is null'"),
        ("objective = true", "'objective' cannot be compared with true by '='"),
        ("objective like '1%'", "'like' is for text, and 'objective' is not"),
        ("lr like 5", "at character 9: expected a pattern in quotes after 'like'"),
        ("tag < 'x'", "'tag' has no order; it can be compared with = and !="),
        ("tags.best < true", "'tags.best' is a tag; compare it by = or != with true, false or text in quotes"),
        ("tags.best = 1", "'tags.best' is a tag; compare it by = or !="),
        ("tags.best like 'x'", "'like' is for text, and 'tags.best' is not"),
        ("started > 'yesterday'", "'yesterday' is no time; write a date '2026-01-31' or a time '2026-01-31 18:00'"),
        ("started > 2026", "'started' is a time; write it in quotes"),
        ("2nd_loss < 1", "a name that begins with a digit is written in backquotes"),
        ("(" * (MAX_DEPTH + 1) + "lr < 1" + ")" * (MAX_DEPTH + 1), "more than 15 levels"),
        ("not " * 5_000 + "lr < 1", "the filter has 20,006 characters; at most 20,000 are allowed"),
        ("lr = '\ud800'", "half a character"),
    ],
)
def test_a_malformed_filter_says_where_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(text, names=NAMES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_wins_over_a_parameter_of_the_same_name() -> None:
    names = Names(params=frozenset({"seed"}))
    assert compile_filter("seed = 1", names=names) == "seed = 1"
    assert "params" in compile_filter("params.seed = 1", names=names)


def test_runs_are_ordered_by_a_column_or_by_a_key() -> None:
    assert compile_order("started", names=NAMES) == Order("started")
    assert compile_order("id", names=NAMES) == Order("run_id")
    assert compile_order("val/loss", names=NAMES) == Order("metrics", "val/loss")
    assert compile_order("params.`weird name`", names=NAMES) == Order("params", "weird name")


@pytest.mark.parametrize(
    "text", ["", "nothing", "tags", "tags.best", "notes", "loss desc", "loss, lr", "loss < 1", "'loss'"]
)
def test_an_order_that_is_no_single_sortable_name_is_refused(text: str) -> None:
    with pytest.raises(FilterError):
        compile_order(text, names=NAMES)


SLOW_TABLE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = st.sampled_from(
    [
        *("lr", "params.lr", "loss", "objective", "state", "tag", "notes", "started", "number", "`weird name`", "both"),
        *("=", "!=", "<", ">=", "in", "(", ")", ",", "not", "and", "or", "like", "between", "is", "null", "true"),
        *("nan", "-inf", "1", "-2", "1e-3", "1e999", "'x'", '"y\'"', "'%'", "'\\'", "'2026-01-01'", "--", ";", "/*"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        compiled = compile_filter(text, names=NAMES)
    except FilterError as refusal:
        compiled = str(refusal)
    assert compiled


@SLOW_TABLE
@given(pieces=st.lists(PIECES, min_size=1, max_size=12))
def test_what_compiles_runs_on_the_database(matching: Matching, pieces: list[str]) -> None:
    try:
        compile_filter(" ".join(pieces), names=NAMES)
    except FilterError:
        return
    assert set(matching(" ".join(pieces))) <= set(matching("number >= 0"))


@SLOW_TABLE
@given(value=st.text(st.characters(exclude_categories=["Cs"])))
@example("' or 1=1 --")
@example("\\' or true or '")
@example("'' or ''='")
@example("\\")
@example("\x00'; drop table runs")
def test_no_text_breaks_out_of_its_quotes(matching: Matching, value: str) -> None:
    known = {"adam", "sgd", "o'brien"}
    quoted = "'" + value.replace("'", "''") + "'"
    assert value in known or matching(f"params.optimizer = {quoted}") == []
    assert value in known or matching(f"params.optimizer in ('-', {quoted})") == []
    assert value in {"best", "it's", "old"} or matching(f"tag = {quoted}") == []
    matching(f"params.optimizer like {quoted}")


@SLOW_TABLE
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example("x') = '1' or json_get_string(params, 'lr")
@example("a`b")
@example('"')
def test_no_name_breaks_out_of_its_quotes(matching: Matching, name: str) -> None:
    text = "params.`" + name.replace("`", "``") + "` = 'nothing'"
    sql = compile_filter(text, names=Names(params=frozenset({name})))
    assert sql == "json_get_string(params, '" + name.replace("'", "''") + "') = 'nothing'"


@SLOW_TABLE
@given(bound=st.floats(), operator=st.sampled_from(["<", "<=", ">", ">=", "=", "!="]))
@example(0.0, "=")
@example(-0.0, "<=")
@example(0.01, "=")
def test_numbers_compare_as_in_python(matching: Matching, bound: float, operator: str) -> None:
    if math.isnan(bound) and operator not in ("=", "!="):
        return
    same = (lambda v: math.isnan(v)) if math.isnan(bound) else (lambda v: v == bound)
    holds: dict[str, Callable[[float], bool]] = {
        "<": lambda v: v < bound,
        "<=": lambda v: v <= bound,
        ">": lambda v: v > bound,
        ">=": lambda v: v >= bound,
        "=": same,
        "!=": lambda v: not same(v),
    }
    objective = [row["run_id"] for row in ROWS if row["objective"] is not None and holds[operator](row["objective"])]
    loss = [
        row["run_id"] for row in ROWS if "loss" in row["metrics"] and holds[operator](float(row["metrics"]["loss"]))
    ]
    assert matching(f"objective {operator} {bound!r}") == objective
    assert matching(f"metrics.loss {operator} {bound!r}") == loss
