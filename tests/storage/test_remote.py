from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StoreUnavailableError
from storage.lance import Database
from storage.remote import DEFAULTS, Trouble, endpoint, explain, persist, table_options
from storage.store import open_store
from tests.storage.s3 import SECRET_KEY, LoopbackS3

# -- settings


def test_an_endpoint_that_says_http_is_spoken_to_without_tls() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://minio:9000"}
    assert table_options("s3://b/x", environ)["allow_http"] == "true"
    assert "allow_http" not in table_options("s3://b/x", {"AWS_ENDPOINT": "https://minio:9000"})


def test_the_endpoint_for_s3_alone_goes_before_the_general_one() -> None:
    assert endpoint({"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_S3": "https://b"}) == "https://b"
    assert endpoint({"AWS_ENDPOINT_URL": ""}) is None


@pytest.mark.parametrize("name", ["TIMEOUT", "AWS_TIMEOUT", "AWS_CONNECT_TIMEOUT", "OBJECT_STORE_CLIENT_MAX_RETRIES"])
def test_a_setting_in_the_environment_is_left_to_the_library(name: str) -> None:
    key = name.removeprefix("AWS_").removeprefix("OBJECT_STORE_").lower()
    assert set(table_options("s3://b/x", {name: "9"})) == set(DEFAULTS) - {key}


def test_a_folder_and_the_hosted_service_need_no_options() -> None:
    assert [table_options(uri, {"AWS_ENDPOINT_URL": "http://x"}) for uri in ("/tmp/x", "db://team")] == [{}, {}]
    assert table_options("gs://b/x", {"AWS_ENDPOINT_URL": "http://x"}) == dict(DEFAULTS)


# -- words for errors


@pytest.mark.parametrize(
    ("text", "reason", "passing"),
    [
        ("after 4 retries - Server returned non-2xx status code: 500 I: <Code>InternalError</Code>", "500 (Int", True),
        (
            "retry_timeout: 4s, inner: Status { status: 403, body: <Code>AccessDenied</Code>",
            "(AccessDenied); ch",
            False,
        ),
        ("inner: Status { status: 404, body: <Code>NoSuchBucket</Code>", "there is no bucket 'b'", False),
        ("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation", "there is no bucket 'b'", False),
        ("AWS Error SLOW_DOWN during PutObject operation", "answered with an error (SLOW_DOWN)", True),
        ("AWS Error UNKNOWN (HTTP status 503) during HeadObject operation", "503 (UNKNOWN)", True),
        ("Commit result for version 7 is unknown: the commit may or may not", "whether the commit went", True),
        ("Commit conflict for version 2: Failed to commit", "other writers were faster", True),
        ("status code: 409: <Code>ConditionalRequestConflict</Code>", "other writers were faster", True),
        ("status code: 412: <Code>PreconditionFailed</Code>", "other writers were faster", True),
        ("in 3s, after 2 retries, retry_timeout: 4s - HTTP error: error sending request", "did not answer", True),
        ("curlCode: 28, Timeout was reached", "did not answer in time", True),
        ("kind: Connect, source: tcp connect error", "cannot connect to the service", True),
        ("curlCode: 7, Could not connect to server", "cannot connect to the service", True),
        ("Failed to get AWS credentials: CredentialsNotLoaded", "no credentials were found; set AWS_ACC", False),
    ],
)
def test_an_error_of_the_service_is_said_in_words(text: str, reason: str, passing: bool) -> None:
    trouble = explain(text, "s3://b/x")
    assert trouble is not None
    assert reason in trouble.reason
    assert trouble.passing is passing


def test_an_error_about_something_else_is_not_blamed_on_the_service() -> None:
    assert explain("No field named lr. Valid fields are run_id, state", "s3://b/x") is None
    assert explain("Table 'runs' was not found, retry_timeout: 4s", "s3://b/x") is None


def test_a_password_in_the_endpoint_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:secret@minio:9000")
    assert explain("tcp connect error", "s3://b/x") == Trouble("cannot connect to http://minio:9000", passing=True)


