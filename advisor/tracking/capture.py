"""What a run rests on without being told: code, command, versions, hardware, environment.

``capture_quick`` asks only this process and takes a few milliseconds; ``capture_slow`` starts git and nvidia-smi, each
with a deadline, and is meant for a background thread; ``capture`` is both. Nothing that a seed does is captured
here (the user gives seeds), and no package is imported for its version's sake.

Invariants: nothing here raises, since a training must not stop for its description: a part that fails is left out and
named with its reason under ``absent``. All values are JSON, bounded in size, and free of what looks secret.
"""

from __future__ import annotations

import getpass
import logging
import os
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from advisor.redact import redact, redact_command, scrub

_log = logging.getLogger(__name__)

DIFF_LIMIT_BYTES = 200_000
"""Most of an uncommitted change that is kept unless told otherwise; most working changes have less than 50 kB."""

_GIT_TIMEOUT_S = 10.0  # a working tree of a million files on a network disk needs seconds
_NVIDIA_TIMEOUT_S = 10.0  # the first call wakes the driver, which takes some seconds without persistence mode
_MAX_ARGUMENTS = 500
_MAX_TEXT = 2_000
_MAX_LIBRARIES = 80
_MAX_UNTRACKED = 50
_MAX_VARIABLES = 100

_LIBRARIES = (
    "numpy", "scipy", "pandas", "polars", "pyarrow", "scikit-learn", "torch", "torchvision", "lightning",
    "pytorch-lightning", "tensorflow", "keras", "jax", "jaxlib", "flax", "transformers", "datasets", "accelerate",
    "peft", "diffusers", "timm", "xgboost", "lightgbm", "catboost", "optuna", "ray", "triton", "experiment-advisor",
)  # fmt: skip
"""Distributions whose versions decide results; their versions are kept even if they are imported later."""

_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF", "TF_DETERMINISTIC_OPS",
    "TF_CUDNN_DETERMINISTIC", "XLA_FLAGS", "JAX_PLATFORMS", "JAX_ENABLE_X64", "WORLD_SIZE", "RANK", "LOCAL_RANK",
    "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "CONDA_DEFAULT_ENV", "VIRTUAL_ENV", "HF_HUB_OFFLINE",
)  # fmt: skip
_VARIABLE_PREFIXES = ("SLURM_", "PBS_", "LSB_", "NCCL_")

Parts = dict[str, Callable[[], Any]]


def capture(*, diff_limit_bytes: int = DIFF_LIMIT_BYTES) -> dict[str, Any]:
    """Return everything that ``capture_quick`` and ``capture_slow`` find.

    Parameters
    ----------
    diff_limit_bytes
        Most of an uncommitted change that is kept; 0 keeps none.

    Returns
    -------
    dict
        JSON values. ``absent`` maps each part that could not be found to the reason.
    """
    quick = capture_quick()
    slow = capture_slow(diff_limit_bytes=diff_limit_bytes)
    hardware = quick.get("hardware", {}) | ({"gpus": _counted(slow["gpus"])} if slow.get("gpus") else {})
    return quick | slow | {"hardware": hardware, "absent": quick["absent"] | slow["absent"]}


def capture_quick() -> dict[str, Any]:
    """Return what this process knows of itself.

    Keys: ``command`` (list), ``script``, ``cwd``, ``python``, ``libraries`` (version by distribution or module,
    those that are loaded first), ``platform``, ``hardware`` (``machine``; ``cpus`` that the process may use;
    ``memory_gib``), ``host``, ``user``, ``pid``, ``env`` (chosen variables), ``absent``.
    """
    return _collected(
        {
            "command": lambda: [_bounded(text) for text in redact_command(sys.orig_argv[:_MAX_ARGUMENTS])],
            "script": _script,
            "cwd": os.getcwd,
            "python": lambda: {
                "version": platform.python_version(),
                "implementation": platform.python_implementation(),
                "executable": sys.executable,
            },
            "libraries": _libraries,
            "platform": lambda: {"system": platform.system(), "release": platform.release()},
            "hardware": _hardware,
            "host": socket.gethostname,
            "user": getpass.getuser,
            "pid": os.getpid,
            "env": lambda: _variables(os.environ),
        }
    )


