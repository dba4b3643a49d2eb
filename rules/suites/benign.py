"""Ordinary traffic to model servers. The texts are ours; numbers and bytes come from a small generator with fixed seeds."""
import base64
import json
import struct

from benign_texts import CODE_HEAVY, CODE_LIGHT, DOCUMENTS, LANGUAGES, PROSE, TOOLS

JSON = {"Content-Type": "application/json"}
AGENTS = ["OpenAI/Python 1.54.3", "OpenAI/JS 4.71.0", "python-requests/2.32.3", "python-httpx/0.27.2", "curl/8.9.1", "Go-http-client/1.1", "okhttp/4.12.0",
          "axios/1.7.7", "tritonclient/2.51.0", "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0", "langchain/0.3.7", "aiohttp/3.10.10"]


class Numbers:
    """A linear congruential generator: the same numbers on every machine and Python."""

    def __init__(self, seed):
        self.state = seed * 2654435761 % 2**64 or 1

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state >> 33

    def unit(self, digits=6):
        return round((self.next() % 2_000_001 - 1_000_000) / 1_000_000, digits)

    def floats(self, n, digits=6):
        return [self.unit(digits) for _ in range(n)]

    def bytes(self, n):
        return bytes(self.next() % 256 for _ in range(n))


def dumps(value):
    return json.dumps(value, ensure_ascii=False)


def entry(name, kind, method, path, body=None, headers=None, prompts=(), protocol=None, number=0, **more):
    out = {"name": name, "class": kind, "method": method, "path": path,
           "headers": {"User-Agent": AGENTS[number % len(AGENTS)], **(JSON if body is not None and not isinstance(body, bytes) else {}), **(headers or {})},
           "verdict": "pass", **more}
    if isinstance(body, bytes):
        out["body_base64"] = base64.b64encode(body).decode()
    elif body is not None:
        out["body"] = body if isinstance(body, str) else dumps(body)
    if prompts:
        out["prompt_fields"] = list(prompts)
    if protocol:
        out["protocol"] = protocol
    return out


def chat(name, kind, messages, number, model="llama-3.1-8b-instruct", extra=None, **more):
    """Roles alternate from the last message, which is the user's, backwards; a leading system message may be given as a pair."""
    out, prompts = [], []
    for i, message in enumerate(messages):
        role, text = message if isinstance(message, tuple) else (("user", "assistant")[(len(messages) - 1 - i) % 2], message)
        out.append({"role": role, "content": text})
        prompts.append(f"json.messages.array_{i}.content")
    body = {"model": model, "messages": out, **(extra or {})}
    auth = {"Authorization": "Bearer tg-" + base64.urlsafe_b64encode(Numbers(number + 7).bytes(18)).decode()} if number % 3 == 0 else {}
    return entry(name, kind, "POST", "/v1/chat/completions", body, auth, prompts, "openai_chat", number, **more)


SETTINGS = [{}, {"stream": True}, {"temperature": 0.2, "max_tokens": 512}, {"top_p": 0.9, "stop": ["###", "\n\n"]}, {"n": 1, "presence_penalty": 0.1, "user": "customer-1842"},
            {"stream": True, "stream_options": {"include_usage": True}}, {"response_format": {"type": "json_object"}}, {"seed": 42, "logprobs": True, "top_logprobs": 3},
            {"metadata": {"team": "search", "ticket": "ML-4411"}}]


def code_heavy():
    return [chat(f"code-heavy-{i:02d}", "code-heavy", [text], i, code_heavy=True) for i, text in enumerate(CODE_HEAVY, 1)]


def chats():
    out = []
    for i, text in enumerate(PROSE, 1):
        out.append(chat(f"chat-prose-{i:03d}", "chat", [text], i, extra=SETTINGS[i % len(SETTINGS)]))
    for i, text in enumerate(CODE_LIGHT, 1):
        out.append(chat(f"chat-code-{i:03d}", "chat-code", [("system", "You are a careful programming assistant."), ("user", text)], i, extra=SETTINGS[(i + 3) % len(SETTINGS)]))
    for i in range(0, len(PROSE) - 4, 5):
        turns = [PROSE[i], "Gladly. Here is a short answer, with the details you asked for.", PROSE[i + 1], "That depends on two things; let me explain both.", PROSE[i + 2]]
        out.append(chat(f"chat-turns-{i // 5 + 1:02d}", "chat-turns", turns, i))
    return out


