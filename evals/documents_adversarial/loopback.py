"""A language model's server on loopback that speaks as vLLM, llama.cpp and LM Studio do, as Ollama does, and as
Anthropic does: in one piece or as a stream. What it says is one function's, which is given the conversation.

It can also fail: hang, drip, answer with a status, cut its answer short, or send any bytes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Say = Callable[[dict[str, Any]], str]


@dataclass
class Loopback:
    """The server's state, open to who started it."""

    root: str = ""
    """Address without a path: Ollama's and Anthropic's."""
    say: Say = lambda request: "{}"
    """From a request's body to what the model says."""
    status: int = 200
    delay_s: float = 0.0
    drip_s: float = 0.0
    """Seconds between single bytes of the body."""
    raw: bytes | None = None
    """Sent as the body, whatever was asked."""
    cut_at: int | None = None
    """Bytes of the body after which the connection is closed."""
    ending: str = "stop"
    """Why the model stopped: ``stop`` or ``length``."""
    streams: bool = True
    """Whether a stream that was asked for is sent."""
    counts_tokens: bool = True
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Path and body of each request."""
    n_connections: int = 0
    """How many connections were opened."""
    keep: bool = True
    """Whether requests are kept."""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Address as OpenAI's clients want it."""
        return f"{self.root}/v1"

    def body(self, path: str, request: dict[str, Any]) -> tuple[str, bytes]:
        """Return the type and the bytes of an answer."""
        if self.raw is not None:
            return "application/json", self.raw
        if self.status != 200:
            return "application/json", json.dumps({"error": {"message": "no", "type": "x"}}).encode()
        text = self.say(request)
        stream = self.streams and bool(request.get("stream"))
        if path.endswith("/api/chat"):
            return self._ollama(text, stream)
        if path.endswith("/messages"):
            return self._anthropic(text, stream)
        return self._openai(text, stream)

    def _openai(self, text: str, stream: bool) -> tuple[str, bytes]:
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18} if self.counts_tokens else None
        base = {"id": "x", "created": 1, "model": "m"}
        if not stream:
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": self.ending}
            whole = {**base, "object": "chat.completion", "choices": [choice]} | ({"usage": usage} if usage else {})
            return "application/json", json.dumps(whole).encode()
        parts = [{"content": piece} for piece in _pieces(text)]
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", **part}, "finish_reason": None}]} for part in parts
        ]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": self.ending}]})
        if usage:
            events.append({"choices": [], "usage": usage})
        lines = [json.dumps({**base, "object": "chat.completion.chunk", **event}) for event in events]
        return "text/event-stream", "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()

    def _ollama(self, text: str, stream: bool) -> tuple[str, bytes]:
        def line(content: str, *, done: bool) -> dict[str, Any]:
            out = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": done}
            counts = {"prompt_eval_count": 11, "eval_count": 7} if self.counts_tokens else {}
            ended = {"done_reason": self.ending, **counts} if done else {}
            return {**out, "message": {"role": "assistant", "content": content}, **ended}

        if not stream:
            return "application/json", json.dumps(line(text, done=True)).encode()
        lines = [*(line(piece, done=False) for piece in _pieces(text)), line("", done=True)]
        return "application/x-ndjson", "".join(json.dumps(one) + "\n" for one in lines).encode()

    def _anthropic(self, text: str, stream: bool) -> tuple[str, bytes]:
        reason = "max_tokens" if self.ending == "length" else "end_turn"
        base = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
        if not stream:
            usage = {"input_tokens": 11, "output_tokens": 7}
            whole = {**base, "content": [{"type": "text", "text": text}], "stop_reason": reason, "usage": usage}
            return "application/json", json.dumps(whole).encode()
        start = {**base, "content": [], "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}
        deltas = [{"index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in _pieces(text)]
        events: list[tuple[str, dict[str, Any]]] = [
            ("message_start", {"message": start}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            *(("content_block_delta", delta) for delta in deltas),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}}),
            ("message_stop", {}),
        ]
        lines = (f"event: {kind}\ndata: {json.dumps({'type': kind, **event})}\n\n" for kind, event in events)
        return "text/event-stream", "".join(lines).encode()


def _pieces(text: str) -> list[str]:
    size = max(len(text) // 4, 1)
    return [text[at : at + size] for at in range(0, len(text), size)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hung up


@contextmanager
def serving() -> Iterator[Loopback]:
    """Run a server until the block ends."""
    state = Loopback()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment an answer: many small ones wait for each other's acknowledgement
        disable_nagle_algorithm = True

        def setup(self) -> None:
            state.n_connections += 1
            super().setup()

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            if state.keep:
                state.requests.append((self.path, request))
            state.stopping.wait(state.delay_s)
            kind, body = state.body(self.path, request)
            try:
                self._send(kind, body)
            except OSError:
                pass  # the client has given up, which is what some measurements are about

        def _send(self, kind: str, body: bytes) -> None:
            self.send_response(state.status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.cut_at is not None:
                self.wfile.write(body[: state.cut_at])
                self.wfile.flush()
                self.close_connection = True
                return
            if not state.drip_s:
                self.wfile.write(body)
                return
            for byte in body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if state.stopping.wait(state.drip_s):
                    return

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = _Server(("127.0.0.1", 0), Handler)
    state.root = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.stopping.set()
        http.shutdown()
        http.server_close()
        thread.join(timeout=5)
