"""How well a search finds runs again: over 200 hand-written questions on 3,026 real runs.

    python evals/search [--quick] [--findings] [--out build/evals/search.json]

Reads ``algoperf/`` and ``deepobs/`` under $ADVISOR_EVAL_DATA or ../shared/data, and writes notes onto runs whose real
curves and parameters meet the condition of the note's topic (``topics.py``). A question in the words of a note asks for
the runs that carry this note; a paraphrase asks for all runs of its topic; a question with conditions asks for exactly
the runs that meet them. nDCG@10 with binary gains, 95 % intervals by bootstrap over questions.

``dev`` paraphrases were used to choose how words and meaning are added up; ``held out`` ones for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from conditions import Real, candidates, load
from held_out import HELD_OUT
from numeric import QUERIES, WITH_WORDS
from topics import CHATTER, TOPICS

import advisor
from advisor.sources import import_path
from storage.embed import Embedder, HashingEmbedder, choose_embedder
from storage.meaning import CONTEXT, PHRASES, Sense, in_context, shipped_sense
from storage.ranking import LEXICAL, SEMANTIC, WORDS_ONLY, Corpus, Weights, text_hash
from storage.records import Event
from storage.searching import Searcher
from storage.vectors import Vectors

PER_NOTE = 4
"""Runs that carry one wording."""
N_CHATTER = 400
AT = 10
N_BOOTSTRAP = 1_000
FLOORS = {
    ("MiniLM fused", "same words"): 0.95,
    ("MiniLM fused", "typos"): 0.90,
    ("MiniLM fused", "paraphrase, held out"): 0.55,
    ("fallback", "same words"): 0.95,
    ("fallback", "typos"): 0.90,
}
"""What was asked of the search."""
Judged = tuple[str, frozenset[str]]
Ranking = Callable[[str], list[str]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="a third of the questions")
    parser.add_argument("--findings", action="store_true", help="record findings too: their phrases are searched")
    arguments = parser.parse_args()
    data = Path(os.environ.get("ADVISOR_EVAL_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    if not (data / "algoperf").is_dir():
        print(f"skipped: there is no {data / 'algoperf'}; set ADVISOR_EVAL_DATA")
        return 0
    runs = load(data)
    with tempfile.TemporaryDirectory() as folder, advisor.open(f"{folder}/store", capture=False) as adv:
        for name in ("algoperf", "deepobs"):
            import_path(adv, data / name)
        noted = write_notes(adv, runs)
        if arguments.findings:
            for name in sorted({run.experiment for run in runs}):
                adv.experiment(name).check()
        questions = asked(noted, quick=arguments.quick)
        corpus = corpus_of(adv)
        report = measure(corpus, questions)
        report["numeric"] = numeric(adv, runs)
    report["n_runs"], report["n_noted"] = len(runs), sum(map(len, noted.values()))
    show(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def write_notes(adv: advisor.Advisor, runs: Sequence[Real]) -> dict[tuple[str, int], list[str]]:
    """Note each wording on runs that meet its condition; return which, by topic and place of the wording."""
    rng = np.random.default_rng(0)
    meets = candidates(list(runs))
    of = {run.run_id: run.experiment for run in runs}
    free, noted = set(of), {}
    for topic in sorted(TOPICS, key=lambda each: len(meets[each.name])):  # the rarest first
        left = [run_id for run_id in meets[topic.name] if run_id in free]
        wanted = min(len(left), PER_NOTE * len(topic.notes))
        taken = [left[i] for i in rng.choice(len(left), wanted, replace=False)]
        for place in range(len(topic.notes)):
            noted[topic.name, place] = taken[place :: len(topic.notes)]
        free -= set(taken)
    text_of = {run_id: TOPICS_BY_NAME[topic].notes[place] for (topic, place), ids in noted.items() for run_id in ids}
    others = sorted(free)
    chatter = {others[i]: str(rng.choice(CHATTER)) for i in rng.choice(len(others), N_CHATTER, replace=False)}
    events = [Event.new("run.noted", of[run_id], run_id, text=text) for run_id, text in (text_of | chatter).items()]
    adv.store.append(events)
    return noted


TOPICS_BY_NAME = {topic.name: topic for topic in TOPICS}


def asked(noted: Mapping[tuple[str, int], list[str]], *, quick: bool) -> dict[str, list[Judged]]:
    """Return the questions of each kind with the runs that answer them."""
    kinds: dict[str, list[Judged]] = {name: [] for name in KINDS}
    for topic in TOPICS:
        every = frozenset(run_id for (name, _), ids in noted.items() if name == topic.name for run_id in ids)
        kinds["same words"] += [(text, frozenset(noted[topic.name, place])) for text, place in topic.same]
        kinds["typos"] += [(text, frozenset(noted[topic.name, place])) for text, place in topic.typos]
        kinds["paraphrase, dev"] += [(text, every) for text in topic.paraphrases]
        if topic.name in OUTSIDE:
            kinds["of these outside the lexicon"] += [(text, every) for text, _ in HELD_OUT[topic.name]]
        kinds["paraphrase, held out"] += [(text, every) for text, _ in HELD_OUT[topic.name]]
    return {kind: listed[::3] if quick else listed for kind, listed in kinds.items()}


OUTSIDE = ("test gap", "short", "regularised", "warmup")
"""Topics of which there was no concept when the questions were written; by now ``storage/sayings.json`` has some."""
KINDS = ("same words", "typos", "paraphrase, dev", "paraphrase, held out", "of these outside the lexicon")


def corpus_of(adv: advisor.Advisor) -> Corpus:
    store: Any = adv.store
    searcher = Searcher(store.database, Vectors(store.database, HashingEmbedder))
    store.reindex(embedder=HashingEmbedder())
    searcher.bring_up_to_date(store.state(), live=list)
    (corpus,) = searcher.corpora
    return corpus


def measure(corpus: Corpus, questions: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    methods: dict[str, Ranking] = {"BM25": plain_bm25(corpus)}
    hashed = with_vectors(corpus, HashingEmbedder())
    methods["words, misspelt too"] = ranking(hashed, None, WORDS_ONLY)
    methods["hashed n-grams"] = ranking(hashed, HashingEmbedder(), Weights(words=0.0, written=0.8, config=0.2))
    methods["fallback"] = ranking(hashed, HashingEmbedder(), LEXICAL)
    encoder = choose_embedder()
    started = time.perf_counter()
    if not isinstance(encoder, HashingEmbedder):
        vectors_only = Weights(words=0.0, written=0.95, config=0.05)
        methods["MiniLM as it is"] = ranking(with_vectors(corpus, encoder), encoder, vectors_only)
        sense = shipped_sense(encoder.identity) or Sense(encoder.embed([in_context(phrase) for phrase in PHRASES]))
        semantic = with_vectors(corpus, encoder, context=CONTEXT, sense=sense)
        methods["MiniLM in context"] = ranking(semantic, encoder, vectors_only, context=CONTEXT, sense=sense)
        methods["MiniLM fused"] = ranking(semantic, encoder, SEMANTIC, context=CONTEXT, sense=sense)
    seconds = time.perf_counter() - started
    table = {
        name: {
            kind: interval([ndcg(rank(text), wanted) for text, wanted in listed]) for kind, listed in questions.items()
        }
        for name, rank in methods.items()
    }
    worst = {
        kind: sorted((round(ndcg(methods["MiniLM fused"](text), wanted), 3), text) for text, wanted in listed)[:12]
        for kind, listed in questions.items()
        if "MiniLM fused" in methods
    }
    return {
        "ndcg": table,
        "n_questions": {kind: len(listed) for kind, listed in questions.items()},
        "encoder": encoder.identity,
        "n_texts": len(set(corpus.encoded_in(""))),
        "encode_s": seconds,
        "worst": worst,
    }


def with_vectors(corpus: Corpus, encoder: Embedder, *, context: str = "", sense: Sense | None = None) -> Corpus:
    """Return the same corpus with the vectors of an encoder."""
    out = Corpus(
        corpus.run_ids, corpus.ordinals, text=corpus.text, written=corpus.written, config=corpus.config,
        facets=corpus.facets,
    )  # fmt: skip
    texts = list(dict.fromkeys(corpus.encoded_in(context)))
    vectors = encoder.embed(texts)
    places = {text_hash(text): i for i, text in enumerate(texts)}
    out.set_vectors(vectors if sense is None else sense(vectors), places, context=context)
    return out


def ranking(
    corpus: Corpus, encoder: Embedder | None, weights: Weights, *, context: str = "", sense: Sense | None = None
) -> Ranking:
    kept: dict[str, Any] = {}

    def vector(text: str) -> Any:
        if encoder is None:
            return None
        if text not in kept:
            vectors = encoder.embed([context + corpus.respelled(text)])
            kept[text] = (vectors if sense is None else sense(vectors))[0]
        return kept[text]

    def rank(text: str) -> list[str]:
        scores, _ = corpus.scores(corpus.question(text), vector(text), weights=weights)
        return best(corpus, scores)

    return rank


def plain_bm25(corpus: Corpus) -> Ranking:
    """Return BM25 over the same text, of the words as they are written."""

    def rank(text: str) -> list[str]:
        question = corpus.question(text, synonyms=False)
        exact = replace(question, groups=tuple(group for group in question.groups if 1.0 in group.values()))
        return best(corpus, corpus.words(exact, weights=WORDS_ONLY))

    return rank


def best(corpus: Corpus, scores: Any) -> list[str]:
    order = np.lexsort((-corpus.ordinals, -scores))[:AT]
    return [str(corpus.run_ids[i]) for i in order if scores[i] > 0]


def ndcg(found: Sequence[str], wanted: frozenset[str]) -> float:
    gains = [1.0 / np.log2(i + 2) for i in range(AT)]
    got = sum(gain for gain, run_id in zip(gains, found, strict=False) if run_id in wanted)
    return float(got / sum(gains[: len(wanted)]))


def interval(values: Sequence[float]) -> list[float]:
    """Return mean, low and high of a 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    each = np.array(values)
    means = rng.choice(each, (N_BOOTSTRAP, each.size)).mean(axis=1)
    return [float(each.mean()), *map(float, np.quantile(means, [0.025, 0.975]))]


