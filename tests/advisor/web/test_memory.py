"""The process that serves gives memory back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from advisor.web.memory import be_frugal

be_frugal()

def resident_mib():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def work(i):
    small = [np.ones(4_000_000 + 1_000 * k) for k in range(4)]  # 30 MB each, in a heap of the thread's own otherwise
    return len(small)

before = resident_mib()
with ThreadPoolExecutor(8) as pool:
    list(pool.map(work, range(32)))
    print(resident_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_large_blocks_that_are_free_are_not_kept(repository: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100
