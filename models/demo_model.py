"""What the three training scripts share: pinned data, writing ONNX, and the card and case files.

It does not train anything; each `train_*.py` owns its data, its network and its split.
"""
import argparse
import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
SAMPLES = 100
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@dataclass(frozen=True)
class Archive:
    """One file of the Python package index, known by its hash."""

    requirement: str
    filename: str
    sha256: str
    pip_options: tuple = ()


@dataclass(frozen=True)
class HeldOut:
    """What the network never saw, in the random order of the split; the committed samples are the first ones."""

    inputs: np.ndarray
    labels: np.ndarray
    texts: list | None = None


class Workspace:
    """The folders of one run."""

    def __init__(self):
        parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__.splitlines()[0])
        here = Path(__file__).resolve().parent
        parser.add_argument("--out", type=Path, default=here, help="where the three files go")
        parser.add_argument("--cache", type=Path, default=here / ".cache", help="where downloads are kept")
        chosen = parser.parse_args()
        self.out, self.cache = chosen.out, chosen.cache
        for folder in (self.out, self.cache):
            folder.mkdir(parents=True, exist_ok=True)

    def fetch(self, archive):
        """The path of `archive`, downloaded once; refuses a file with another hash."""
        path = self.cache / archive.filename
        if not path.exists():
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(self.cache)]
            subprocess.run([*command, *archive.pip_options, archive.requirement], check=True)
        found = sha256_of(path)
        if found != archive.sha256:
            sys.exit(f"{path}: sha256 {found} is not {archive.sha256}")
        return path


class GraphBuilder:
    """Collects nodes and constants in the order in which they are added."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator, *inputs, to, to_type=None, **attributes):
        """A node; `to` names its output, `to_type` is Cast's own attribute `to`."""
        if to_type is not None:
            attributes["to"] = to_type
        self.nodes.append(helper.make_node(operator, list(inputs), [to], **attributes))
        return to

    def write(self, path, takes, gives):
        """Checks and writes the model; `takes` and `gives` are (name, type, shape)."""
        ports = [[helper.make_tensor_value_info(*port)] for port in (takes, gives)]
        graph = helper.make_graph(self.nodes, path.stem, *ports, initializer=self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tollgate")
        model.ir_version = IR_VERSION
        checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return path


def onnx_runtime(path, inputs):
    """What ONNX Runtime answers, on one thread: the reference that the embedded engine is tested against."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [answer] = session.run(None, {session.get_inputs()[0].name: inputs})
    return answer


def publish(path, held_out, card, extra=None):
    """Writes the card and the case of the model at `path`; `extra` goes into both."""
    probabilities = onnx_runtime(path, held_out.inputs)
    right = probabilities.argmax(axis=1) == held_out.labels
    shown = min(SAMPLES, len(held_out.labels))
    card = {
        "name": path.stem,
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "opset": OPSET,
        **card,
        "held_out": len(held_out.labels),
        "accuracy": round(float(right.mean()), 4),
        "base_rate": round(float(np.bincount(held_out.labels).max() / len(held_out.labels)), 4),
        "samples_right": int(right[:shown].sum()),
        **(extra or {}),
    }
    write_json(path.with_suffix(".card.json"), card)
    samples = []
    for row in range(shown):
        sample = {"label": int(held_out.labels[row])}
        if held_out.texts is not None:
            sample["text"] = held_out.texts[row]
        sample["input"] = plain_numbers(held_out.inputs[row])
        sample["output"] = plain_numbers(probabilities[row])
        samples.append(sample)
    case = {
        "model": path.stem,
        "sha256": card["sha256"],
        "licence": card["data"]["licence"],
        "chosen_by": card["data"]["split"],
        "reference": f"onnxruntime {onnxruntime.__version__}, one thread",
        "input": card["input"]["name"],
        "output": card["output"]["name"],
        "labels": card["labels"],
        **(extra or {}),
        "samples": samples,
    }
    write_case(path.with_suffix(".case.json"), case)
    print(f"{path.name}: {card['bytes']} bytes, accuracy {card['accuracy']} on {card['held_out']}, "
          f"{card['samples_right']} of {shown} samples right")


def plain_numbers(values):
    """A flat list. Every FP32 value survives its shortest decimal form; whole numbers are written as such."""
    shortest = (float(np.format_float_positional(value, unique=True)) for value in values.ravel())
    return [int(number) if number.is_integer() else number for number in shortest]


def write_json(path, document):
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_case(path, case):
    """One line per sample, so that a difference between two versions can be read."""
    head = json.dumps({k: v for k, v in case.items() if k != "samples"}, indent=1, ensure_ascii=False)
    lines = ",\n".join(json.dumps(sample, ensure_ascii=False, separators=(",", ":")) for sample in case["samples"])
    path.write_text(f'{head[:-2]},\n "samples": [\n{lines}\n]}}\n', encoding="utf-8")


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
