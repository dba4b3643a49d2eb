"""Serves a GGUF file with llama.cpp until it is ended: `llamacpp_server.py MODEL.gguf PORT`.

It runs in the environment of `requirements/llamacpp.txt`.
"""

import signal
import sys

import xllamacpp


def main(path, port):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 1024
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    print("listens on", server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