def languages():
    out = []
    for i, (tag, texts) in enumerate(LANGUAGES.items()):
        for k, text in enumerate(texts, 1):
            out.append(chat(f"language-{tag}-{k}", "language", [text], i * 3 + k, extra=SETTINGS[(i + k) % len(SETTINGS)]))
    return out


def rag():
    out = []
    for i, (title, text) in enumerate(DOCUMENTS, 1):
        for k, question in enumerate(("Summarise the passage in two sentences.", "Which numbers does the passage name, and what do they mean?"), 1):
            content = f"Answer from the context only.\n\nContext (source: {title}):\n\"\"\"\n{text}\n\"\"\"\n\nQuestion: {question}"
            out.append(chat(f"rag-{i:02d}-{k}", "rag", [("system", "You answer questions about documents."), ("user", content)], i))
    return out


def tools():
    out = []
    for i, (name, about, properties, question, arguments, result) in enumerate(TOOLS, 1):
        tool = {"type": "function", "function": {"name": name, "description": about, "parameters": {"type": "object", "properties": properties, "required": list(properties)[:1]}}}
        body = {"model": "qwen2.5-7b-instruct", "messages": [{"role": "user", "content": question}], "tools": [tool], "tool_choice": "auto"}
        out.append(entry(f"tool-{i:02d}-call", "tools", "POST", "/v1/chat/completions", body, prompts=["json.messages.array_0.content"], protocol="openai_chat", number=i))
        body = {"model": "qwen2.5-7b-instruct", "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": None, "tool_calls": [{"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": dumps(arguments)}}]},
            {"role": "tool", "tool_call_id": f"call_{i}", "content": dumps(result)}]}
        prompts = ["json.messages.array_0.content", "json.messages.array_1.tool_calls.array_0.function.arguments", "json.messages.array_2.content"]
        out.append(entry(f"tool-{i:02d}-result", "tools", "POST", "/v1/chat/completions", body, prompts=prompts, protocol="openai_chat", number=i))
    return out


def embeddings():
    out = []
    for i, text in enumerate(PROSE[:24], 1):
        out.append(entry(f"embed-one-{i:02d}", "embeddings", "POST", "/v1/embeddings", {"model": "bge-small-en-v1.5", "input": text}, prompts=["json.input"], protocol="openai_embeddings", number=i))
    for i in range(12):
        batch = PROSE[i * 4:i * 4 + 4] + [CODE_LIGHT[i]]
        out.append(entry(f"embed-batch-{i + 1:02d}", "embeddings", "POST", "/v1/embeddings", {"model": "e5-base", "input": batch, "encoding_format": "base64" if i % 2 else "float"},
                         prompts=[f"json.input.array_{k}" for k in range(len(batch))], protocol="openai_embeddings", number=i))
    for i in range(6):
        n = Numbers(100 + i)
        out.append(entry(f"embed-tokens-{i + 1}", "embeddings", "POST", "/v1/embeddings", {"model": "e5-base", "input": [n.next() % 30000 for _ in range(40 * (i + 1))]}, protocol="openai_embeddings", number=i))
    for i in range(6):
        out.append(entry(f"embed-ollama-{i + 1}", "embeddings", "POST", "/api/embed", {"model": "nomic-embed-text", "input": PROSE[30 + i]}, prompts=["json.input"], protocol="ollama", number=i))
    return out


