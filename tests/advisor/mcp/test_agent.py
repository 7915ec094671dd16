"""A scripted agent tunes the digits over MCP alone, finds out what went wrong, and writes what verifies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mcp import Client
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import advisor
from tests.advisor.mcp.conftest import command, talk

N_RUNS = 15
PATTERN = re.compile(r"\{\{([^{}]+)\}\}")


class Agent:
    """What would be a language model: it knows nothing but what the tools answer."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def use(self, tool: str, **given: Any) -> dict[str, Any]:
        answer = await self.client.call_tool(tool, given)
        assert not answer.is_error, answer.content[0].text
        return dict(answer.structured_content)

    async def tune(self, name: str) -> list[dict[str, Any]]:
        """Train what is suggested, and tell how it went; return what was told."""
        x, x_val, y, y_val = train_test_split(*load_digits(return_X_y=True), random_state=0)
        told = []
        for seed in range(N_RUNS):
            (suggestion,) = (await self.use("suggest_params", experiment=name, seed=seed))["suggestions"]
            result: dict[str, Any] = {"suggestion_id": suggestion["suggestion_id"], "seed": seed}
            if suggestion["params"]["eta0"] > 3:  # what diverges beyond use is told as what it is
                result |= {"state": "failed", "note": "FloatingPointError: the weights are not finite"}
            else:
                model = SGDClassifier(loss="log_loss", learning_rate="constant", random_state=0, **suggestion["params"])
                for _ in range(6):
                    model.partial_fit(x, y, classes=range(10))
                accuracy = float(model.score(x_val, y_val))
                result |= {
                    "value": float(log_loss(y_val, model.predict_proba(x_val))),
                    "metrics": {"accuracy": accuracy},
                }
            told.append(await self.use("tell_result", experiment=name, **result))
        return told

    async def diagnose(self, name: str) -> dict[str, Any]:
        """Look at the worst run."""
        runs = (await self.use("list_runs", experiment=name, sort="objective", descending=True, limit=1))["runs"]
        return await self.use("diagnose_run", run=runs[0]["run_id"])

    async def write(self, name: str, diagnosis: dict[str, Any]) -> str:
        """Write what was learned: each figure is left to the store, or copied from a fact and cited."""
        report = await self.use("get_report", experiment=name)
        assert report["facts"]
        one = await self.use("get_experiment", experiment=name)
        best = f"{name}#{one['best']['number']}"
        worst = diagnosis["run"]
        compared = await self.use("compare_runs", runs=[one["best"]["run_id"], worst["run_id"]])
        facts = {fact["label"]: fact for fact in compared["facts"]}
        lines = [f"# What we learned about {name}", ""]
        lines += [f"Of {{{{experiment/{name}/n_runs}}}} runs the best one, {best}, reached"]
        for label in (
            "val_loss of {}, its objective",
            "parameter eta0 of {}",
            "parameter alpha of {}",
            "last accuracy of {}",
        ):
            fact = facts[label.format(best)]
            lines.append(f"- {label.format(best)}: {fact['text']} [{fact['id']}]")
        lines += ["", f"The worst one, {name}#{worst['number']}, came to {{{{run/{worst['run_id']}/objective}}}}."]
        lines += [f"It was {diagnosis['outcome']}: {{{{run/{worst['run_id']}/params.eta0}}}} is its eta0."]
        return "\n".join(lines)


async def whole(client: Client) -> dict[str, Any]:
    agent = Agent(client)
    told = await agent.tune("digits")
    diagnosis = await agent.diagnose("digits")
    text = await agent.write("digits", diagnosis)
    verified = await agent.use("verify_text", text=text, every_figure=True)
    again = await agent.use("verify_text", text=verified["text"])
    changed = []
    for fact_id in re.findall(r"[\d.e-]+ \[(run/[^\]]+)\]", text):
        figure = re.search(rf"([\d.e%-]+) \[{re.escape(fact_id)}\]", text)
        assert figure is not None
        digit = next(i for i in range(figure.start(1), figure.end(1)) if text[i] in "123456789")
        wrong = text[:digit] + str(int(text[digit]) % 9 + 1) + text[digit + 1 :]
        changed.append((fact_id, await agent.use("verify_text", text=wrong)))
    return {
        "told": told,
        "diagnosis": diagnosis,
        "verified": verified,
        "again": again,
        "changed": changed,
        "text": text,
    }


def test_an_agent_tunes_diagnoses_and_writes_what_verifies(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with advisor.open(store) as adv:  # what a person says once
        space = {"eta0": advisor.Float(1e-5, 10, log=True), "alpha": advisor.Float(1e-6, 1, log=True)}
        adv.experiment("digits", objective="val_loss", space=space, description="Which digit is it?")
    found = talk(command(store), whole)

    assert len(found["told"]) == N_RUNS
    assert found["diagnosis"]["healthy_sibling"]["differs_in"]

    verified = found["verified"]
    assert verified["ok"], verified["failures"]
    assert verified["n_supported"] == verified["n_figures"] >= 7
    assert not PATTERN.search(verified["text"])
    assert found["again"]["ok"], found["again"]["failures"]

    assert len(found["changed"]) >= 3
    for fact_id, wrong in found["changed"]:
        assert not wrong["ok"]
        assert [failure["fact_id"] for failure in wrong["failures"]] == [fact_id]

    with advisor.open(store) as adv:
        exp = adv.experiment("digits", create=False)
        runs = exp.runs()
        assert len(runs) == N_RUNS
        assert all(run.suggestion_id for run in runs)
        assert exp.best() is not None
        assert exp.best().objective < 0.25  # type: ignore[union-attr]
        assert adv.verify(verified["text"]).ok
