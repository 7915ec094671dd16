"""What the page costs on a large store: 100,000 runs, and 10 runs of 1,000,000 points, served as a process of its own.

Asked for: the first view under 1 s (warm), no freeze while zooming, less than 1 GiB of memory. Server times are of
whole answers over loopback, and beside them the processor time of a warm one, which says more on a machine that does
other things; the browser's are those that Chromium reports (first paint, load), the longest task that
kept a page from answering among them. The first request to each address is told apart from later ones. What a view
of this version does not have is said to be missing, with its status, and not measured.

    python evals/serve_scale.py [--store build/evals/serve-store] [--runs 100000] [--out PATH] [--no-browser]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "evals")]  # as a script only its own folder would be looked in

from serve_store import EXPERIMENTS, LONG, cached  # noqa: E402

FIRST_VIEW_S: Final = 1.0
MEMORY_MIB: Final = 1024
REPEATS: Final = 7
WITHIN_S: Final = 120
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BIG: Final = EXPERIMENTS[0]


@dataclass(frozen=True)
class View:
    """One address that is asked for."""

    name: str
    path: str
    in_browser: bool = True


@contextlib.contextmanager
def served(store: Path, *options: str) -> Iterator[tuple[str, int, float]]:
    """Serve a store; yields the address, the process and the seconds until the first answer."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "advisor", "--store", str(store), "serve", "--port", str(port), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(OSError):
                get(address + "/static/icon.svg")
                break
            if process.poll() is not None or time.perf_counter() - began > WITHIN_S:
                raise SystemExit("the page was not served")
            time.sleep(0.01)
        yield address, process.pid, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(20)


def get(address: str, **headers: str) -> tuple[int, bytes]:
    """Return status and body of an answer, as the server sends it compressed."""
    request = urllib.request.Request(address, headers={"accept-encoding": "gzip", **headers})
    try:
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Memory:
    """The largest resident set that a process has had, looked at every 20 ms: its own record cannot be set back."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.peak_mib = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def now_mib(self) -> float:
        with contextlib.suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self._pid}/status").read_text())
            return int(found[1]) / 1024 if found else 0.0
        return 0.0

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.peak_mib = max(self.peak_mib, self.now_mib())


def views(long_runs: list[str], short_run: str) -> list[View]:
    """Return what is asked for, in the order in which a person would."""
    exp = f"/experiments/{BIG}"
    long_run, all_long = long_runs[0], ",".join(long_runs)
    both = f"{long_run},{short_run}"
    curves = f"/runs/{long_run}/curves.json?metric=train_loss"
    return [
        View("first page", "/"),
        View("experiments", "/experiments"),
        View("experiment", exp),
        View("experiment, sorted", f"{exp}?sort=val_loss"),
        View("experiment, filtered", f"{exp}?where=params.lr%3C0.01&sort=val_loss"),
        View("experiment, page 300", f"{exp}?page=300", in_browser=False),
        View("experiment, analysis", f"{exp}?tab=analysis"),
        View("experiment, suggestions", f"{exp}?tab=suggestions"),
        View("experiment, ledger", f"{exp}?tab=ledger"),
        View("analysis, worked out", f"{exp}?tab=analysis&now=1", in_browser=False),
        View("suggestions, worked out", f"{exp}?tab=suggestions&now=1", in_browser=False),
        View("ledger, worked out", f"{exp}?tab=ledger&now=1", in_browser=False),
        View("experiment of long runs", f"/experiments/{LONG}"),
        View("run", f"/runs/{short_run}"),
        View("run of 1,000,000 points", f"/runs/{long_run}"),
        View("its curves", curves, in_browser=False),
        View("its curves, zoomed", f"{curves}&from=400000&to=410000", in_browser=False),
        View("compare two runs", f"/compare?runs={both}"),
        View("compare all long runs", f"/compare?runs={all_long}"),
        View("their curves", f"/compare/curves.json?metric=train_loss&runs={all_long}", in_browser=False),
        View("search", "/search?q=val_loss+is+NaN"),
        View("search, another", "/search?q=optimizer+adam+diverged", in_browser=False),
        View("documents", "/documents"),
    ]


def run_ids(store: Path) -> tuple[list[str], str]:
    """Return the runs of many points and an ordinary one, read by a process that is over before the page is served."""
    code = (
        "import sys, storage\ns = storage.open_store(sys.argv[1], create=False)\n"
        "print(*[run.id for name, n in ((sys.argv[2], 100), (sys.argv[3], 1)) for run in s.runs(name, limit=n)])"
    )
    command = [sys.executable, "-c", code, str(store), LONG, BIG]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    *long_runs, short_run = done.stdout.split()
    return long_runs, short_run


def cpu_s(pid: int) -> float:
    """Return the seconds of processor time that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(address: str, view: View, pid: int) -> dict[str, Any]:
    """Ask for a view again and again; the first time is told apart."""
    seconds, used, status, body = [], [], 0, b""
    for _ in range(REPEATS + 1):
        began, cpu = time.perf_counter(), cpu_s(pid)
        status, body = get(address + view.path)
        seconds.append(time.perf_counter() - began)
        used.append(cpu_s(pid) - cpu)
        if status != 200:
            break
    later = seconds[1:] or seconds
    return {
        "status": status,
        "cpu_first_ms": round(used[0] * 1e3),
        "cpu_warm_ms": round(statistics.mean(used[1:] or used) * 1e3),
        "first_ms": round(seconds[0] * 1e3, 1),
        "warm_ms": round(statistics.median(later) * 1e3, 1),
        "worst_ms": round(max(later) * 1e3, 1),
        "bytes": len(body),
    }


