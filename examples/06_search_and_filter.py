"""Find runs again: by what was said about them, and by their figures.

python examples/06_search_and_filter.py [STORE]
"""

import sys
import tempfile

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

import advisor

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_digits(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(x / 16, y, random_state=0)

adv = advisor.open(store)
exp = adv.experiment("digits-models", objective="val_accuracy", direction="maximize")

tries = [
    (LogisticRegression(C=0.01, max_iter=500), 1000, "Strong regularisation, to see how much it costs."),
    (LogisticRegression(C=10.0, max_iter=500), 1000, "Hardly any regularisation."),
    (RandomForestClassifier(n_estimators=20, random_state=0), 1000, "A small forest; quick to train."),
    (RandomForestClassifier(n_estimators=100, random_state=0), 50, "Only fifty images: it learns them by heart."),
    (KNeighborsClassifier(3), 1000, "No training at all, it compares with its neighbours; slow when asked."),
    (KNeighborsClassifier(1), 50, "Nearest neighbour on a tiny part of the data."),
]
for model, n_images, note in tries:
    with exp.start(params={"model": type(model).__name__, "n_images": n_images}, tags=["first-look"]) as run:
        model.fit(x_train[:n_images], y_train[:n_images])
        run.log(val_accuracy=model.score(x_val, y_val))
        run.log(train_accuracy=model.score(x_train[:n_images], y_train[:n_images]), step=0)
        run.note(note)

# Words and meaning together; the encoder runs on this machine.
for text in ("slow at prediction time", "memorised its few examples"):
    print(f'"{text}"')
    for hit in adv.search(text, limit=2):
        print(f"    {hit.score:.2f}  #{hit.run.number} {hit.run.params['model']}: {hit.run.notes[0]}")

# Figures are a filter's work.
for where in ("val_accuracy > 0.95", "params.n_images < 100", "tag = 'first-look' and params.model like 'Random%'"):
    found = exp.runs(where=where, order_by="val_accuracy", descending=True)
    print(f"{where}: {[(run.number, round(run.objective, 3)) for run in found]}")

print("both:", [hit.run.number for hit in adv.search("regularisation", where="val_accuracy > 0.93", limit=2)])
adv.close()