@given(st.text())
def test_an_explanation_is_one_line(text: str) -> None:
    trouble = explain(text, "s3://b/x")
    assert trouble is None or len(trouble.reason.splitlines()) == 1


# -- patience


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def failing(n_times: int, *, passing: bool) -> tuple[list[int], object]:
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) <= n_times:
            error = StoreUnavailableError("not now")
            error.passing = passing
            raise error
        return "done"

    return calls, call


def test_what_passes_is_tried_again_with_growing_pauses() -> None:
    time, (calls, call) = Time(), failing(9, passing=True)
    assert persist(call, for_s=60.0, clock=time.clock, sleep=time.sleep, jitter=lambda: 0.5) == "done"  # type: ignore[arg-type]
    assert len(calls) == 10
    assert time.slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


def test_what_does_not_pass_is_tried_once() -> None:
    time, (calls, call) = Time(), failing(9, passing=False)
    with pytest.raises(StoreUnavailableError):
        persist(call, clock=time.clock, sleep=time.sleep)  # type: ignore[arg-type]
    assert len(calls) == 1


def test_patience_ends() -> None:
    time, (_, call) = Time(), failing(10_000, passing=True)
    with pytest.raises(StoreUnavailableError):
        persist(call, for_s=30.0, clock=time.clock, sleep=time.sleep)  # type: ignore[arg-type]
    assert time.now <= 30.0


# -- in front of a service


def test_a_bucket_that_does_not_exist_is_named(s3: LoopbackS3) -> None:
    with pytest.raises(StoreUnavailableError, match="there is no bucket 'nope'; create it first") as caught:
        open_store("s3://nope/store")
    assert not caught.value.passing


def test_refused_credentials_are_named_and_not_shown(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDWRONG")
    with pytest.raises(StoreUnavailableError, match=r"403 \(InvalidAccessKeyId\); check AWS_ACCESS_KEY_ID") as caught:
        open_store(s3_uri)
    assert not caught.value.passing
    assert "\n" not in str(caught.value)
    assert "AKIDWRONG" not in str(caught.value)
    assert SECRET_KEY not in str(caught.value)


def test_a_service_that_is_not_there_is_named(s3: LoopbackS3, s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailableError, match=r"cannot connect to http://127\.0\.0\.1:9") as caught:
        open_store(s3_uri)
    assert caught.value.passing


@pytest.mark.parametrize("kind", ["500", "reset", "stall"])
def test_each_kind_of_fault_passes(s3: LoopbackS3, s3_uri: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_TIMEOUT", "300ms")
    monkeypatch.setenv("OBJECT_STORE_CLIENT_MAX_RETRIES", "0")
    database = Database(s3_uri, create=True)
    s3.faults(1.0, kinds=(kind,), stall_s=0.5)
    with pytest.raises(StoreUnavailableError, match="cannot read the store") as caught:
        database.count("events")
    assert caught.value.passing
    assert "\n" not in str(caught.value)


def test_a_commit_whose_answer_was_lost_is_not_made_twice(s3: LoopbackS3, s3_uri: str) -> None:
    database = Database(s3_uri, create=True)
    columns = {"number": "int32"}
    database.create("t", columns)
    s3.faults(0.5, kinds=("lost",), match=r"^PUT .*\.manifest", seed=1)
    for number in range(8):
        database.append("t", {"number": [number]}, columns)
    assert s3.counts()["fault lost"] > 2
    assert [row["number"] for row in database.select("t", ["number"])] == list(range(8))


def test_a_table_is_created_once_though_answers_get_lost(s3: LoopbackS3, s3_uri: str) -> None:
    Database(s3_uri, create=True)
    for seed in range(5):
        s3.faults(0.25, kinds=("500", "503", "reset", "lost", "409"), seed=seed)
        database = Database(s3_uri, create=False)
        database.create(f"t{seed}", {"number": "int32"})
        database.append(f"t{seed}", {"number": [seed]}, {"number": "int32"})
        s3.faults(0.0)
        assert database.select(f"t{seed}", ["number"]) == [{"number": seed}]