WATCH: Final = """
window.__longest = 0; window.__errors = [];
new PerformanceObserver(list => { for (const each of list.getEntries())
  window.__longest = Math.max(window.__longest, each.duration); }).observe({type: 'longtask', buffered: true});
"""
READ: Final = """() => {
  const nav = performance.getEntriesByType('navigation')[0];
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  const files = performance.getEntriesByType('resource').filter(each => each.name.includes('/static/'));
  return {answer_ms: nav.responseEnd, paint_ms: paint ? paint.startTime : null, load_ms: nav.loadEventEnd,
          longest_task_ms: window.__longest, n_elements: document.querySelectorAll('*').length,
          asset_bytes: files.reduce((sum, each) => sum + each.encodedBodySize, 0)};
}"""


def browsed(address: str, found: list[View]) -> dict[str, Any]:
    """Open the views in Chromium, each twice: with an empty cache and again."""
    from playwright.sync_api import sync_playwright

    out: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for view in found:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            context.add_init_script(WATCH)
            page = context.new_page()
            page.set_default_timeout(WITHIN_S * 1e3)
            times = []
            for _ in range(2):
                page.goto(address + view.path, wait_until="load")
                page.wait_for_timeout(600)  # charts fetch their points after the load
                times.append(page.evaluate(READ))
            out[view.name] = {"first": times[0], "again": times[1]}
            if view.name == "run of 1,000,000 points":
                out["zoom"] = zoomed(page)
            context.close()
        browser.close()
    return out


