"""Writes a llama of random weights, half a megabyte, whose tokens are bytes: `llamacpp_model.py OUT.gguf`.

It runs in the environment of `requirements/llamacpp.txt`. The same seed gives the same file.
"""

import sys

import gguf
import numpy

WIDTH, BLOCKS, HEADS, HIDDEN, CONTEXT = 64, 2, 4, 128, 2048
# What a vocabulary of SentencePiece begins with; then the bytes, then what is printed.
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{value:02X}>" for value in range(256)]
PRINTED = ["\u2581", *(chr(value) for value in range(ord("!"), ord("~") + 1))]
TOKENS = SPECIAL + BYTES + PRINTED
KIND = gguf.TokenType
KINDS = [KIND.UNKNOWN, KIND.CONTROL, KIND.CONTROL] + [KIND.BYTE] * len(BYTES) + [KIND.NORMAL] * len(PRINTED)
TEMPLATE = "{% for message in messages %}{{ message.role }}> {{ message.content }}\n{% endfor %}assistant>"


def main(path):
    out = gguf.GGUFWriter(path, "llama")
    describe(out)
    fill(out, numpy.random.default_rng(7))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def describe(out):
    out.add_name("tiny")
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_vocab_size(len(TOKENS))
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(BLOCKS)
    out.add_feed_forward_length(HIDDEN)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model("llama")
    out.add_token_list(TOKENS)
    out.add_token_scores([0.0] * len(TOKENS))
    out.add_token_types([int(kind) for kind in KINDS])
    out.add_unk_token_id(0)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_add_bos_token(True)
    out.add_chat_template(TEMPLATE)


def fill(out, random):
    def noise(name, rows, columns, first=0):
        drawn = (random.standard_normal((rows, columns)) * 0.1).astype(numpy.float32)
        drawn[:first] = 0
        out.add_tensor(name, drawn)

    def ones(name):
        out.add_tensor(name, numpy.ones(WIDTH, numpy.float32))

    noise("token_embd.weight", len(TOKENS), WIDTH)
    # The likeliest token is always one that is printed: bytes that are no UTF-8 come back as one sign, if at all.
    noise("output.weight", len(TOKENS), WIDTH, first=len(TOKENS) - len(PRINTED))
    ones("output_norm.weight")
    for block in range(BLOCKS):
        ones(f"blk.{block}.attn_norm.weight")
        ones(f"blk.{block}.ffn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            noise(f"blk.{block}.{part}.weight", WIDTH, WIDTH)
        noise(f"blk.{block}.ffn_gate.weight", HIDDEN, WIDTH)
        noise(f"blk.{block}.ffn_up.weight", HIDDEN, WIDTH)
        noise(f"blk.{block}.ffn_down.weight", WIDTH, HIDDEN)


if __name__ == "__main__":
    main(sys.argv[1])
