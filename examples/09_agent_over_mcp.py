"""An agent tunes, diagnoses and writes up over MCP alone; plain Python stands where a language model would.

python examples/09_agent_over_mcp.py [STORE]
"""

import os
import sys
import tempfile

import anyio
from mcp import Client, StdioServerParameters
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import advisor

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, x_val, y, y_val = train_test_split(*load_digits(return_X_y=True), random_state=0)


def train(params):
    """Return the loss and the accuracy on data that were left out."""
    model = SGDClassifier(loss="log_loss", learning_rate="constant", random_state=0, **params)
    for _ in range(10):
        model.partial_fit(x, y, classes=range(10))
    return float(log_loss(y_val, model.predict_proba(x_val))), float(model.score(x_val, y_val))


async def work(client):
    async def use(tool, **given):
        answer = await client.call_tool(tool, given)
        if answer.is_error:
            raise SystemExit(answer.content[0].text)
        return answer.structured_content

    # Tune: ask, train, tell.
    for seed in range(15):
        (suggestion,) = (await use("suggest_params", experiment="digits", seed=seed))["suggestions"]
        loss, accuracy = train(suggestion["params"])
        result = {"suggestion_id": suggestion["suggestion_id"], "value": loss, "metrics": {"accuracy": accuracy}}
        told = await use("tell_result", experiment="digits", **result)
        if told["is_best"]:
            print(f"run #{told['run']['number']}: val_loss {loss:.4f}, the best so far ({suggestion['source']})")
    print("go on?", (await use("stop_advice", experiment="digits"))["reason"])

    # Diagnose: what is different about the worst run?
    runs = (await use("list_runs", experiment="digits", sort="objective", limit=100))["runs"]
    best, worst = runs[0], runs[-1]
    found = await use("diagnose_run", run=worst["run_id"])
    differs = ", ".join(found["healthy_sibling"]["differs_in"])
    print(f"run #{worst['number']}: {found['outcome']}; unlike its nearest sound run in {differs}")

    # Write up: a figure is left to the store, {{id}}, or cites a fact, [id]; verify_text has the last word.
    (fact,) = (await use("get_facts", ids=[f"run/{best['run_id']}/params.eta0"]))["facts"]
    text = f"""\
After {{{{experiment/digits/n_runs}}}} runs the best, digits#{best["number"]}, has a val_loss of
{{{{run/{best["run_id"]}/objective}}}} with eta0 = {fact["text"]} [{fact["id"]}]; the worst, digits#{worst["number"]},
has {{{{run/{worst["run_id"]}/objective}}}}."""
    verified = await use("verify_text", text=text, every_figure=True)
    print(f"{verified['text']}\n{verified['n_supported']} of {verified['n_figures']} figures verify")
    wrong = await use("verify_text", text=text.replace(fact["text"], fact["text"] + "7"))
    print("a digit too many:", wrong["failures"][0]["why"])


async def main():
    command = ["-m", "advisor", "--store", store, "mcp"]
    async with Client(StdioServerParameters(command=sys.executable, args=command, env={**os.environ})) as client:
        await work(client)


with advisor.open(store) as adv:  # what a person says once: the question, and what may be varied
    space = {"eta0": advisor.Float(1e-5, 10, log=True), "alpha": advisor.Float(1e-6, 1, log=True)}
    adv.experiment("digits", objective="val_loss", space=space, description="Which digit is it? Logistic regression.")
anyio.run(main)
