"""The checks of `cargo xtask bench contracts` as a server in Python does them: pydantic v2, numpy and tiktoken.

Reads the bodies from a folder and prints the microseconds of each as one JSON object. Every check that Tollgate makes of
these bodies is made, each by the fastest way that these libraries have.
"""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import numpy
import tiktoken
import tiktoken_ext.openai_public as public
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

STRICT = ConfigDict(strict=True, extra="ignore")
Dim = Annotated[int, Field(ge=1)]


class Parameters(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    binary_data_size: int = Field(ge=0)


class FloatInput(BaseModel):
    model_config = STRICT
    name: Literal["x"]
    shape: list[Dim] = Field(max_length=8)
    datatype: Literal["FP32"]
    data: list[float]


class BinaryInput(BaseModel):
    model_config = STRICT
    name: Literal["x"]
    shape: list[Dim] = Field(max_length=8)
    datatype: Literal["FP32"]
    parameters: Parameters


class FloatRequest(BaseModel):
    model_config = STRICT
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")] | None = None
    inputs: list[FloatInput] = Field(min_length=1, max_length=1)


class BinaryRequest(BaseModel):
    model_config = STRICT
    inputs: list[BinaryInput] = Field(min_length=1, max_length=1)


class Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str = Field(max_length=10_000)


class Chat(BaseModel):
    model_config = STRICT
    model: Literal["m"]
    messages: list[Message] = Field(min_length=1, max_length=50)
    max_tokens: int | None = Field(default=None, ge=1, le=4_096)
    temperature: float | None = Field(default=None, ge=0, le=2)
    stream: bool | None = None


def floats(width):
    def check(body):
        (tensor,) = FloatRequest.model_validate_json(body).inputs
        assert tensor.shape == [1, width] and len(tensor.data) == width
        values = numpy.asarray(tensor.data, dtype=numpy.float32)
        assert numpy.isfinite(values).all() and ((values >= -100) & (values <= 100)).all()

    return check


def image(body, split):
    (tensor,) = BinaryRequest.model_validate_json(body[:split]).inputs
    assert tensor.shape[1:] == [3, 224, 224] and tensor.parameters.binary_data_size == len(body) - split
    values = numpy.frombuffer(body, dtype="<f4", offset=split)
    assert values.size == tensor.shape[0] * 3 * 224 * 224 and numpy.isfinite(values).all()


def vocabulary(folder):
    """tiktoken's own encoding over the vocabulary that the other side counts by: nothing is fetched."""
    packed, ranks, at = (folder / "o200k").read_bytes(), {}, 0
    while at < len(packed):
        end = at + 1 + packed[at]
        ranks[packed[at + 1 : end]] = len(ranks)
        at = end
    public.load_tiktoken_bpe = lambda *_, **__: ranks
    return tiktoken.Encoding(**public.o200k_base())


def chat(encoding):
    def check(body):
        texts = [message.content for message in Chat.model_validate_json(body).messages]
        assert sum(map(len, texts)) <= 100_000
        assert sum(len(encoding.encode_ordinary(text)) for text in texts) <= 8_192

    return check


def median_us(check, seconds):
    once = time.perf_counter()
    check()
    batch = max(1, min(100_000, int(200e-6 / max(time.perf_counter() - once, 1e-9))))
    started, batches = time.perf_counter(), []
    while time.perf_counter() - started < seconds or len(batches) < 5:
        begun = time.perf_counter()
        for _ in range(batch):
            check()
        batches.append((time.perf_counter() - begun) * 1e6 / batch)
    return sorted(batches)[len(batches) // 2]


def main():
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2]) / 1000
    body = {name: (folder / name).read_bytes() for name in ("floats_768", "floats_10000", "image", "chat")}
    split = body["image"].index(b"}]}") + 3
    few, many, talk = floats(768), floats(10_000), chat(vocabulary(folder))
    checks = {
        "floats_768": lambda: few(body["floats_768"]),
        "floats_10000": lambda: many(body["floats_10000"]),
        "image": lambda: image(body["image"], split),
        "chat": lambda: talk(body["chat"]),
    }
    print(json.dumps({name: median_us(check, seconds) for name, check in checks.items()}))


main()
