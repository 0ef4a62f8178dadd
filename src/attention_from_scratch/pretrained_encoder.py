"""Published weights in our own encoder: text to pieces, names to names, hidden states, one vector for a text.

`vocabulary` maps pieces to their numbers; a piece that continues a word starts with ##. Tokens are (batch, length),
and a mask of tokens is True where a real token stands and False on padding.
"""

from __future__ import annotations

import re
import unicodedata

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_from_scratch.bert import BertEncoder

UNKNOWN = "[UNK]"
LONGEST_WORD = (
    100  # characters; what is longer is not cut, as in the tokenizer that the model was trained with
)


def is_chinese(character: str) -> bool:
    """Whether BERT takes this character for a word of its own: one of the Chinese characters that Unicode unifies.

    Japanese kana and Korean hangul are not among them: those scripts are cut like the others.
    """
    blocks = [
        (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
    ]  # fmt: skip
    return any(first <= ord(character) <= last for first, last in blocks)


def is_punctuation(character: str) -> bool:
    """Whether BERT takes this character for punctuation: what Unicode does, and ASCII's signs, such as $ + < = ^ `."""
    sign_of_ascii = character.isascii() and character.isprintable() and not character.isalnum()
    return (sign_of_ascii and character != " ") or unicodedata.category(character).startswith("P")


def split_words(text: str) -> list[str]:
    """Clean a text and cut it into words, in the way of the uncased BERT.

    1. Tab, newline and carriage return are spaces. Every other character of the Unicode categories Cc (control), Cf
       (format), Co (private use) or Cs (surrogate) and the replacement character U+FFFD vanish. Each character for
       which `is_chinese` holds stands alone, as if there were spaces around it.
    2. The text is decomposed (NFD), and the accents, the characters of category Mn, are dropped.
    3. Each character is put into lower case by itself, whatever its neighbours are.
    4. Words end at white space and at punctuation, and each punctuation character is a word.

    Source: Devlin et al. 2019, the tokenizer published with the model.
    """
    ### BEGIN SOLUTION
    kept = []
    for character in text:
        if character in "\t\n\r":
            kept.append(" ")
        elif is_chinese(character):
            kept.append(f" {character} ")
        elif character != "\ufffd" and unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs"):
            kept.append(character)
    bare = [c for c in unicodedata.normalize("NFD", "".join(kept)) if unicodedata.category(c) != "Mn"]
    lowered = "".join(character.lower() for character in bare)
    return "".join(f" {c} " if is_punctuation(c) else c for c in lowered).split()
    ### END SOLUTION


def wordpiece(text: str, vocabulary: dict[str, int]) -> list[str]:
    """Cut a text into pieces of the vocabulary: the words of `split_words`, each from the left, longest piece first.

    The first piece of a word is looked up as it is, every other one with ## before it. A word of more than
    `LONGEST_WORD` characters becomes one `UNKNOWN`, and so does a word of which any part cannot be cut.

    Source: Wu et al. 2016 for the pieces; Devlin et al. 2019 for the greedy cutting.
    """
    ### BEGIN SOLUTION
    pieces = []
    for word in split_words(text):
        cut: list[str] = []
        rest = word
        while rest and len(word) <= LONGEST_WORD:
            mark = "##" if cut else ""
            lengths = range(len(rest), 0, -1)  # the longest first
            longest = next((n for n in lengths if mark + rest[:n] in vocabulary), 0)
            if longest == 0:
                break
            cut.append(mark + rest[:longest])
            rest = rest[longest:]
        pieces += [UNKNOWN] if rest else cut
    return pieces
    ### END SOLUTION


def map_parameter_name(name: str) -> str | None:
    """What a parameter of a published BERT is called in our `BertEncoder`.

    A checkpoint may say `bert.` before each name. Three things in it have no place in an encoder, and for them the
    answer is None: the pooler (`pooler.…`), the heads of pretraining (`cls.…`), and the table of the numbers 0, 1, 2,
    … (`embeddings.position_ids`). Layers are numbered from 0 on both sides, and there may be any number of them.

    Raises ValueError, with the name in its message, for every other name.
    """
    ### BEGIN SOLUTION
    plain = name.removeprefix("bert.")
    if plain == "embeddings.position_ids" or plain.startswith(("pooler.", "cls.")):
        return None
    of_embeddings = {
        "word_embeddings.weight": "word.weight",
        "position_embeddings.weight": "position.weight",
        "token_type_embeddings.weight": "token_type.weight",
        "LayerNorm.weight": "norm.weight",
        "LayerNorm.bias": "norm.bias",
    }
    of_layers = {
        "attention.self.query": "attention.query",
        "attention.self.key": "attention.key",
        "attention.self.value": "attention.value",
        "attention.output.dense": "attention.output",
        "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "feed_forward.expand",
        "output.dense": "feed_forward.contract",
        "output.LayerNorm": "feed_forward_norm",
    }
    layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", plain)
    if layer and layer[2] in of_layers:
        return f"encoder.layers.{layer[1]}.{of_layers[layer[2]]}.{layer[3]}"
    embedding = plain.removeprefix("embeddings.")
    if embedding != plain and embedding in of_embeddings:
        return f"embeddings.{of_embeddings[embedding]}"
    raise ValueError(f"no parameter of the encoder belongs to {name!r}")
    ### END SOLUTION


def load_pretrained(model: BertEncoder, weights: dict[str, Tensor]) -> None:
    """Copy published weights into the model: all of them, each to its place, or none.

    Every entry of `weights` goes where `map_parameter_name` says, or is left out where that says None; every parameter
    of the model gets exactly one entry, of its own shape.

    Raises ValueError when a name is unknown, when the model has no such parameter (as when it has fewer layers), when
    a shape differs, when two entries belong to one parameter, and when a parameter of the model would get nothing. The
    model is then as it was. The message holds the unknown name, or each name, theirs or ours, of the kind of fault
    that was found: if three parameters get nothing, all three.
    """
    ### BEGIN SOLUTION
    parameters = dict(model.named_parameters())
    mapped: dict[str, Tensor] = {}
    surplus, misshapen = [], []
    for name, value in weights.items():
        ours = map_parameter_name(name)
        if ours is None:
            continue
        if ours not in parameters or ours in mapped:
            surplus.append(name)
        elif value.shape != parameters[ours].shape:
            misshapen.append(f"{name} {tuple(value.shape)} for {tuple(parameters[ours].shape)}")
        mapped[ours] = value
    missing = [name for name in parameters if name not in mapped]
    for fault, names in {
        "the model has no place (left) for": surplus,
        "these shapes differ:": misshapen,
        "nothing was given for": missing,
    }.items():
        if names:
            raise ValueError(f"{fault} {', '.join(names)}")
    model.load_state_dict(mapped)
    ### END SOLUTION


def hidden_states(
    model: BertEncoder, tokens: Int[Tensor, "batch length"], mask: Bool[Tensor, "batch length"]
) -> list[Float[Tensor, "batch length width"]]:
    """What every layer of the model hands to the next: the embeddings first, then the result of each layer.

    A model of six layers gives seven tensors, and the last one is `model(tokens, mask)`. Padding is looked at by
    nobody, in any layer.
    """
    ### BEGIN SOLUTION
    may_look = mask[:, None, None, :]  # (batch, 1, 1, length)
    states = [model.embeddings(tokens)]
    for layer in model.encoder.layers:
        states.append(layer(states[-1], may_look))
    return states
    ### END SOLUTION


def mean_pool(
    hidden: Float[Tensor, "batch length width"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, "batch width"]:
    """One vector for each text: the mean over its real tokens. Padding does not count; a text of nothing gives zeros.

    Source: Reimers and Gurevych 2019, section 3.
    """
    ### BEGIN SOLUTION
    total = torch.where(mask[..., None], hidden, 0.0).sum(dim=1)  # (batch, width)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)
    ### END SOLUTION
