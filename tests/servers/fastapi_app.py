"""An ordinary service of FastAPI, its bodies declared with pydantic: `fastapi_app.py PORT`.

It says on stdout, one line each, what arrived: that is the proof of what did not.
"""

import sys
from typing import Annotated, Literal

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field, model_validator

app = FastAPI(title="peer")
Id = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,36}$")]


class Predict(BaseModel):
    request_id: Id
    features: Annotated[list[float], Field(min_length=10, max_length=10)]


class Embed(BaseModel):
    batch_id: Id
    text: Annotated[str, Field(min_length=1, max_length=10_000)]


class Vector(BaseModel):
    tensor: Annotated[list[Annotated[float, Field(ge=-100, le=100)]], Field(min_length=768, max_length=768)]


class Generate(BaseModel):
    prompt: Annotated[str, Field(min_length=1, max_length=10_000)]
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 256
    stop: Annotated[list[str], Field(max_length=4)] | None = None


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(min_length=1, max_length=10_000)]


class Chat(BaseModel):
    model: Literal["talker"]
    messages: Annotated[list[Message], Field(min_length=1, max_length=50)]
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 256

    @model_validator(mode="after")
    def total(self):
        """What no JSON Schema can say."""
        if sum(len(message.content) for message in self.messages) > 100_000:
            raise ValueError("more than 100,000 characters in total")
        return self


class Prediction(BaseModel):
    request_id: str
    positive: bool


class Score(BaseModel):
    score: Annotated[float, Field(ge=0, le=1)]


@app.post("/predict")
def predict(body: Predict) -> Prediction:
    return Prediction(request_id=body.request_id, positive=sum(body.features) > 0)


@app.post("/score", response_model=None, responses={200: {"model": Score}})
def score(body: Predict):
    """Says of itself what it does not keep, as FastAPI looks at answers only where it makes them."""
    return {"score": sum(body.features)}


@app.post("/embed")
def embed(body: Embed):
    return {"batch_id": body.batch_id, "characters": len(body.text)}


@app.post("/vector")
def vector(body: Vector):
    return {"places": len(body.tensor), "largest": max(body.tensor)}


@app.post("/chat")
@app.post("/v1/chat/completions")
def chat(body: Chat):
    said = " ".join(message.role for message in body.messages)
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    usage = {"prompt_tokens": len(body.messages), "completion_tokens": body.max_tokens}
    return {"id": "chat-1", "object": "chat.completion", "model": body.model, "choices": [choice], "usage": usage}


@app.post("/generate")
def generate(body: Generate):
    return {"text": body.prompt[:1] * 3, "max_tokens": body.max_tokens, "stops": len(body.stop or [])}


@app.get("/health")
def health():
    return {"status": "up"}


class Arrivals:
    """Says every request before anything looks at it."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            print("ARRIVED", scope["method"], scope["raw_path"].decode(), flush=True)
        await self.inner(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(Arrivals(app), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
