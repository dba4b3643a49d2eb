"""LiteLLM's SDK against one base address: `litellm_client.py BASE KEY`. Its last line is what it was told, as JSON.

It runs in the environment of `requirements/llamacpp.txt`.
"""

import json
import sys

import litellm

SAY = [{"role": "user", "content": "Say hi"}]


def main(base, key):
    def ask(**more):
        whole = {"api_base": base, "api_key": key, "temperature": 0, "max_tokens": 8, "max_retries": 0, **more}
        return litellm.completion(model="openai/tiny", messages=SAY, **whole)

    def refusal(**more):
        try:
            return ask(**more).choices[0].finish_reason
        except Exception as error:  # which one it is, is what is asked
            return [type(error).__name__, getattr(error, "status_code", None)]

    answer, quiet = ask(), list(ask(stream=True))
    loud = list(ask(stream=True, stream_options={"include_usage": True}))
    told = {
        "text": answer.choices[0].message.content,
        "usage": usage(answer),
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in quiet if chunk.choices),
        "usage_unasked": [usage(chunk) for chunk in quiet if getattr(chunk, "usage", None)],
        "usage_asked": [usage(chunk) for chunk in loud if getattr(chunk, "usage", None)],
        "over": refusal(max_tokens=33),
        "key": refusal(api_key="nobody"),
    }
    print(json.dumps(told))


def usage(answer):
    return [answer.usage.prompt_tokens, answer.usage.completion_tokens]


if __name__ == "__main__":
    main(*sys.argv[1:])
