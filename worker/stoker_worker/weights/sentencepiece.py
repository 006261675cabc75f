"""SentencePiece's BPE in the `tokenizers` library's terms: a vocabulary with scores instead of a list of merges."""

from collections.abc import Mapping, Sequence
from typing import Any

SPACE = "▁"

Json = dict[str, Any]


def merges_from_scores(ids: Mapping[str, int], scores: Sequence[float], mergeable: Sequence[bool]) -> list[list[str]]:
    """The merges that lead to the same tokens, the first to apply first.

    SentencePiece joins the neighbours whose union has the best score, so every way to halve a token within the vocabulary
    is a merge, ranked by the score of the whole. Equal scores go by the id of the whole, then by those of the halves.

    ids        token → id
    scores     by id; higher is joined sooner
    mergeable  by id; False for control tokens, bytes and the like, which text never turns into by merging
    """
    ranked = [
        (-scores[token_id], token_id, ids[token[:cut]], ids[token[cut:]])
        for token, token_id in ids.items()
        if mergeable[token_id]
        for cut in range(1, len(token))
        if token[:cut] in ids and token[cut:] in ids
    ]
    ranked.sort()
    tokens = {token_id: token for token, token_id in ids.items()}
    return [[tokens[left], tokens[right]] for _, _, left, right in ranked]


def spm_normalizer(space_first: bool) -> Json:
    """Spaces as ▁, with one put before the text if `space_first`."""
    spaces: Json = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if not space_first:
        return spaces
    return {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, spaces]}


def spm_decoder(space_first: bool) -> Json:
    """▁ and <0xNN> back to text; takes away the space that `spm_normalizer` put in."""
    decoders: list[Json] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if space_first:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": decoders}