def capture_slow(*, diff_limit_bytes: int = DIFF_LIMIT_BYTES, folder: Path | None = None) -> dict[str, Any]:
    """Return what other programs know: the state of the code, and the GPUs.

    Keys: ``git`` (``root, commit, branch, remote, dirty, untracked, n_untracked, diff, diff_truncated``), ``gpus``
    (``name, memory_mib, driver``), ``absent``.

    Parameters
    ----------
    diff_limit_bytes
        Most of an uncommitted change that is kept; 0 keeps none.
    folder
        Where the code is; by default the script's folder, or the working directory where there is no script.
    """
    return _collected({"git": lambda: _git(folder or _code_folder(), diff_limit_bytes), "gpus": _gpus})


class _AbsentError(Exception):
    """A part that is not there, with the reason in plain words."""


def _collected(parts: Parts) -> dict[str, Any]:
    out: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name, part in parts.items():
        try:
            out[name] = part()
        except _AbsentError as reason:
            absent[name] = str(reason)
        except Exception as exc:  # noqa: BLE001  # a training must not stop because its machine is unusual
            _log.debug("could not capture %s", name, exc_info=True)
            absent[name] = _bounded(scrub(f"{type(exc).__name__}: {exc}"))
    return out | {"absent": absent}


def _bounded(text: str, limit: int = _MAX_TEXT) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


# -- this process


def _script() -> str:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not path:
        raise _AbsentError("no script: an interactive session, a notebook or python -c")
    return str(Path(path).absolute())


def _libraries() -> dict[str, str]:
    """Return versions of libraries that matter, and of what else is loaded and says its version."""
    from importlib import metadata

    installed: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    loaded = {name: version for name, version in installed.items() if _module_of(name) in sys.modules}
    versions = loaded | installed
    for name, module in sorted(sys.modules.copy().items()):
        if "." in name or name.startswith("_") or name in sys.stdlib_module_names:
            continue
        # Looked up without getattr, which would run the module's own code and its deprecation warnings.
        version = getattr(module, "__dict__", {}).get("__version__")
        if isinstance(version, str) and name not in map(_module_of, installed) and len(versions) < _MAX_LIBRARIES:
            versions[name] = _bounded(version, 60)
    return versions


def _module_of(distribution: str) -> str:
    known = {"scikit-learn": "sklearn", "experiment-advisor": "advisor"}
    return known.get(distribution, distribution.replace("-", "_"))


def _hardware() -> dict[str, Any]:
    import psutil

    n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gib = round(psutil.virtual_memory().total / 2**30, 1)
    return {"machine": platform.machine(), "cpus": n_cpus, "memory_gib": memory_gib}


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    chosen = {
        name: _bounded(value, 500)
        for name, value in sorted(environ.items())
        if name in _VARIABLES or name.startswith(_VARIABLE_PREFIXES)
    }
    return redact(dict(list(chosen.items())[:_MAX_VARIABLES]))


# -- the code


def _code_folder() -> Path:
    """Return the script's folder, unless the script is an installed program such as pytest or torchrun, or our own."""
    try:
        script = Path(_script()).resolve()
    except _AbsentError:
        return Path.cwd()
    programs = (sys.prefix, sysconfig.get_path("scripts"), Path(__file__).resolve().parents[1])
    is_installed = any(script.is_relative_to(each) for each in programs)
    return Path.cwd() if is_installed or not script.parent.is_dir() else script.parent