def numeric(adv: advisor.Advisor, runs: Sequence[Real]) -> dict[str, Any]:
    """Return how many questions with conditions were answered exactly, and which were not."""
    wrong = []
    for text, test in QUERIES:
        should = {run.run_id for run in runs if test(run.params, run.experiment)}
        found = {hit.run.id for hit in adv.search(text, limit=len(runs))}
        if found != should or not should:
            wrong.append(f"{text}: {len(found)} found, {len(should)} meet it")
    for text, test in WITH_WORDS:
        should = {run.run_id for run in runs if test(run.params, run.experiment)}
        found = {hit.run.id for hit in adv.search(text, limit=len(runs))}
        if not found or not found <= should:
            wrong.append(f"{text}: {len(found - should)} of {len(found)} do not meet it")
    return {"n": len(QUERIES) + len(WITH_WORDS), "n_exact": len(QUERIES) + len(WITH_WORDS) - len(wrong), "wrong": wrong}


def show(report: Mapping[str, Any]) -> None:
    n = sum(n for kind, n in report["n_questions"].items() if not kind.startswith("of these")) + report["numeric"]["n"]
    print(f"{report['n_runs']:,} real runs, {report['n_noted']} with a note on a topic, {n} questions, nDCG@{AT}")
    kinds = list(report["n_questions"])
    print(f"{'':22}" + "".join(f"{kind + ' (' + str(report['n_questions'][kind]) + ')':>30}" for kind in kinds))
    for name, row in report["ndcg"].items():
        cells = [f"{row[kind][0]:.2f} [{row[kind][1]:.2f}, {row[kind][2]:.2f}]" for kind in kinds]
        print(f"{name:22}" + "".join(f"{cell:>30}" for cell in cells))
    print(
        f"conditions: {report['numeric']['n_exact']} of {report['numeric']['n']} exact",
        *report["numeric"]["wrong"],
        sep="\n  ",
    )
    for (name, kind), floor in FLOORS.items():
        if kind in report["ndcg"].get(name, {}):
            value = report["ndcg"][name][kind][0]
            print(f"{'met ' if value >= floor else 'MISS'} {name}, {kind}: {value:.3f}, asked {floor}")


if __name__ == "__main__":
    raise SystemExit(main())