def completions():
    out = []
    for i, text in enumerate(PROSE[40:56], 1):
        out.append(entry(f"completion-{i:02d}", "completions", "POST", "/v1/completions", {"model": "mistral-7b", "prompt": text, "max_tokens": 64}, prompts=["json.prompt"], protocol="openai_completions", number=i))
    for i, text in enumerate(CODE_LIGHT[:10], 1):
        out.append(entry(f"ollama-generate-{i:02d}", "ollama", "POST", "/api/generate", {"model": "llama3.2:3b", "prompt": text, "stream": i % 2 == 0, "options": {"num_ctx": 4096, "temperature": 0.1}},
                         prompts=["json.prompt"], protocol="ollama", number=i))
    for i, text in enumerate(PROSE[20:30], 1):
        out.append(entry(f"ollama-chat-{i:02d}", "ollama", "POST", "/api/chat", {"model": "gemma2:2b", "messages": [{"role": "user", "content": text}], "keep_alive": "5m"},
                         prompts=["json.messages.array_0.content"], protocol="ollama", number=i))
    for i, text in enumerate(PROSE[10:18], 1):
        out.append(entry(f"messages-{i:02d}", "messages", "POST", "/v1/messages", {"model": "claude-sonnet", "max_tokens": 256, "system": "Be brief.", "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
                         {"anthropic-version": "2023-06-01", "x-api-key": "tg-test-key"}, prompts=["json.system", "json.messages.array_0.content.array_0.text"], number=i))
    for i, text in enumerate(PROSE[50:58], 1):
        out.append(entry(f"predict-text-{i:02d}", "plain", "POST", "/predict", {"text": text, "request_id": f"r-{i:04d}"}, prompts=["json.text"], protocol="plain", number=i))
    return out


def tabular():
    out = []
    for i in range(24):
        n = Numbers(200 + i)
        rows = [[n.unit(4) for _ in range(9)] for _ in range(1 + i % 4)]
        out.append(entry(f"tabular-kserve-{i + 1:02d}", "tabular", "POST", "/v1/models/churn:predict", {"instances": rows}, protocol="kserve_v1", number=i))
    for i in range(16):
        n = Numbers(300 + i)
        row = {"age": 18 + n.next() % 70, "income": 20000 + n.next() % 90000, "city": ["Lyon", "O'Fallon", "São Paulo", "Kraków"][i % 4], "segment": ["A+", "B/C", "new & young", "50-64"][i % 4],
               "member_since": f"20{10 + i % 14}-0{1 + i % 9}-1{i % 10}", "balance": n.unit(2), "active": i % 2 == 0, "note": None}
        out.append(entry(f"tabular-named-{i + 1:02d}", "tabular", "POST", "/v1/models/credit:predict", {"signature_name": "serving_default", "instances": [row]}, protocol="kserve_v1", number=i))
    for i in range(10):
        out.append(entry(f"tabular-plain-{i + 1:02d}", "tabular", "POST", "/predict", {"features": Numbers(400 + i).floats(8 + i), "request_id": f"batch-{i}"}, protocol="plain", number=i))
    for i in range(6):
        n = Numbers(450 + i)
        text = "age,income,score\n" + "".join(f"{18 + n.next() % 60},{n.next() % 90000},{n.unit(3)}\n" for _ in range(12))
        out.append(entry(f"tabular-csv-{i + 1}", "tabular", "POST", "/invocations", text, {"Content-Type": "text/csv"}, number=i))
    for i in range(6):
        n = Numbers(470 + i)
        frame = {"columns": ["age", "height_cm", "bmi"], "data": [[18 + n.next() % 60, 150 + n.next() % 50, n.unit(2)] for _ in range(6)]}
        out.append(entry(f"tabular-split-{i + 1}", "tabular", "POST", "/invocations", {"dataframe_split": frame}, number=i))
    return out


def tensors():
    out = []
    for i, (count, digits) in enumerate([(4, 6), (10, 6), (64, 4), (100, 6), (128, 3), (256, 6), (384, 6), (512, 5), (768, 6), (768, 3), (1000, 6), (1536, 5)], 1):
        data = Numbers(500 + i).floats(count, digits)
        body = {"id": f"req-{i}", "inputs": [{"name": "embedding", "shape": [1, count], "datatype": "FP32", "data": data}], "outputs": [{"name": "score"}]}
        out.append(entry(f"tensor-oip-{count}-{digits}", "tensors", "POST", "/v2/models/ranker/infer", body, protocol="oip", number=i))
    for i, shape in enumerate([(2, 3), (4, 8), (8, 32), (2, 4, 4), (3, 8, 8), (1, 16, 16, 3), (2, 2, 2, 2, 2)], 1):
        n = Numbers(520 + i)

        def nest(dims):
            return n.unit(4) if not dims else [nest(dims[1:]) for _ in range(dims[0])]
        body = {"inputs": [{"name": "pixels", "shape": list(shape), "datatype": "FP32", "data": nest(list(shape))}]}
        out.append(entry(f"tensor-nested-{i}", "tensors", "POST", "/v2/models/vision/versions/3/infer", body, protocol="oip", number=i))
        out.append(entry(f"tensor-kserve-nested-{i}", "tensors", "POST", "/v1/models/vision/versions/3:predict", {"instances": nest([1] + list(shape))}, protocol="kserve_v1", number=i))
    for i, (kind, data) in enumerate([("INT64", [1, -2, 3, 9007199254740993]), ("BOOL", [True, False, True]), ("UINT8", [0, 127, 255]), ("FP64", [1e-300, -2.5e17, 3.14]), ("BYTES", ["red", "green", "blue, dark"]),
                                      ("FP16", [0.5, -0.25]), ("INT32", [])], 1):
        body = {"inputs": [{"name": "x", "shape": [len(data)], "datatype": kind, "data": data, "parameters": {"priority": 2}}], "parameters": {"sequence_id": 7, "sequence_start": True}}
        out.append(entry(f"tensor-type-{kind.lower()}", "tensors", "POST", "/v2/models/typed/infer", body, protocol="oip", number=i))
    for i, count in enumerate([8, 256, 3072, 12288], 1):
        n = Numbers(540 + i)
        raw = b"".join(struct.pack("<f", n.unit()) for _ in range(count))
        head = dumps({"inputs": [{"name": "x", "shape": [1, count], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
        out.append(entry(f"tensor-binary-{count}", "tensors", "POST", "/v2/models/ranker/infer", head + raw, {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}, protocol="oip", number=i))
    for i, text in enumerate(PROSE[:6], 1):
        body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
        out.append(entry(f"tensor-text-{i}", "tensors", "POST", "/v2/models/sentiment/infer", body, prompts=["json.inputs.array_0.data.array_0"], protocol="oip", number=i))
    return out


def png(seed, size):
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x40\x00\x00\x00\x40\x08\x02\x00\x00\x00" + Numbers(seed).bytes(size) + b"IEND\xaeB`\x82"


def jpeg(seed, size):
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + Numbers(seed).bytes(size) + b"\xff\xd9"


def images():
    out = []
    for i in range(14):
        make, kind = ((png, "png"), (jpeg, "jpeg"))[i % 2]
        url = f"data:image/{kind};base64," + base64.b64encode(make(600 + i, 200 + 300 * (i % 7))).decode()
        body = {"model": "llava-1.5", "messages": [{"role": "user", "content": [{"type": "text", "text": PROSE[i]}, {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]}]}
        out.append(entry(f"image-chat-{i + 1:02d}", "images", "POST", "/v1/chat/completions", body, prompts=["json.messages.array_0.content.array_0.text"], protocol="openai_chat", number=i))
    for i in range(8):
        body = {"instances": [{"image_bytes": {"b64": base64.b64encode(jpeg(620 + i, 400 + 200 * i)).decode()}, "key": f"img-{i}"}]}
        out.append(entry(f"image-kserve-{i + 1}", "images", "POST", "/v1/models/resnet:predict", body, protocol="kserve_v1", number=i))
    for i in range(4):
        body = {"model": "llava", "prompt": "Describe the picture.", "images": [base64.b64encode(png(640 + i, 900)).decode()]}
        out.append(entry(f"image-ollama-{i + 1}", "images", "POST", "/api/generate", body, prompts=["json.prompt"], protocol="ollama", number=i))
    for i in range(12):
        make, kind = ((png, "png"), (jpeg, "jpeg"))[i % 2]
        edge = f"----formdata-{i:06d}"
        names = ["cat.png", "IMG_2041.jpeg", "scan page 2.png", "Müller.jpeg"]
        raw = (f'--{edge}\r\nContent-Disposition: form-data; name="model"\r\n\r\nresnet50\r\n--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{names[i % 4]}"\r\n'
               f"Content-Type: image/{kind}\r\n\r\n").encode() + make(660 + i, 300 + 150 * i).replace(b"\n--", b"\n++") + f"\r\n--{edge}--\r\n".encode()
        out.append(entry(f"image-upload-{i + 1:02d}", "images", "POST", "/v1/images/classify", raw, {"Content-Type": f"multipart/form-data; boundary={edge}"}, number=i))
    for i in range(8):
        make, kind = ((png, "png"), (jpeg, "jpeg"))[i % 2]
        out.append(entry(f"image-raw-{i + 1}", "images", "POST", "/predictions/resnet", make(680 + i, 1200), {"Content-Type": f"image/{kind}"}, number=i))
    for i in range(4):
        edge = "------audio0001"
        raw = (f'--{edge}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--{edge}\r\nContent-Disposition: form-data; name="file"; filename="call-{i}.wav"\r\n'
               f"Content-Type: audio/wav\r\n\r\nRIFF").encode() + Numbers(700 + i).bytes(900).replace(b"\n--", b"\n++") + f"\r\n--{edge}--\r\n".encode()
        out.append(entry(f"audio-upload-{i + 1}", "images", "POST", "/v1/audio/transcriptions", raw, {"Content-Type": f"multipart/form-data; boundary={edge}"}, number=i))
    return out


def lines():
    out = []
    for i in range(8):
        n = Numbers(720 + i)
        text = "".join(dumps({"id": k, "features": n.floats(6, 3)}) + "\n" for k in range(5 + i))
        out.append(entry(f"ndjson-{i + 1}", "ndjson", "POST", "/v1/batch", text, {"Content-Type": "application/x-ndjson"}, number=i))
    for i in range(4):
        out.append(entry(f"octets-{i + 1}", "octets", "POST", "/predictions/audio", Numbers(740 + i).bytes(600 * (i + 1)), {"Content-Type": "application/octet-stream"}, number=i))
    return out


def gets():
    paths = ["/", "/health", "/healthz", "/ready", "/ping", "/version", "/v1/models", "/v1/models/llama-3.1-8b-instruct", "/v1/models/ft:gpt-4o-mini:acme::9x1", "/v2", "/v2/health/live", "/v2/health/ready",
             "/v2/models/iris", "/v2/models/iris/ready", "/v2/models/iris/versions/1", "/v2/models/iris/versions/1/ready", "/v2/models/iris/config", "/v2/models/iris/stats", "/v2/models/stats",
             "/v1/models/churn", "/v1/models/churn/versions/2", "/v1/models/churn/metadata", "/v1/models/churn/versions/2/metadata", "/models", "/models/resnet", "/models/resnet/1.0", "/api/tags", "/api/version", "/api/ps",
             "/metrics", "/docs", "/openapi.json", "/favicon.ico", "/v1/models?limit=20&after=llama-3", "/v2/models/iris?verbose=true", "/models?limit=5&next_page_token=2", "/v1/files/file-abc123",
             "/v1/batches?limit=10", "/get_model_info", "/info", "/static/js/main.8f3a1c.js", "/v1/models?owned_by=acme%20labs", "/predictions", "/v1/fine_tuning/jobs?limit=3", "/v2/models/bert-base_uncased.v2/ready",
             "/v1/usage?start=2026-11-01&end=2026-11-20", "/gradio_api/info", "/config"]
    out = [entry(f"get-{i:02d}", "get", "GET", path, number=i) for i, path in enumerate(paths, 1)]
    for i, path in enumerate(("/v2/health/ready", "/v1/models", "/ping"), 1):
        out.append(entry(f"head-{i}", "get", "HEAD", path, number=i))
    for i, path in enumerate(("/v1/chat/completions", "/v2/models/iris/infer", "/predict"), 1):
        out.append(entry(f"preflight-{i}", "get", "OPTIONS", path, headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}, number=i))
    for i, header in enumerate(({"Cookie": "session=8f3a1c9e; theme=dark; lang=en-GB"}, {"Referer": "https://app.example/models?tab=mine"}, {"X-Request-Id": "0192f3a1-77bc-7c3e-9d5e-0f6c1b2a3d4e"},
                                {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, {"Accept-Encoding": "gzip, deflate, br", "Accept-Language": "de-DE,de;q=0.9,en;q=0.5"},
                                {"X-Forwarded-For": "203.0.113.7, 198.51.100.2", "X-Forwarded-Proto": "https"}, {"If-None-Match": "\"33a64df551425fcc\""}, {"X-Stainless-Lang": "python", "X-Stainless-Package-Version": "1.54.3"}), 1):
        out.append(entry(f"get-header-{i}", "get", "GET", "/v1/models", headers=header, number=i))
    return out


def files():
    return {
        "code-heavy": ("Developers' questions full of code: with the profile `ml` at most one of them may be blocked.", code_heavy()),
        "chat": ("Conversations: prose, and questions with a little code.", chats()),
        "languages": ("Questions in many languages and scripts.", languages()),
        "rag": ("Questions about documents that stand in the prompt.", rag()),
        "tools": ("Tool definitions, calls and results.", tools()),
        "embeddings": ("Texts and tokens to embed.", embeddings()),
        "completions": ("Completions, Ollama, messages, plain text.", completions()),
        "tabular": ("Rows of numbers and names.", tabular()),
        "tensors": ("Tensors of the Open Inference Protocol and KServe, in JSON and binary.", tensors()),
        "images": ("Pictures and sound: in JSON, as a form, raw.", images()),
        "lines": ("Lines of JSON and octets.", lines()),
        "get": ("Health, metadata and lists of models.", gets()),
    }
