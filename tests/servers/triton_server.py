"""Triton itself, from the wheel of nvidia-pytriton: `triton_server.py HTTP_PORT GRPC_PORT METRICS_PORT WORK_FOLDER`.

Two models in Python: `linear` is `2x + 1` of four numbers, `echo` a text in capitals. It runs in the environment of
`requirements/triton.txt`.
"""

import pathlib
import sys

import numpy
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def linear(x):
    return [(2 * x + 1).astype(numpy.float32)]


@batch
def echo(text):
    return [numpy.array([[row[0].upper()] for row in text], dtype=object)]


def main(http, grpc, metrics, work):
    here = "127.0.0.1"
    config = TritonConfig(
        http_port=int(http),
        http_address=here,
        grpc_port=int(grpc),
        grpc_address=here,
        metrics_port=int(metrics),
        metrics_address=here,
    )
    with Triton(config=config, workspace=pathlib.Path(work)) as triton:
        small = ModelConfig(max_batch_size=16)
        four = {"dtype": numpy.float32, "shape": (4,)}
        triton.bind("linear", linear, [Tensor(name="x", **four)], [Tensor(name="y", **four)], config=small)
        one = {"dtype": bytes, "shape": (1,)}
        triton.bind("echo", echo, [Tensor(name="text", **one)], [Tensor(name="out", **one)], config=small)
        triton.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
