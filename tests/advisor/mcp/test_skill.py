"""What teaches agents is tried: each command and each call in SKILL.md and AGENTS.md, in their order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp import Client

import advisor
from advisor.mcp import create_server
from advisor.operations import OPERATIONS
from tests.advisor.mcp.conftest import talk

SKILL = "skills/experiment-advisor/SKILL.md"
TRAIN = """
import json, os, sys
if sys.argv[1:2] == ["--lr"]:
    print(json.dumps({"val_loss": (float(sys.argv[2]) - 0.1) ** 2}))
else:
    print((json.load(open(sys.argv[1]))[0]["params"]["lr"] - 0.1) ** 2)
"""


def fences(repository: Path, file: str, language: str) -> list[str]:
    text = (repository / file).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what a reader of these pages has."""
    (tmp_path / "space.yaml").write_text("lr: {low: 1e-4, high: 1, log: true}\n")
    (tmp_path / "train.py").write_text(TRAIN)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "advisor").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{MAIN}" "$@"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path


MAIN = "import sys; from advisor.cli import main; sys.exit(main())"


@pytest.mark.parametrize("file", [SKILL, "AGENTS.md"])
def test_the_commands_run_as_they_are_shown(file: str, repository: Path, folder: Path) -> None:
    shown = "".join(fence for fence in fences(repository, file, "sh") if not fence.startswith("make "))
    assert shown.count("advisor ") >= 6
    environment = {
        **os.environ,
        "ADVISOR_STORE": str(folder / "store"),
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(repository),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shown], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all as the store says" in done.stdout
    with advisor.open(folder / "store") as adv:
        assert adv.experiment("digits", create=False).runs()


def test_the_calls_work_as_they_are_shown(repository: Path, tmp_path: Path) -> None:
    calls = [line.partition(" ") for fence in fences(repository, SKILL, "tools") for line in fence.splitlines()]
    assert {name for name, _, _ in calls} >= {"suggest_params", "tell_result", "diagnose_run", "verify_text"}

    async def all_of_them(client: Client) -> list[dict[str, Any]]:
        suggestion, answers = "", []
        for name, _, given in calls:
            answer = await client.call_tool(name, json.loads(given.replace("SUGGESTION", suggestion)))
            assert not answer.is_error, f"{name}: {answer.content[0].text}"
            answers.append(dict(answer.structured_content))
            if name == "suggest_params":
                suggestion = answers[-1]["suggestions"][0]["suggestion_id"]
        return answers

    with advisor.open(tmp_path / "store") as adv:
        adv.experiment("digits", objective="val_loss", space={"lr": advisor.Float(1e-4, 1, log=True)})
        answers = talk(create_server(adv), all_of_them)
    assert answers[-1]["ok"]
    assert answers[-1]["n_supported"] == 1


def test_the_skill_begins_as_skills_do(repository: Path) -> None:
    text = (repository / SKILL).read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    told = yaml.safe_load(front)
    assert set(told) == {"name", "description"}
    assert told["name"] == (repository / SKILL).parent.name
    assert re.fullmatch(r"[a-z0-9-]{1,64}", told["name"])
    assert 100 < len(told["description"]) <= 1024
    assert len(body.splitlines()) < 200


@pytest.mark.parametrize("file", [SKILL, "AGENTS.md", "docs/mcp.md"])
def test_tools_files_and_targets_that_are_named_exist(file: str, repository: Path) -> None:
    text = (repository / file).read_text(encoding="utf-8")
    tools = {operation.name for operation in OPERATIONS}
    verbs = {name.split("_")[0] for name in tools}
    named = {name for name in re.findall(r"`([a-z]+_[a-z_]+)`", text) if name.split("_")[0] in verbs}
    assert named - {"suggestion_id", "write_up"} <= tools
    here = (repository / file).parent
    linked = [path for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", text) if not (here / path).exists()]
    assert linked == []
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (.+)$", text, re.MULTILINE):
        assert all(re.search(rf"^{word}:", makefile, re.MULTILINE) for word in target.split())


def test_the_program_on_the_page_runs(repository: Path, folder: Path) -> None:
    (program,) = fences(repository, "docs/mcp.md", "python")
    with advisor.open(folder / "experiments") as adv:
        adv.experiment("digits", objective="val_loss")
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # The client hands only few variables to the server, so it is found by its path alone.
    start = f"#!/bin/sh\nPYTHONPATH={repository} exec {sys.executable} -c '{MAIN}' \"$@\"\n"
    (folder / "bin" / "advisor").write_text(start)
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "1 experiments\n", done.stderr


def test_configurations_on_the_page_are_json(repository: Path) -> None:
    found = [json.loads(fence) for fence in fences(repository, "docs/mcp.md", "json")]
    servers = [next(iter(each.values()))["experiment-advisor"] for each in found]
    assert all((each["command"], each["args"][-1]) == ("advisor", "mcp") for each in servers)