def _git(folder: Path, diff_limit_bytes: int) -> dict[str, Any]:
    program = shutil.which("git")
    if program is None:
        raise _AbsentError("git is not installed")
    root = _git_output(program, folder, "rev-parse", "--show-toplevel").strip()
    status = _git_output(program, folder, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal")
    found = {"root": root} | _parsed_status(status.split("\0")) | {"remote": _remote(program, folder)}
    if not found["dirty"]:
        return found | {"diff": "", "diff_truncated": False}
    if found["commit"] is None:
        return found  # nothing to compare with
    return found | _diff(program, Path(root), diff_limit_bytes)


def _parsed_status(entries: Sequence[str]) -> dict[str, Any]:
    headers = dict(entry[2:].split(" ", 1) for entry in entries if entry.startswith("# ") and " " in entry[2:])
    untracked = [entry[2:] for entry in entries if entry.startswith("? ")]
    commit, branch = headers.get("branch.oid"), headers.get("branch.head")
    return {
        "commit": None if commit == "(initial)" else commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": any(entry[:2] in ("1 ", "2 ", "u ") for entry in entries),
        "untracked": [_bounded(name, 300) for name in untracked[:_MAX_UNTRACKED]],
        "n_untracked": len(untracked),
    }


def _remote(program: str, folder: Path) -> str | None:
    """Return the address of ``origin``, or of the first remote, without credentials."""
    try:
        lines = _git_output(program, folder, "config", "--get-regexp", r"^remote\..*\.url$").splitlines()
    except _AbsentError:  # git config exits with 1 where nothing matches
        return None
    urls = dict(line.split(" ", 1) for line in lines if " " in line)
    url = urls.get("remote.origin.url") or next(iter(urls.values()), None)
    return None if url is None else scrub(url)


def _diff(program: str, root: Path, limit_bytes: int) -> dict[str, Any]:
    """Return the change against the last commit, cut at a line's end; it is read no further than the limit."""
    if limit_bytes <= 0:
        return {"diff": "", "diff_truncated": True}
    # Neither external diff programs nor text converters that a repository may configure are run.
    command = _git_command(program, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short")
    with subprocess.Popen(
        command, cwd=root, env=_git_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        deadline = threading.Timer(_GIT_TIMEOUT_S, process.kill)
        deadline.start()
        try:
            content = process.stdout.read(limit_bytes + 1)
            truncated = len(content) > limit_bytes or process.wait() != 0
        finally:
            deadline.cancel()
            process.kill()
    if truncated:
        content = content[: content[:limit_bytes].rfind(b"\n") + 1]
    return {"diff": scrub(content.decode("utf-8", "replace")), "diff_truncated": truncated}


def _git_command(program: str, *arguments: str) -> list[str]:
    return [program, "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *arguments]


def _git_environment() -> dict[str, str]:
    # Without optional locks, status never gets in the way of a commit that the user makes at the same time.
    return dict(os.environ) | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _git_output(program: str, folder: Path, *arguments: str) -> str:
    done = _output(_git_command(program, *arguments), _GIT_TIMEOUT_S, folder=folder, environ=_git_environment())
    if done.returncode != 0:
        first_line = done.stderr.strip().partition("\n")[0]
        raise _AbsentError(_bounded(scrub(first_line or f"git {arguments[0]} failed"), 300))
    return done.stdout


# -- the hardware


def _gpus() -> list[dict[str, Any]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return _gpus_of_torch()
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    done = _output([program, *query], _NVIDIA_TIMEOUT_S)
    if done.returncode != 0:
        raise _AbsentError(_bounded((done.stdout + done.stderr).strip().partition("\n")[0] or "nvidia-smi failed", 300))
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.count(",") == 2]
    return [
        {"name": name, "memory_mib": int(memory) if memory.isdecimal() else None, "driver": driver}
        for name, memory, driver in rows
    ]


def _counted(gpus: Sequence[Mapping[str, Any]]) -> str:
    """Return one line for all GPUs, for instance ``8 × NVIDIA H200``."""
    counts = Counter(str(gpu["name"]) for gpu in gpus)
    return ", ".join(f"{n} × {name}" for name, n in counts.items())


def _gpus_of_torch() -> list[dict[str, Any]]:
    """Ask torch only where the program has begun to use its GPUs: asking earlier would initialise them."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        raise _AbsentError("nvidia-smi is not installed")
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [{"name": device.name, "memory_mib": device.total_memory >> 20, "driver": None} for device in devices]


def _output(
    command: Sequence[str], timeout_s: float, *, folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _AbsentError(f"{Path(command[0]).name} took longer than {timeout_s:g} s") from None
    except OSError as exc:
        raise _AbsentError(f"{Path(command[0]).name} could not be started: {exc.strerror}") from exc
