"""Stands for a model you have: a tiny GPT-2 with random weights, saved as transformers saves any; and your own loop."""

import sys

import torch
import transformers

tokens = torch.arange(32 * 12).reshape(32, 12) * 7 % 50


def data():
    """Tokens and labels, as transformers has them: what is not to be predicted is −100."""
    return tokens, tokens


if __name__ == "__main__":
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=16, n_positions=16, vocab_size=50, bos_token_id=0, eos_token_id=0
    )
    module = transformers.GPT2LMHeadModel(config).eval()
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for step in range(61):
        if step % 20 == 0:
            module.save_pretrained(f"checkpoint-{step}")
        optimizer.zero_grad()
        module(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
    last = transformers.GPT2LMHeadModel.from_pretrained("checkpoint-60").eval()
    print("your own loop:", float(last(input_ids=tokens, labels=tokens).loss), file=sys.stderr)
