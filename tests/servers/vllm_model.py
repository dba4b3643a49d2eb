"""Writes a llama of random weights, a megabyte and a half, whose tokens are bytes: `vllm_model.py FOLDER`.

It runs in the environment of `requirements/vllm.txt`. The same seed gives the same files.
"""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WIDTH, BLOCKS, HEADS, HIDDEN, CONTEXT = 128, 2, 4, 256, 1024
SPECIAL = ["<s>", "</s>", "<|turn|>"]
# Every byte as the one sign that stands for it; no merges, so what a text costs can be counted by hand.
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = SPECIAL + BYTES
PRINTED = [token for token, sign in enumerate(TOKENS) if len(sign) == 1 and "!" <= sign <= "~"]
TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant>{% endif %}"
)


def main(folder):
    tokenizer().save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
        initializer_range=0.1,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # The likeliest token is always one that is printed, and never the end.
        drawn = torch.zeros_like(model.lm_head.weight)
        drawn[PRINTED] = model.lm_head.weight[PRINTED]
        model.lm_head.weight.copy_(drawn)
    model.to(torch.bfloat16).save_pretrained(folder)


def tokenizer():
    plain = Tokenizer(models.BPE(vocab={sign: token for token, sign in enumerate(TOKENS)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|turn|>"],
    )
    made.chat_template = TEMPLATE
    return made


if __name__ == "__main__":
    main(sys.argv[1])
