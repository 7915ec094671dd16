"""Damaged and hostile files against every reader of other tools' data: does reading always end, in a run or a refusal?

    python evals/sources_fuzz.py [--inputs 10000] [--tool TOOL] [--out fuzz.json]

For each reader, folders written by the real tool (tests/data/sources) are copied and damaged, one way at a time: a file
is cut, its bits are flipped, bytes go, come or double, hostile text goes into it, it is written in another encoding,
emptied, replaced by a folder, a pipe, a link to a file elsewhere, a sparse file of 2 GB, or renamed to a hostile name.
Then everything is found, and what changed is read, as an import would. Counted are: runs read, refusals (SourceError,
each is a line for the user), other exceptions, readings of more than 5 s, the peak memory of its process, and whether
anything changed outside or inside of the folder. Each reader runs in a process of its own whose memory is limited.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the tests' helpers

from advisor.sources.registry import readers  # noqa: E402
from tests.advisor.sources.recorded import DATA, damaged, read_through, stamps  # noqa: E402

HANG_S = 5
MEMORY_GIB = 3
NAMES = ("..", "a\nb", "\u202egnp.vsc", "-rf", "con", "x" * 200, "%s%n", "$(reboot)", "\udcff")
BYTES_AT_MOST = 2_000_000
"""Of a fixture's file that is damaged; larger ones would only make each input slower."""


class HangError(Exception):
    """A reading took too long."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="for each reader")
    parser.add_argument("--tool", action="append", help="only this one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(work(args.worker, args.inputs, args.seed)))
        return
    rows = []
    print(
        f"{'tool':14} {'inputs':>7} {'read':>8} {'refused':>8} {'crashes':>8} {'hangs':>6} {'slowest s':>9} {'MiB':>6}"
    )
    for tool in args.tool or [reader.tool for reader in readers()]:
        if not fixtures(tool):
            print(f"{tool:14} no folder in {DATA.relative_to(ROOT)}")
            continue
        row = in_own_process(tool, args.inputs, args.seed)
        rows.append(row)
        figures = f"{row['inputs']:>7,} {row['read']:>8,} {row['refused']:>8,} {row['crashes']:>8} {row['hangs']:>6}"
        more = f"{row['slowest_s']:>9.2f} {row['peak_mib']:>6.0f}{'  WROTE' if row['wrote'] else ''}"
        print(f"{tool:14} {figures} {more}")
        for where, n in row["where"].items():
            print(f"    {n} x {where}")
    if args.out:
        args.out.write_text(json.dumps({"rows": rows, "seed": args.seed}, indent=1))


def fixtures(tool: str) -> list[Path]:
    """Return the folders of one tool's data."""
    return sorted(path for path in DATA.glob(f"{tool}-*") if path.is_dir())


def in_own_process(tool: str, inputs: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", tool, "--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {
            "tool": tool, "inputs": 0, "read": 0, "refused": 0, "crashes": 1, "hangs": 0, "slowest_s": 0.0,
            "peak_mib": 0.0, "wrote": False, "where": {f"the process ended with {done.returncode}": 1},
        }  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def work(tool: str, inputs: int, seed: int) -> dict[str, Any]:
    """Damage and read, in this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GIB * 2**30,) * 2)
    signal.signal(signal.SIGALRM, _hang)
    reader = next(each for each in readers() if each.tool == tool)
    rng = random.Random(f"{seed} {tool}")
    counts: Counter[str] = Counter()
    where: Counter[str] = Counter()
    slowest = 0.0
    wrote = False
    folders = fixtures(tool)
    with tempfile.TemporaryDirectory() as place:
        outside = Path(place) / "outside"
        outside.mkdir()
        (outside / "secret.txt").write_text("not to be read")
        for number, folder in enumerate(folders):
            scratch = Path(place) / "in" / folder.name
            copy = shutil.copytree(folder, scratch)
            (copy / "expected.json").unlink(missing_ok=True)
            known, clean = stamps(reader, copy), contents(outside)
            files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size < BYTES_AT_MOST)
            for _ in range(inputs // len(folders) + (number < inputs % len(folders))):
                undo = harm(rng.choice(files), rng, outside)
                begun = time.monotonic()
                signal.alarm(HANG_S)
                try:
                    n_runs, n_refused = read_through(reader, copy, known)
                    counts.update(read=n_runs, refused=n_refused)
                except HangError:
                    counts["hangs"] += 1
                    where[f"hang: {_place()}"] += 1
                except Exception:  # noqa: BLE001  # what is counted
                    counts["crashes"] += 1
                    where[_place()] += 1
                finally:
                    signal.alarm(0)
                slowest = max(slowest, time.monotonic() - begun)
                wrote = wrote or contents(outside) != clean
                undo()
                known = stamps(reader, copy)
                counts["inputs"] += 1
            wrote = wrote or listing(copy) != listing(folder) - {"expected.json"}
    return {
        "tool": tool,
        **{name: counts[name] for name in ("inputs", "read", "refused", "crashes", "hangs")},
        "slowest_s": round(slowest, 3),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "wrote": wrote,
        "where": dict(where.most_common(10)),
    }


def harm(path: Path, rng: random.Random, outside: Path) -> Any:
    """Damage one file; return what undoes it."""
    content = path.read_bytes()

    def undo() -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(content)

    how = rng.randrange(24)
    if how == 0:
        path.unlink()
        path.mkdir()
    elif how == 1:
        path.unlink()
        os.mkfifo(path)
    elif how == 2:
        path.unlink()
        path.symlink_to(outside / "secret.txt")
    elif how == 3:
        with path.open("r+b") as file:
            file.truncate(2 * 2**30)
    elif how == 4:
        path.write_bytes(b"")
    elif how == 5:
        renamed = path.with_name(os.fsdecode(os.fsencode(rng.choice(NAMES[1:]))) + path.suffix)
        path.rename(renamed)

        def undo() -> None:
            renamed.unlink()
            path.write_bytes(content)

    else:
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            path.write_bytes(damaged(path.read_bytes(), rng))
    return undo


def contents(folder: Path) -> str:
    return hashlib.sha256(
        repr(sorted((str(path), path.read_bytes()) for path in folder.rglob("*") if path.is_file())).encode()
    ).hexdigest()


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _hang(*_: object) -> None:
    raise HangError


def _place() -> str:
    kind, error, trace = sys.exc_info()
    frames = [frame for frame in traceback.extract_tb(trace) if "/advisor/" in frame.filename]
    last = frames[-1] if frames else None
    at = f"{Path(last.filename).name}:{last.lineno}" if last else "?"
    return f"{kind.__name__ if kind else '?'} at {at}: {str(error)[:80]}"


if __name__ == "__main__":
    main()
