"""Write smollm_greedy.json: what transformers makes of SmolLM2's file, for tests without it.

    python tests/models/smollm_greedy.py

For every prompt, one at a time: its tokens by transformers' tokenizer, the 64 likeliest
continuing tokens, and by how much each one's logit was ahead of the second best.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolkit import assets

FILE = Path(__file__).with_suffix(".json")
TOKENS = 64
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n",
    "Water boils at",
    "1, 2, 3, 5, 8, 13,",
    "The three primary colours are red,",
    "To make a cup of tea, first",
    "import numpy as np\n\nx = np.",
    "“Where have you been?” asked the old woman.",
    "Dear Sir or Madam,",
    "Photosynthesis is the process by which",
    "A",
    "SELECT name, age FROM",
    "La capitale de l'Italie est",
    "The quick brown fox",
    'Licensed under the Apache License, Version 2.0 (the "License");',
    "Q: How many legs does a spider have?\nA:",
    "The mitochondria is",
    "If a train travels 60 miles in 1.5 hours, its speed is",
    "<html>\n<head>\n<title>",
]


def transformers_model() -> Any:
    """SmolLM2 by transformers, from the same file."""
    import torch
    from transformers import LlamaForCausalLM

    path = assets.get("smollm2-135m-instruct")
    return LlamaForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()


def greedy(model: Any) -> list[dict[str, Any]]:
    """What the model writes after each prompt."""
    import torch
    from transformers import AutoTokenizer

    path = assets.get("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    rows = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=TOKENS,
                do_sample=False,
                return_dict_in_generate=True,
                output_logits=True,
            )
        best = torch.stack(out.logits)[:, 0].topk(2).values
        rows.append(
            {
                "prompt": prompt,
                "ids": ids[0].tolist(),
                "tokens": out.sequences[0, ids.shape[1] :].tolist(),
                "ahead": [round(gap, 4) for gap in (best[:, 0] - best[:, 1]).tolist()],
            }
        )
    return rows


if __name__ == "__main__":
    import transformers

    held = {"transformers": transformers.__version__, "prompts": greedy(transformers_model())}
    FILE.write_text(json.dumps(held, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
