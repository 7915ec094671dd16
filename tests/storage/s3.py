"""A small S3 server on loopback, with faults on request, in a process of its own.

It speaks what LanceDB and Arrow ask of S3: objects with ``If-None-Match: *`` and ``If-Match``, ranges, multipart
uploads, list v2, delete and batch delete. It leaves out signatures (only the access key is compared), versions,
ACLs and every other call, which it answers with 501. One thread handles one request after the other, so a
conditional write is atomic here as it is there.

Why not moto: on two cores it answered 150 to 220 requests a second where this one answers some thousands, and its
server extra brings 35 packages, among them Flask, docker and cfn-lint, into an environment that tests share.

Run as a program it prints its port and ends when its standard input closes, however its parent ends.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import hashlib
import json
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

ACCESS_KEY, SECRET_KEY = "AKIDLOOPBACK", "a-secret-that-no-message-shows"
BUCKET = "runs"
FAULTS = ("500", "503", "reset", "lost", "stall", "409")
"""InternalError · SlowDown · connection closed before the work · work done but the answer lost · no answer for
``stall_s`` · ConditionalRequestConflict, for conditional writes only."""
CODES = {"500": "InternalError", "503": "SlowDown", "409": "ConditionalRequestConflict", "403": "AccessDenied"}
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


# ---------------------------------------------------------------- the server


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def conditional(self) -> bool:
        return self.method == "PUT" and ("if-none-match" in self.headers or "if-match" in self.headers)


@dataclass(slots=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    data: bytes
    etag: str
    modified: float


class S3Error(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Bucket:
    """Objects by key, and the keys in their order."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.keys: list[str] = []
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}

    def put(self, key: str, data: bytes) -> Stored:
        if key not in self.objects:
            bisect.insort(self.keys, key)
        self.objects[key] = Stored(data, f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"', time.time())
        return self.objects[key]

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            del self.keys[bisect.bisect_left(self.keys, key)]


class Service:
    """Buckets, the faults to inject, and counts of what was asked."""

    def __init__(self) -> None:
        self.buckets = {BUCKET: Bucket()}
        self.counts: Counter[str] = Counter()
        self.set_faults({})

    def set_faults(self, rule: dict[str, Any]) -> None:
        self.counts.clear()
        self.rate = float(rule.get("rate", 0.0))
        self.kinds = list(rule.get("kinds", FAULTS))
        self.match = re.compile(rule.get("match", ""))
        self.stall_s = float(rule.get("stall_s", 2.0))
        self.random = random.Random(rule.get("seed", 0))

    def fault(self, request: Request) -> str | None:
        if not self.rate or not self.match.search(f"{request.method} {request.path}"):
            return None
        if self.random.random() >= self.rate:
            return None
        kind = self.random.choice(self.kinds)
        if kind == "409" and not request.conditional:
            kind = "503"
        self.counts[f"fault {kind}"] += 1
        return kind

    def answer(self, request: Request) -> Answer:
        try:
            return self._answer(request)
        except S3Error as error:
            self.counts[f"status {error.status}"] += 1
            return error_answer(error.status, error.code)

    def _answer(self, request: Request) -> Answer:
        credential = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
        if credential is None or credential[1] != ACCESS_KEY:
            raise S3Error(403, "AccessDenied" if credential is None else "InvalidAccessKeyId")
        name, _, key = request.path.lstrip("/").partition("/")
        bucket = self.buckets.get(name)
        if bucket is None:
            raise S3Error(404, "NoSuchBucket")
        if not key:
            return self._on_bucket(request, bucket, name)
        handler = {"GET": get, "HEAD": get, "PUT": put, "POST": post, "DELETE": delete}.get(request.method)
        if handler is None:
            raise S3Error(501, "NotImplemented")
        return handler(request, bucket, key)

    def _on_bucket(self, request: Request, bucket: Bucket, name: str) -> Answer:
        if request.method == "HEAD":
            return Answer(headers={"x-amz-bucket-region": "us-east-1"})
        if request.method == "GET" and request.query.get("list-type") == "2":
            return list_objects(request, bucket, name)
        if request.method == "GET" and "location" in request.query:
            return xml("<LocationConstraint/>")
        if request.method == "POST" and "delete" in request.query:
            keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", request.body.decode(), re.DOTALL)]
            for key in keys:
                bucket.delete(key)
            return xml(
                "<DeleteResult>"
                + "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
                + "</DeleteResult>"
            )
        raise S3Error(501, "NotImplemented")


def get(request: Request, bucket: Bucket, key: str) -> Answer:
    stored = bucket.objects.get(key)
    if stored is None:
        raise S3Error(404, "NoSuchKey")
    data, status = stored.data, 200
    headers = {
        "ETag": stored.etag,
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if wanted is not None:
        size = len(data)
        first = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
        last = min(size - 1, int(wanted[2])) if wanted[1] and wanted[2] else size - 1
        if first >= size:
            raise S3Error(416, "InvalidRange")
        data, status = data[first : last + 1], 206
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Answer(status, data, headers)


def put(request: Request, bucket: Bucket, key: str) -> Answer:
    if "uploadId" in request.query:
        _, parts = upload_of(request, bucket)
        parts[int(request.query["partNumber"])] = request.body
        return Answer(headers={"ETag": f'"{hashlib.md5(request.body, usedforsecurity=False).hexdigest()}"'})
    if "x-amz-copy-source" in request.headers:
        source = unquote(request.headers["x-amz-copy-source"]).lstrip("/").partition("/")[2]
        if source not in bucket.objects:
            raise S3Error(404, "NoSuchKey")
        copied = bucket.put(key, bucket.objects[source].data)
        return xml(f"<CopyObjectResult><ETag>{escape(copied.etag)}</ETag></CopyObjectResult>")
    check_conditions(request, bucket, key)
    return Answer(headers={"ETag": bucket.put(key, request.body).etag})


def check_conditions(request: Request, bucket: Bucket, key: str) -> None:
    stored = bucket.objects.get(key)
    if request.headers.get("if-none-match") == "*" and stored is not None:
        raise S3Error(412, "PreconditionFailed")
    if "if-match" in request.headers and (stored is None or stored.etag != request.headers["if-match"]):
        raise S3Error(404 if stored is None else 412, "NoSuchKey" if stored is None else "PreconditionFailed")


def post(request: Request, bucket: Bucket, key: str) -> Answer:
    if "uploads" in request.query:
        upload_id = f"upload-{len(bucket.uploads)}-{time.time_ns()}"
        bucket.uploads[upload_id] = (key, {})
        return xml(
            f"<InitiateMultipartUploadResult><Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
            "</InitiateMultipartUploadResult>"
        )
    if "uploadId" not in request.query:
        raise S3Error(501, "NotImplemented")
    _, parts = upload_of(request, bucket)
    check_conditions(request, bucket, key)
    numbers = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", request.body.decode())]
    if not numbers or any(number not in parts for number in numbers):
        raise S3Error(400, "InvalidPart")
    stored = bucket.put(key, b"".join(parts[number] for number in numbers))
    del bucket.uploads[request.query["uploadId"]]
    return xml(
        f"<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>{escape(stored.etag)}</ETag>"
        "</CompleteMultipartUploadResult>"
    )


def delete(request: Request, bucket: Bucket, key: str) -> Answer:
    if "uploadId" in request.query:
        upload_of(request, bucket)
        del bucket.uploads[request.query["uploadId"]]
    else:
        bucket.delete(key)
    return Answer(204)


def upload_of(request: Request, bucket: Bucket) -> tuple[str, dict[int, bytes]]:
    upload = bucket.uploads.get(request.query["uploadId"])
    if upload is None:
        raise S3Error(404, "NoSuchUpload")
    return upload


def list_objects(request: Request, bucket: Bucket, name: str) -> Answer:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after", "")
    limit = min(int(query.get("max-keys", 1000)), 1000)
    start = bisect.bisect_left(bucket.keys, prefix)
    if after >= prefix:
        start = max(start, bisect.bisect_right(bucket.keys, after))
    contents: list[str] = []
    prefixes: list[str] = []
    last, truncated = "", False
    while start < len(bucket.keys) and bucket.keys[start].startswith(prefix):
        key = bucket.keys[start]
        if len(contents) + len(prefixes) >= limit:
            truncated = True
            break
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            contents.append(key)
            last, start = key, start + 1
        else:  # everything below a common prefix is one entry
            prefixes.append(key[: cut + len(delimiter)])
            last = prefixes[-1] + "\U0010ffff"
            start = bisect.bisect_right(bucket.keys, last)
    encoded = [
        f"<Contents><Key>{escape(key)}</Key><Size>{len(bucket.objects[key].data)}</Size>"
        f"<ETag>{escape(bucket.objects[key].etag)}</ETag><LastModified>{iso(bucket.objects[key].modified)}"
        "</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
        for key in contents
    ]
    encoded += [f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in prefixes]
    token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if truncated else ""
    return xml(
        f"<ListBucketResult><Name>{name}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{limit}</MaxKeys>"
        f"<KeyCount>{len(contents) + len(prefixes)}</KeyCount><IsTruncated>{str(truncated).lower()}</IsTruncated>"
        f"{token}{''.join(encoded)}</ListBucketResult>"
    )


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03}Z"


def unescape(text: str) -> str:
    for code, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(code, character)
    return text


def xml(body: str) -> Answer:
    return Answer(body=(XML + body).encode(), headers={"Content-Type": "application/xml"})


def error_answer(status: int, code: str) -> Answer:
    answer = xml(f"<Error><Code>{code}</Code><Message>injected or deserved</Message></Error>")
    answer.status = status
    return answer


def without_chunk_signatures(body: bytes) -> bytes:
    """Decode ``aws-chunked``: size in hex and a signature before each piece."""
    out, at = [], 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        if size == 0:
            return b"".join(out)
        out.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


class Connection(asyncio.Protocol):
    """One client, whose requests are answered in their order."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.data = bytearray()
        self.head: tuple[Request, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        while not self.transport.is_closing() and (request := self.next_request()) is not None:
            self.handle(request)

    def next_request(self) -> Request | None:
        if self.head is None:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return None
            request = parse_head(bytes(self.data[:end]))
            del self.data[: end + 4]
            self.head = request, int(request.headers.get("content-length", 0))
            if request.headers.get("expect", "").lower() == "100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request, length = self.head
        if request.headers.get("transfer-encoding") == "chunked":
            end = self.data.find(b"0\r\n\r\n")
            if end < 0:
                return None
            request.body, length = without_chunk_signatures(bytes(self.data[: end + 5])), end + 5
        elif len(self.data) < length:
            return None
        else:
            request.body = bytes(self.data[:length])
        del self.data[:length]
        self.head = None
        if request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            request.body = without_chunk_signatures(request.body)
        return request

    def handle(self, request: Request) -> None:
        service = self.service
        if request.path.startswith("/_"):
            if request.method == "PUT":
                service.set_faults(json.loads(request.body))
            elif request.method == "DELETE":
                service.buckets[BUCKET] = Bucket()
            answer = {"counts": service.counts, "keys": service.buckets[BUCKET].keys}
            return self.send(request, Answer(body=json.dumps(answer).encode()))
        service.counts[request.method] += 1
        fault = service.fault(request)
        if fault in CODES:
            return self.send(request, error_answer(int(fault), CODES[fault]))
        if fault == "reset":
            return self.transport.abort()
        answer = service.answer(request)
        if fault == "lost":
            return self.transport.abort()
        if fault == "stall":
            loop = asyncio.get_running_loop()
            loop.call_later(service.stall_s, self.transport.abort)
            self.head = None
            return self.transport.pause_reading()
        return self.send(request, answer)

    def send(self, request: Request, answer: Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} X", f"Content-Length: {len(answer.body)}", "x-amz-request-id: 0"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        body = b"" if request.method == "HEAD" else answer.body
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)


def parse_head(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers)


async def serve() -> None:
    service = Service()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the parent closes it, or ends
    server.close()


# ---------------------------------------------------------------- its owner


@dataclass(frozen=True, slots=True)
class LoopbackS3:
    """A running server, as its owner sees it."""

    endpoint: str

    def environment(self) -> dict[str, str]:
        """Return the variables with which any S3 client finds the server, and needs no other."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def faults(self, rate: float, *, kinds: tuple[str, ...] = FAULTS, seed: int = 0, **rule: Any) -> None:
        """Let a share of the requests fail, chosen by a seeded generator; ``rate`` 0 ends it. Counts begin anew."""
        self._ask("PUT", json.dumps({"rate": rate, "kinds": kinds, "seed": seed, **rule}).encode())

    def counts(self) -> Counter[str]:
        """Return how many requests came by method, how many failed by status, how many by injection."""
        return Counter(json.loads(self._ask("GET"))["counts"])

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys that there are."""
        return [key for key in json.loads(self._ask("GET"))["keys"] if key.startswith(prefix)]

    def put(self, path: str, data: bytes) -> None:
        """Write an object, as somebody else would."""
        headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/x"}
        request = urllib.request.Request(f"{self.endpoint}/{path}", data=data, method="PUT", headers=headers)
        urllib.request.urlopen(request, timeout=30).close()

    def empty(self) -> None:
        """Forget every object."""
        self._ask("DELETE")

    def _ask(self, method: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.endpoint}/_control", data=body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())


@contextlib.contextmanager
def running() -> Iterator[LoopbackS3]:
    """Run the server on a free port for as long as the context lasts."""
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield LoopbackS3(f"http://127.0.0.1:{int(server.stdout.readline())}")
    finally:
        server.stdin.close()
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve())
