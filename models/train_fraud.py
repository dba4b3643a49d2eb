"""Trains `fraud_mlp`: how likely a web address is a phishing site, from nine features of its page.

The data set is UCI Website Phishing as the `river` wheel carries it: 1,250 sites, the suspicious ones left out.
Standardisation is part of the graph.

Two facts about the data shape this script:

* Half of the rows repeat another row's features. The split keeps equal rows on one side, so that "held out" means
  features the network never saw.
* The wheel's label column `is_phishing` is 1 in 548 rows. UCI counts 548 legitimate and 702 phishing sites, and in
  the data pop-ups, an empty form handler or anchors to other domains go with label 0. The column is therefore read as
  "is legitimate", and class 1 here is phishing.
"""
import csv
import gzip
import io
import warnings
import zipfile

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from demo_model import FLOAT, Archive, GraphBuilder, HeldOut, Workspace, publish

SEED = 20
RIVER = Archive(
    requirement="river==0.26.1",
    filename="river-0.26.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256="6a11e1a9749beec3ea138efeb0205b2c5cea8d424e9deee306c8980faec01bef",
    pip_options=("--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"),
)


def sites(wheel):
    """Feature names, features in the order of the file, and 1 for phishing."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read("river/datasets/phishing.csv.gz")).decode("ascii")
    names, *rows = csv.reader(io.StringIO(text))
    table = np.array(rows, dtype=np.float32)
    return names[:-1], table[:, :-1], 1 - table[:, -1].astype(int)


def split(features):
    """Rows to learn from and rows held out, both in random order; equal features never stand on both sides."""
    _, group = np.unique(features, axis=0, return_inverse=True)
    [(seen, unseen)] = GroupShuffleSplit(1, test_size=0.25, random_state=SEED).split(features, groups=group.ravel())
    return seen, np.random.default_rng(SEED).permutation(unseen)


def graph(scaler, network):
    g = GraphBuilder()
    g.constant("mean", scaler.mean_.astype(np.float32))
    g.constant("spread", scaler.scale_.astype(np.float32))
    flow = g.add("Div", g.add("Sub", "features", "mean", to="centred"), "spread", to="standard")
    *hidden, last = zip(network.coefs_, network.intercepts_)
    for place, (weights, bias) in enumerate(hidden, start=1):
        g.constant(f"hidden{place}", weights.astype(np.float32))
        g.constant(f"hidden{place}_bias", bias.astype(np.float32))
        flow = g.add("Gemm", flow, f"hidden{place}", f"hidden{place}_bias", to=f"hidden{place}_sum")
        flow = g.add("Relu", flow, to=f"hidden{place}_on")
    # The network has one logit; beside a constant zero, Softmax gives both probabilities and equals the sigmoid.
    weights, bias = last
    g.constant("classes", np.hstack([np.zeros_like(weights), weights]).astype(np.float32))
    g.constant("classes_bias", np.array([0, bias[0]], np.float32))
    flow = g.add("Gemm", flow, "classes", "classes_bias", to="logits")
    g.add("Softmax", flow, to="probabilities", axis=1)
    return g


def main():
    workspace = Workspace()
    names, features, labels = sites(workspace.fetch(RIVER))
    seen, unseen = split(features)
    scaler = StandardScaler().fit(features[seen])
    network = MLPClassifier((32, 16), alpha=1e-2, max_iter=400, random_state=SEED)
    warnings.simplefilter("ignore", ConvergenceWarning)  # 400 passes are where we stop, converged or not
    network.fit(scaler.transform(features[seen]), labels[seen])
    width = len(names)
    path = graph(scaler, network).write(workspace.out / "fraud_mlp.onnx", ("features", FLOAT, ["N", width]),
                                        ("probabilities", FLOAT, ["N", 2]))
    publish(path, HeldOut(features[unseen], labels[unseen]), {
        "task": "how likely a web address is a phishing site, from nine features of its page",
        "input": {"name": "features", "datatype": "FP32", "shape": ["N", width],
                  "one_of": [np.unique(column).tolist() for column in features.T]},
        "output": {"name": "probabilities", "datatype": "FP32", "shape": ["N", 2]},
        "labels": ["legitimate", "phishing"],
        "data": {
            "source": "Website Phishing (Abdelhamid, Ayesh and Thabtah 2014, UCI), phishing.csv.gz of the wheel river "
                      "0.26.1; its label column is read inverted, for the reason given in train_fraud.py",
            "licence": "UCI publishes the data set under CC BY 4.0; river is BSD-3-Clause",
            "split": "one random split by distinct feature rows, a quarter of them held out; the samples are the "
                     "first 100 after a shuffle",
        },
    }, extra={"feature_names": names})


if __name__ == "__main__":
    main()