def zoomed(page: Any) -> dict[str, Any]:
    """Drag across a chart, five times, and say how long until the finer points are there, and the longest freeze."""
    chart = page.locator(".chart .u-over").first
    if not chart.count():
        return {"missing": "no chart to zoom into"}
    chart.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    seconds = []
    page.evaluate("window.__longest = 0")
    for _ in range(5):
        box = chart.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=4)
        began = time.perf_counter()
        try:
            with page.expect_response(lambda answer: "curves.json" in answer.url, timeout=5_000):
                page.mouse.up()
            seconds.append(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001 - a view that does not fetch again is a result, not a crash
            return {"missing": f"no finer points were asked for ({type(error).__name__})"}
    page.wait_for_timeout(300)
    longest = page.evaluate("window.__longest")
    return {"median_ms": round(statistics.median(seconds) * 1e3, 1), "longest_task_ms": round(longest, 1)}


def asset_bytes() -> int:
    """Return the bytes of all files of ours and of the vendored ones, uncompressed."""
    static = ROOT / "advisor" / "web" / "static"
    return sum(path.stat().st_size for path in static.rglob("*") if path.suffix in (".js", ".css", ".svg"))


def show(report: dict[str, Any]) -> None:
    print(f"{report['n_runs']:,} runs, {os.cpu_count()} cores, load average {report['load_average']:.1f}")
    print(f"start to the first answer: {report['start_s']:.2f} s; assets: {report['asset_bytes']:,} bytes")
    print(f"\n{'server':28}{'first, ms':>12}{'warm, ms':>12}{'worst, ms':>12}{'CPU, ms':>10}{'kB':>9}")
    for name, row in report["server"].items():
        if row["status"] != 200:
            print(f"{name:28}   missing: the answer is {row['status']}")
            continue
        print(
            f"{name:28}{row['first_ms']:>12}{row['warm_ms']:>12}{row['worst_ms']:>12}{row['cpu_warm_ms']:>10}"
            f"{row['bytes'] / 1e3:>9.1f}"
        )
    for name, row in (report.get("browser") or {}).items():
        if name == "zoom":
            print(f"zoom: {row}")
            continue
        first, again = row["first"], row["again"]
        print(
            f"{name:28} paint {first['paint_ms'] or 0:6.0f} / {again['paint_ms'] or 0:5.0f} ms, load "
            f"{first['load_ms']:6.0f} / {again['load_ms']:5.0f} ms, longest task {again['longest_task_ms']:4.0f} ms, "
            f"{again['n_elements']:,} elements"
        )
    print(f"\nmemory: {report['memory_mib']}")
    for line in report["verdict"]:
        print(line)


def judged(report: dict[str, Any]) -> list[str]:
    """Say what was asked for and what came out."""
    warm = report["server"]["first page"]["warm_ms"] / 1e3
    peak = max(report["memory_mib"].values())
    lines = [
        f"first page warm, server: {warm:.2f} s of {FIRST_VIEW_S} s: {'holds' if warm < FIRST_VIEW_S else 'MISSED'}",
        f"memory: {peak:.0f} MiB of {MEMORY_MIB} MiB: {'holds' if peak < MEMORY_MIB else 'MISSED'}",
    ]
    browser = report.get("browser")
    if browser:
        load = browser["first page"]["again"]["load_ms"] / 1e3
        lines.append(
            f"first page warm, loaded: {load:.2f} s of {FIRST_VIEW_S} s: {'holds' if load < FIRST_VIEW_S else 'MISSED'}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=ROOT / "build" / "evals" / "serve-store")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--long", type=int, default=10)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--only", metavar="WORD", default="", help="views whose name holds the word")
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.store.parent.mkdir(parents=True, exist_ok=True)
    filled_s = cached(given.store, n_runs=given.runs, n_long=given.long, n_points=given.points)
    long_runs, short_run = run_ids(given.store)
    report: dict[str, Any] = {"n_runs": given.runs, "n_points": given.points, "filled_s": filled_s}
    report |= {"load_average": os.getloadavg()[0], "asset_bytes": asset_bytes()}
    found = views(long_runs, short_run)
    if given.only:
        found = [view for view in found if given.only in view.name]
    with served(given.store, "--read-only") as (address, pid, start_s), Memory(pid) as memory:
        report["start_s"] = round(start_s, 2)
        idle = memory.now_mib()
        report["server"] = {view.name: asked(address, view, pid) for view in found}
        report["memory_mib"] = {"after the start": round(idle), "peak of the requests": round(memory.peak_mib)}
        if CHROMIUM and not given.no_browser:
            there = [v for v in found if v.in_browser and report["server"][v.name]["status"] == 200]
            report["browser"] = browsed(address, there)
            report["memory_mib"]["peak with the browser"] = round(memory.peak_mib)
    report["verdict"] = [] if given.only else judged(report)
    show(report)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
