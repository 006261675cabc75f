"""What transformers says of given token sequences: run as a process of its own, since it warns while it imports.

    python reference.py MODEL_FOLDER SEQUENCES.json OUT.npz

For each sequence, at each position but the last: the most probable next token, and the logprob of the token that follows.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM


def main(folder: str, sequences: Path, out: Path) -> None:
    """Write arrays `best_<i>` and `logprobs_<i>` for each sequence i."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    arrays = {}
    with torch.inference_mode():
        for index, ids in enumerate(json.loads(sequences.read_text())):
            logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), dim=-1)
            arrays[f"best_{index}"] = logprobs[:-1].argmax(-1).numpy()
            arrays[f"logprobs_{index}"] = logprobs[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
