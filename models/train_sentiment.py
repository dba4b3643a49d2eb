"""Trains `sentiment`: whether a short English text is positive or negative.

A linear model over hashed words and pairs of neighbouring words. There is no vocabulary file: the tokenizer is
`token_ids` below, and the gateway has the same few lines in Rust. The texts were rated by people and are carried by
the source package of vaderSentiment.
"""
import html
import io
import re
import tarfile

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from demo_model import FLOAT, INT64, Archive, GraphBuilder, HeldOut, Workspace, publish

SEED = 20
TABLE, LENGTH, PADDING = 65_536, 128, 0
CLEAR_OPINION = 0.5  # on a scale from -4 to 4; weaker ratings are left out
COLLECTIONS = ("tweets", "amazonReviewSnippets", "movieReviewSnippets")
PERSONAL = re.compile(r"@\w|https?:|www\.", re.IGNORECASE)
VADER = Archive(
    requirement="vaderSentiment==3.3.2",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    pip_options=("--no-binary=:all:",),
)


def rated_texts(package):
    """Every clearly rated text once, and 1 for positive."""
    with tarfile.open(package) as outer:
        name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        inner_bytes = outer.extractfile(name).read()
    labels = {}
    with tarfile.open(fileobj=io.BytesIO(inner_bytes)) as inner:
        for collection in COLLECTIONS:
            table = inner.extractfile(f"hutto_ICWSM_2014/{collection}_GroundTruth.txt").read()
            for line in table.decode("utf-8", "replace").splitlines():
                _, rating, text = line.split("\t", 2)
                if abs(float(rating)) >= CLEAR_OPINION:
                    labels.setdefault(html.unescape(text).strip(), int(float(rating) > 0))
    return list(labels), np.array(list(labels.values()))


def token_ids(text):
    pieces = re.findall(r"[a-z0-9']+|[!?:;()<>]+", text.lower())
    pieces += [f"{one} {next_one}" for one, next_one in zip(pieces, pieces[1:])]
    return [1 + fnv1a_32(piece.encode()) % (TABLE - 1) for piece in pieces[:LENGTH]]


def fnv1a_32(data):
    state = 2_166_136_261
    for byte in data:
        state = (state ^ byte) * 16_777_619 % 2**32
    return state


def weighted_counts(rows):
    """One row per text: how often each id stands in it, divided by the root of the number of ids."""
    ends = np.cumsum([0] + [len(ids) for ids in rows])
    weights = np.concatenate([np.full(len(ids), len(ids) ** -0.5) for ids in rows if ids])
    return sparse.csr_matrix((weights, np.concatenate(rows).astype(int), ends), shape=(len(rows), TABLE))


def graph(model):
    table = model.coef_.reshape(TABLE, 1).astype(np.float32)
    table[PADDING] = 0
    g = GraphBuilder()
    g.constant("weights", table)
    g.constant("bias", model.intercept_.astype(np.float32))
    g.constant("padding", np.array(PADDING, np.int64))
    g.constant("columns", np.array([1], np.int64))
    g.constant("one", np.array([1], np.float32))
    g.add("Gather", "weights", "token_ids", to="each", axis=0)
    g.add("ReduceSum", "each", "columns", to="total", keepdims=0)
    g.add("Greater", "token_ids", "padding", to="is_used")
    g.add("Cast", "is_used", to="used", to_type=FLOAT)
    g.add("ReduceSum", "used", "columns", to="length", keepdims=1)
    g.add("Max", "length", "one", to="at_least_one")  # a text without a single piece: the bias alone decides
    g.add("Sqrt", "at_least_one", to="scale")
    g.add("Div", "total", "scale", to="scaled")
    g.add("Add", "scaled", "bias", to="logit")
    g.add("Sigmoid", "logit", to="positive")
    g.add("Sub", "one", "positive", to="negative")
    g.add("Concat", "negative", "positive", to="probabilities", axis=1)
    return g


def samples_first(order, texts):
    """The same rows, those that show an account name or a link last: they are scored but never committed."""
    personal = np.array([bool(PERSONAL.search(texts[row])) for row in order])
    return np.concatenate([order[~personal], order[personal]])


def main():
    workspace = Workspace()
    texts, labels = rated_texts(workspace.fetch(VADER))
    rows = [token_ids(text) for text in texts]
    seen, unseen = train_test_split(np.arange(len(rows)), test_size=0.2, random_state=SEED, stratify=labels)
    model = LogisticRegression(C=4, max_iter=500).fit(weighted_counts([rows[row] for row in seen]), labels[seen])
    unseen = samples_first(unseen, texts)
    padded = np.array([rows[row] + [PADDING] * (LENGTH - len(rows[row])) for row in unseen], np.int64)
    path = graph(model).write(workspace.out / "sentiment.onnx", ("token_ids", INT64, ["N", LENGTH]),
                              ("probabilities", FLOAT, ["N", 2]))
    publish(path, HeldOut(padded, labels[unseen], [texts[row] for row in unseen]), {
        "task": "whether a short English text is positive or negative",
        "input": {"name": "token_ids", "datatype": "INT64", "shape": ["N", LENGTH], "range": [0, TABLE - 1],
                  "meaning": "hashed words and pairs of neighbours, 0 is padding; `token_ids` in train_sentiment.py"},
        "output": {"name": "probabilities", "datatype": "FP32", "shape": ["N", 2]},
        "labels": ["negative", "positive"],
        "data": {
            "source": "texts rated by people for VADER (Hutto and Gilbert, ICWSM 2014): tweets, Amazon reviews and "
                      "film reviews in the source package vaderSentiment 3.3.2",
            "licence": "MIT (vaderSentiment); the texts were written by their authors on Twitter, Amazon and Rotten "
                       "Tomatoes and are quoted as research samples",
            "split": "one stratified random split of distinct texts, a fifth held out; the samples are its first 100 "
                     "without an account name or a link",
        },
    })


if __name__ == "__main__":
    main()
