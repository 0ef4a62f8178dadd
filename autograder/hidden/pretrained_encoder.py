"""Hidden tests of chapter 12, `pretrained_encoder`: small random models with published names, small vocabularies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attention_from_scratch import pretrained_encoder as reference
from attention_from_scratch.bert import BertEncoder
from autograder.testing import Draw, Exercise, Question, Student, check, close

# A state is a sum over some tens of terms after each of up to three norms: ten times the room of a single result.
STATES = 2e-4
WHOLE_TOKENIZERS = [
    "transformers.BertTokenizer",
    "transformers.BertTokenizerFast",
    "transformers.AutoTokenizer",
    "tokenizers.Tokenizer",
    "tokenizers.BertWordPieceTokenizer",
]
LETTERS = "abcdefghijklmnopqrstuvwxyz"

split_words = Exercise("split_words", forbids=WHOLE_TOKENIZERS)


def word(draw: Draw, low: int = 2, high: int = 6, letters: str = LETTERS) -> str:
    """Some letters."""
    return "".join(draw.choice(letters) for _ in range(draw.integer(low, high)))


def same_words(student: Student, text: str) -> None:
    """The student's words of a text are the reference's."""
    got, expected = student.split_words(text), reference.split_words(text)
    check(got == expected, f"{text!r} gives {got!r}, expected {expected!r}")


def around(draw: Draw, characters: list[str]) -> str:
    """Words with one of the characters inside each, at a random place, parted by spaces."""
    return " ".join(f"{word(draw, 1, 3)}{character}{word(draw, 1, 3)}" for character in characters)


@split_words.test(
    points=1,
    says="words end at white space of every kind: space, tab, newline, carriage return, the no-break space and the other spaces of Unicode. Nothing is left of empty pieces, and the words come in their order, in a list of strings",
)
def words_end_at_white_space(student: Student, draw: Draw) -> None:
    spaces = [" ", "\t", "\n", "\r", "\u00a0", "\u2003", "\u3000", "  ", "\r\n"]
    text = "".join(word(draw) + draw.choice(spaces) for _ in range(7)) + around(draw, spaces)
    same_words(student, text)
    same_words(student, draw.choice(spaces) + text + draw.choice(spaces))


@split_words.test(
    points=1,
    says="characters that must vanish are still there, became spaces, or took others with them: characters of the categories Cc, Cf, Co and Cs and U+FFFD go and leave no space. Code points that Unicode has assigned to nothing, category Cn, stay",
)
def invisible_characters_vanish(student: Student, draw: Draw) -> None:
    gone = ["\x00", "\x07", "\x7f", "\u0085", "\u00ad", "\u200b", "\u200d", "\ufeff", "\ue000", "\ufffd"]
    same_words(student, around(draw, gone))
    same_words(student, around(draw, ["\uffff", "\ufdd0"]))  # these will never be assigned


@split_words.test(
    points=1.5,
    says="accents are not taken off as they should be: decompose with NFD and drop the characters of category Mn, and those only. NFKD would change characters such as ﬁ and ² too, dropping all of M loses vowels of Indian scripts, and nothing is composed again at the end",
)
def accents_come_off(student: Student, draw: Draw) -> None:
    marked = ["é", "e\u0301", "Å", "ñ", "ệ", "İ", "ç"]
    same_words(student, around(draw, [draw.choice(marked) for _ in range(7)]))
    same_words(student, around(draw, ["ﬁ", "²", "Ⅷ", "ｗ", "हिन्दी", "गुरु", "한국"]))


@split_words.test(
    points=1,
    says="letters are not lowered as they should be: every character by itself, in all alphabets. Lowering a whole word makes a final ς out of Σ at the end of a Greek word",
)
def each_character_is_lowered_alone(student: Student, draw: Draw) -> None:
    greek = " ".join(word(draw, 2, 5, "ΑΒΓΔΟΡΤ") + "Σ" for _ in range(3))
    same_words(student, f"{word(draw).upper()} {word(draw).title()} {greek} ЖУК ẞ {word(draw)}")


@split_words.test(
    points=1,
    says="Chinese characters are not words of their own, or others are: put spaces around a character exactly where is_chinese holds. Kana and hangul stay together with their neighbours",
)
def chinese_characters_stand_alone(student: Student, draw: Draw) -> None:
    chinese = [chr(draw.integer(0x4E00, 0x9FFF)) for _ in range(4)]
    chinese += [chr(draw.integer(0x20000, 0x2A6DF)), chr(draw.integer(0x3400, 0x4DBF))]
    same_words(student, "".join(chinese) + word(draw))
    same_words(student, around(draw, chinese))
    same_words(student, around(draw, ["の", "カ", "かな", "각"]))


@split_words.test(
    points=1,
    says="punctuation is not cut off as it should be: every character for which is_punctuation holds is a word of its own, wherever it stands, also in a row of several. That are Unicode's punctuation marks and ASCII's signs, and no other symbols",
)
def punctuation_stands_alone(student: Student, draw: Draw) -> None:
    marks = [draw.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(8)]
    same_words(student, around(draw, marks) + "".join(marks))
    same_words(student, around(draw, ["“", "—", "¿", "…", "、", "·", "«"]))
    same_words(student, around(draw, ["€", "©", "→", "×", "°", "😀"]))


@split_words.test(
    points=0.5,
    says="a text in which everything comes together is cut otherwise, or an empty one gives something other than an empty list",
)
def everything_at_once(student: Student, draw: Draw) -> None:
    odd = ["é", "\t", "注", "\u200d", "🤗", "$", "“", "Σ", "\x00", "が", "\u00a0", "ﬁ"]
    text = "".join(draw.choice(odd) if draw.integer(0, 1) else word(draw, 1, 3) for _ in range(30))
    same_words(student, text)
    for nothing in ("", " \u200b\t\x00"):
        got = student.split_words(nothing)
        check(got == [], f"{nothing!r} gives {got!r}, expected []")


@split_words.test(
    points=1,
    says="order matters: the four steps follow each other as in the docstring, so that an accent on a letter next to punctuation, or a space that comes from a control character, is treated as there",
)
def steps_follow_each_other(student: Student, draw: Draw) -> None:
    one, other = word(draw), word(draw)
    for text in (
        f"{one}!\u0301{other}",  # a mark on a punctuation sign: dropped, and the sign stands alone
        f"{one}\u200d\u0301{other}",  # an invisible character between a letter and its accent
        f"{one}\ufffd\t{other}\u00ad\u3000{one}",
        f"{one}注\u0301{other}",
        f"≠{one}\u1e9b\u0323{other}",  # ≠ comes apart into = and a mark, and = is punctuation
    ):
        same_words(student, text)


wordpiece = Exercise("wordpiece", forbids=WHOLE_TOKENIZERS)


def vocabulary_of(*pieces: str) -> dict[str, int]:
    """A vocabulary with the special tokens first."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces]
    return {piece: number for number, piece in enumerate(dict.fromkeys(names))}


def same_pieces(student: Student, text: str, vocabulary: dict[str, int]) -> None:
    """The student's pieces of a text are the reference's."""
    got, expected = student.wordpiece(text, vocabulary), reference.wordpiece(text, vocabulary)
    check(got == expected, f"{text[:80]!r} gives {got!r:.300}, expected {expected!r:.300}")


def parts(draw: Draw, count: int) -> list[str]:
    """Pieces that share no letters, so that a word put together from them comes apart in one way only."""
    size = len(LETTERS) // count
    return [word(draw, 2, 3, LETTERS[i * size : (i + 1) * size]) for i in range(count)]


@wordpiece.test(
    points=1,
    says="a word that stands in the vocabulary must come out as it is, in the order of the text, once for each time it occurs",
)
def known_words_stay_whole(student: Student, draw: Draw) -> None:
    known = [word(draw, 3, 7) for _ in range(5)]
    text = " ".join(draw.choice(known) for _ in range(9))
    same_pieces(student, text, vocabulary_of(*known, *LETTERS, *(f"##{letter}" for letter in LETTERS)))


@wordpiece.test(
    points=1.5,
    says="pieces after the first are looked up, and given back, with ## before them; the first piece is looked up without. A piece that the vocabulary has only in the other form does not count",
)
def later_pieces_carry_the_mark(student: Student, draw: Draw) -> None:
    first, second, third = parts(draw, 3)
    marked = vocabulary_of(first, f"##{second}", f"##{third}")
    same_pieces(student, f"{first}{second}{third} {first}{third} {first}", marked)
    same_pieces(student, f"{second}{third} {first}{second} {first}{first}", marked)
    plain = vocabulary_of(first, second, third)
    same_pieces(student, f"{first}{second} {third}", plain)


@wordpiece.test(
    points=1.5,
    says="the longest piece that fits must be taken, from the left, at each place of the word; neither the shortest, nor the first of the vocabulary, nor the cut with the fewest pieces",
)
def longest_piece_first(student: Student, draw: Draw) -> None:
    a, b, c, d = parts(draw, 4)
    pieces = [a[0], a, a + b[0], f"##{b}", f"##{b[1:]}", f"##{c}", f"##{c[0]}", f"##{c[1:]}", f"##{c + d}"]
    pieces += [f"##{letter}" for letter in b + c + d]
    same_pieces(student, f"{a}{b}{c}{d} {a}{c}{d} {a}{b}", vocabulary_of(*pieces))
    # greedy takes ab and needs three pieces; a + bcd would be two
    same_pieces(student, f"{a}{b}{c}{d}", vocabulary_of(a, a + b, f"##{b + c + d}", f"##{c}", f"##{d}"))


@wordpiece.test(
    points=1.5,
    says="a word of which some part fits no piece becomes one [UNK] as a whole: no pieces of it are left, it is not tried again with other cuts, and the words beside it are cut as ever",
)
def unknown_words_are_unknown_as_a_whole(student: Student, draw: Draw) -> None:
    a, b, c, d = parts(draw, 4)
    vocabulary = vocabulary_of(a, a + b[0], f"##{b}", f"##{c}", f"##{b[1:]}")
    for text in (
        f"{a}{c}{d} {a}{c}",  # unknown at the end
        f"{d}{a} {a} {d}",  # unknown at the start
        f"{a}{d}{c} {a}{b[0]}{c}",  # unknown in the middle
        f"{a}{b} {a}",
    ):
        same_pieces(student, text, vocabulary)
    dead_end = vocabulary_of(a, a + b[0], f"##{b}")  # greedy takes a + b[0]; only a + b would have come out
    same_pieces(student, f"{a}{b} {a}", dead_end)


@wordpiece.test(
    points=1,
    says="words of more than LONGEST_WORD = 100 characters become one [UNK], words of exactly 100 are cut; it is the word that is measured, not the text and not the piece",
)
def very_long_words_are_not_cut(student: Student, draw: Draw) -> None:
    letter = draw.choice(LETTERS)
    vocabulary = vocabulary_of(letter, f"##{letter}")
    for length in (99, 100, 101, draw.integer(102, 150)):
        same_pieces(student, f"{letter} {letter * length} {letter}", vocabulary)
    same_pieces(student, " ".join([letter * 60] * 3), vocabulary)


@wordpiece.test(
    points=1,
    says="the words to cut are those of split_words: lower case, without accents, Chinese characters and punctuation apart. What is not in the vocabulary after that is [UNK]",
)
def words_are_those_of_split_words(student: Student, draw: Draw) -> None:
    a, b = parts(draw, 2)
    vocabulary = vocabulary_of(a, f"##{b}", "注", "!", "e")
    same_pieces(student, f"{a.upper()}{b}! 注力{a}  {a}é\u200d é!\t[SEP]", vocabulary)


@wordpiece.test(
    points=0.5,
    says="the vocabulary was changed, or a text of nothing gives something: an empty text has no pieces, and a vocabulary is only looked into",
)
def vocabulary_is_only_looked_into(student: Student, draw: Draw) -> None:
    a, b, c = parts(draw, 3)
    vocabulary = vocabulary_of(a, f"##{b}")
    text = f"{a}{b} {c}"
    probe = student.probe("wordpiece", text, vocabulary)
    check(probe.value == reference.wordpiece(text, vocabulary), f"{text!r} gives {probe.value!r}")
    check(probe.args[1] == vocabulary, "the vocabulary is another one after the call")
    check(student.wordpiece("", vocabulary) == [], "an empty text has no pieces")


map_parameter_name = Exercise("map_parameter_name")

EMBEDDINGS = [
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "embeddings.LayerNorm.bias",
]
PARTS = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
]


def published_names(layers: int) -> list[str]:
    """The names in a checkpoint of so many layers."""
    inside = [f"{part}.{kind}" for part in PARTS for kind in ("weight", "bias")]
    return EMBEDDINGS + [f"encoder.layer.{i}.{name}" for i in range(layers) for name in inside]


def same_names(student: Student, names: list[str]) -> None:
    """The student maps these names as the reference does."""
    for name in names:
        got, expected = student.map_parameter_name(name), reference.map_parameter_name(name)
        check(got == expected and type(got) is type(expected), f"{name} is {got!r}, expected {expected!r}")


# What refuses: the message, or None where nothing was refused.
MESSAGE = """
def message_of(name):
    try:
        map_parameter_name(name)
    except ValueError as refusal:
        return str(refusal)
    return None
"""


@map_parameter_name.test(
    points=1,
    says="a parameter of the embeddings goes to the wrong place: word, position, token_type and norm of `embeddings`, each with its kind",
)
def embeddings_find_their_places(student: Student, draw: Draw) -> None:
    same_names(student, EMBEDDINGS)


@map_parameter_name.test(
    points=2,
    says="a parameter of a layer goes to the wrong place: query, key, value and output of `attention`, expand and contract of `feed_forward`, and the norms, attention_norm after the attention and feed_forward_norm after the feed-forward network, weight to weight and bias to bias",
)
def parts_of_a_layer_find_their_places(student: Student, draw: Draw) -> None:
    number = draw.integer(1, 9)
    same_names(
        student, [f"encoder.layer.{number}.{part}.{kind}" for part in PARTS for kind in ("weight", "bias")]
    )


@map_parameter_name.test(
    points=0.5,
    says="the number of the layer is lost or cut: it is the same on both sides, may have several digits, and is 0 for the first layer",
)
def layers_keep_their_number(student: Student, draw: Draw) -> None:
    for number in (0, draw.integer(10, 23), draw.integer(100, 300)):
        same_names(student, [f"encoder.layer.{number}.{draw.choice(PARTS)}.weight"])


@map_parameter_name.test(
    points=0.5,
    says="a checkpoint may say `bert.` before every name, and then means the same",
)
def prefix_is_taken_off(student: Student, draw: Draw) -> None:
    same_names(student, [f"bert.{name}" for name in published_names(2)] + ["bert.pooler.dense.weight"])


@map_parameter_name.test(
    points=1,
    says="what an encoder has no place for must give None and no error: the pooler, the heads of pretraining (cls), and position_ids. Nothing else gives None",
)
def what_has_no_place_is_none(student: Student, draw: Draw) -> None:
    names = ["pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"]
    names += [
        "cls.predictions.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.seq_relationship.weight",
    ]
    same_names(student, names)
    same_names(student, [draw.choice(EMBEDDINGS)])


@map_parameter_name.test(
    points=1,
    says="an unknown name was mapped or ignored, or its refusal does not name it: whatever is in no table raises a ValueError whose message holds the name. An embedding has no bias, and nothing is guessed from a part of a name",
)
def unknown_names_are_refused_by_name(student: Student, draw: Draw) -> None:
    student.define(MESSAGE)
    number = draw.integer(0, 11)
    for name in (
        f"encoder.layer.{number}.attention.self.distance_embedding.weight",
        f"encoder.layer.{number}.attention.self.query.gamma",
        f"encoder.layer.{number}.crossattention.self.query.weight",
        f"encoder.layer.{number}.output.dense",
        "encoder.layer.x.output.dense.weight",
        "embeddings.word_embeddings.bias",
        "embeddings.LayerNorm.gamma",
        "roberta.embeddings.LayerNorm.weight",
        f"decoder.layer.{number}.output.dense.weight",
        f"{word(draw)}.{word(draw)}.weight",
        "",
    ):
        got = student.message_of(name)
        check(isinstance(got, str) and name in got, f"{name!r}: the refusal is {got!r}")
    same_names(student, [f"encoder.layer.{number}.output.dense.weight"])


load_pretrained = Exercise("load_pretrained")

# The student's function on a model made here; what it did comes back by value.
LOADER = """
def load_and_look(settings, before, weights):
    from attention_from_scratch.bert import BertEncoder
    model = BertEncoder(**settings)
    model.load_state_dict(before)
    objects = [id(parameter) for parameter in model.parameters()]
    message = None
    try:
        result = load_pretrained(model, weights)
    except ValueError as refusal:
        message, result = str(refusal), None
    after = {name: value.detach().clone() for name, value in model.state_dict().items()}
    with_none = {name: value.clone() for name, value in weights.items()}
    for value in weights.values():
        if value.is_floating_point():
            value.add_(1)
    later = {name: value.detach().clone() for name, value in model.state_dict().items()}
    same = objects == [id(parameter) for parameter in model.parameters()]
    trains = all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    return {"message": message, "after": after, "weights": with_none, "later": later, "same": same,
            "trains": trains, "nothing": result is None}
"""


def settings_of(draw: Draw, layers: int) -> dict[str, Any]:
    """A small model, the sizes drawn; no two of them are alike, so that shapes tell parameters apart."""
    # a norm over two numbers gives ±1 whatever they are: no width below 4
    heads = draw.choice([1, 2, 3])
    tokens, positions, hidden = draw.choice([(17, 11, 7), (19, 13, 7), (23, 11, 5), (29, 13, 11)])
    return {
        "tokens": tokens, "positions": positions, "types": 2, "layers": layers, "width": heads * draw.choice([4, 6]),
        "heads": heads, "hidden": hidden, "dropout": 0.0, "eps": 1e-12, "activation": "gelu",
    }  # fmt: skip


def drawn_weights(draw: Draw, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Random values under published names, in a shuffled order."""
    model = BertEncoder(**settings)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    names = published_names(settings["layers"])
    names.sort(key=lambda _: draw.integer(0, 10**6))
    return {
        name: draw.normal(*shapes[str(reference.map_parameter_name(name))], dtype=torch.float32)
        for name in names
    }


def drawn_state(draw: Draw, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Random values under our names."""
    model = BertEncoder(**settings)
    return {
        name: draw.normal(*value.shape, dtype=torch.float32) for name, value in model.state_dict().items()
    }


def expected_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state that these weights make."""
    mapped = {reference.map_parameter_name(name): value for name, value in weights.items()}
    return {name: value for name, value in mapped.items() if name is not None}


def close_states(got: Any, expected: dict[str, Tensor], what: str) -> None:
    """The same names, and the same numbers: they are copied, so there is no tolerance."""
    check(isinstance(got, dict) and got.keys() == expected.keys(), f"{what} has other names")
    for name, value in expected.items():
        close(got[name], value, tolerance=0.0, what=f"{what}: {name}")


def looked(
    student: Student, settings: dict[str, Any], before: Any, weights: dict[str, Tensor]
) -> dict[str, Any]:
    """What the student's function did with these weights."""
    student.define(LOADER)
    found = student.load_and_look(settings, before, weights)
    check(isinstance(found, dict), "the helper came back with something else")
    return found


@load_pretrained.test(
    points=2,
    says="after loading, the parameters are not the published ones: every tensor must arrive in the parameter that map_parameter_name names, in every layer",
)
def every_tensor_arrives(student: Student, draw: Draw) -> None:
    settings = settings_of(draw, draw.integer(2, 3))
    weights = drawn_weights(draw, settings)
    found = looked(student, settings, drawn_state(draw, settings), weights)
    check(found["message"] is None, f"refused: {found['message']}")
    close_states(found["after"], expected_state(weights), "the model")


@load_pretrained.test(
    points=1,
    says="entries that belong to nothing in an encoder, for which map_parameter_name says None, must be left out without a complaint, and names with `bert.` in front are the same names",
)
def known_leftovers_are_left_out(student: Student, draw: Draw) -> None:
    settings = settings_of(draw, 1)
    weights = drawn_weights(draw, settings)
    width = settings["width"]
    extra = {"pooler.dense.weight": draw.normal(width, width, dtype=torch.float32)}
    extra |= {
        "embeddings.position_ids": torch.arange(settings["positions"])[None],
        "cls.predictions.bias": draw.normal(3),
    }
    prefixed = {
        f"bert.{name}": value for name, value in (weights | extra).items() if not name.startswith("cls")
    }
    for given in (weights | extra, prefixed):
        found = looked(student, settings, drawn_state(draw, settings), given)
        check(found["message"] is None, f"refused: {found['message']}")
        close_states(found["after"], expected_state(weights), "the model")


def refused_by_name(
    student: Student, draw: Draw, weights: Any, culprits: list[str], settings: dict[str, Any]
) -> str:
    """These weights are refused with a message that holds one of the culprits, and the model stays as it was."""
    before = drawn_state(draw, settings)
    found = looked(student, settings, before, weights)
    message = found["message"]
    check(message is not None, f"was loaded all the same; {culprits[0]} is wrong")
    check(
        any(culprit in message for culprit in culprits),
        f"the message names none of {culprits}: {message[:300]}",
    )
    close_states(found["after"], before, "the model after a refusal")
    return str(message)


def all_refused_by_name(
    student: Student, draw: Draw, weights: Any, culprits: list[str], settings: dict[str, Any]
) -> None:
    """These weights are refused with a message that holds each of the published names, or our name for it."""
    ours = [str(reference.map_parameter_name(name)) for name in culprits]
    message = refused_by_name(student, draw, weights, [*culprits, *ours], settings)
    unnamed = [
        one for one, other in zip(culprits, ours, strict=True) if one not in message and other not in message
    ]
    check(not unnamed, f"the message does not name {unnamed}: {message[:300]}")


@load_pretrained.test(
    points=1,
    says="a parameter of the model that gets nothing must be refused, by its name (ours or the published one), and if several get nothing, each must be named: a model that is loaded in part is a random one in the rest. The model stays as it was",
)
def missing_tensors_are_refused_by_name(student: Student, draw: Draw) -> None:
    settings = settings_of(draw, 2)
    weights = drawn_weights(draw, settings)
    for lost in (
        draw.choice(EMBEDDINGS),
        f"encoder.layer.1.{draw.choice(PARTS)}.{draw.choice(['weight', 'bias'])}",
    ):
        fewer = {name: value for name, value in weights.items() if name != lost}
        refused_by_name(student, draw, fewer, [lost, str(reference.map_parameter_name(lost))], settings)
    several = [name for name in weights if ".1." in name and ".output." in name]
    fewer = {name: value for name, value in weights.items() if name not in several}
    all_refused_by_name(student, draw, fewer, several, settings)


@load_pretrained.test(
    points=1,
    says="an entry that has no place in this model must be refused, by its name: a name nobody knows, and each entry of a layer that the model does not have. Nothing of the file is dropped in silence, and the model stays as it was",
)
def surplus_tensors_are_refused_by_name(student: Student, draw: Draw) -> None:
    settings = settings_of(draw, 1)
    weights = drawn_weights(draw, settings)
    deeper = f"encoder.layer.1.{draw.choice(PARTS)}.bias"
    unknown = f"encoder.layer.0.{word(draw)}.weight"
    for name, ours in ((deeper, str(reference.map_parameter_name(deeper))), (unknown, unknown)):
        more = weights | {name: draw.normal(settings["width"], dtype=torch.float32)}
        refused_by_name(student, draw, more, [name, ours], settings)
    several = [f"encoder.layer.{layer}.{part}.bias" for layer, part in zip((1, 2, 10), PARTS, strict=False)]
    values = {name: draw.normal(settings["width"], dtype=torch.float32) for name in several}
    all_refused_by_name(student, draw, weights | values, several, settings)


@load_pretrained.test(
    points=1,
    says="a tensor of another shape must be refused, by its name (ours or the published one), also where it could be broadcast, turned round, or has as many numbers. The model stays as it was",
)
def other_shapes_are_refused_by_name(student: Student, draw: Draw) -> None:
    settings = settings_of(draw, 1)
    weights = drawn_weights(draw, settings)
    position, expand = "embeddings.position_embeddings.weight", "encoder.layer.0.intermediate.dense.weight"
    norm = "encoder.layer.0.output.LayerNorm.weight"
    for name, value in (
        (position, weights[position][:1]),
        (position, weights[position][:-1]),
        (expand, weights[expand].T.contiguous()),
        (norm, weights[norm][None]),
    ):
        culprits = [name, str(reference.map_parameter_name(name))]
        refused_by_name(student, draw, weights | {name: value}, culprits, settings)


@load_pretrained.test(
    points=1,
    says="two entries that belong to one parameter, one with `bert.` in front and one without, must be refused, by name (ours or a published one): nobody can tell which one is meant. The model stays as it was",
)
def two_for_one_place_are_refused(student: Student, draw: Draw) -> None:
    settings = settings_of(draw, 1)
    weights = drawn_weights(draw, settings)
    name = draw.choice(published_names(1))
    twice = weights | {f"bert.{name}": weights[name] + 1}
    refused_by_name(student, draw, twice, [name, str(reference.map_parameter_name(name))], settings)
    first = {f"bert.{name}": weights[name] + 1} | weights
    refused_by_name(student, draw, first, [name, str(reference.map_parameter_name(name))], settings)


@load_pretrained.test(
    points=1,
    says="loading must copy: the parameters stay the same objects, in their own dtype and still trainable, they share no memory with the file's tensors, the file's tensors are left as they were, and nothing is returned",
)
def values_are_copied(student: Student, draw: Draw) -> None:
    settings = settings_of(draw, 1)
    weights = {name: value.double() for name, value in drawn_weights(draw, settings).items()}
    turned = "encoder.layer.0.attention.self.key.weight"
    weights[turned] = draw.strided(weights[turned])
    for given in (weights, {name: value.float() for name, value in weights.items()}):
        found = looked(student, settings, drawn_state(draw, settings), given)
        check(found["message"] is None, f"refused: {found['message']}")
        expected = {name: value.float() for name, value in expected_state(given).items()}
        close_states(found["after"], expected, "the model")
        close_states(found["later"], expected, "the model after the file's tensors were changed")
        close_states(found["weights"], given, "the file's tensors")
        check(found["same"] is True, "the parameters are other objects than before")
        check(found["trains"] is True, "the parameters cannot be trained any more")
        check(found["nothing"] is True, "something was returned")


hidden_states = Exercise("hidden_states")

RUNNER = """
def build(settings, state, training):
    from attention_from_scratch.bert import BertEncoder
    model = BertEncoder(**settings)
    model.load_state_dict(state)
    return model.train(training)

def states_of(settings, state, tokens, mask):
    model = build(settings, state, False)
    states = hidden_states(model, tokens, mask)
    return {"list": isinstance(states, list), "states": [value.detach() for value in states]}

def gradients_of(settings, state, tokens, mask, upstream):
    model = build(settings, state, False)
    states = hidden_states(model, tokens, mask)
    sum((value * grad).sum() for value, grad in zip(states, upstream)).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

def mode_and_inputs_after(settings, state, tokens, mask, training):
    model = build(settings, state, training)
    states = hidden_states(model, tokens, mask)
    return {"training": [module.training for module in model.modules()], "inputs": [tokens, mask],
            "states": [value.detach() for value in states]}
"""


def model_and_batch(student: Student, draw: Draw, layers: int, **changes: Any):
    """Settings, a drawn state, our model with it, tokens, and a mask with padding in every text but the first."""
    student.define(RUNNER)
    settings = settings_of(draw, layers) | changes
    ours = BertEncoder(**settings)
    state = {
        name: draw.normal(*value.shape, dtype=torch.float32) * (0.5 if value.ndim == 2 else 1.0)
        for name, value in ours.state_dict().items()
    }
    ours.load_state_dict(state)
    batch, length = draw.choice([2, 3, 5]), draw.choice([5, 7])
    tokens = torch.tensor(
        [[draw.integer(0, settings["tokens"] - 1) for _ in range(length)] for _ in range(batch)]
    )
    lengths = torch.tensor([length, *(draw.integer(1, length - 2) for _ in range(batch - 1))])
    return settings, state, ours.eval(), tokens, torch.arange(length) < lengths[:, None]


def close_where_real(got: Any, expected: list[Tensor], mask: Tensor) -> None:
    """The same number of states, and the same numbers at real tokens: what stands on padding means nothing."""
    check(isinstance(got, list) and len(got) == len(expected), f"{len(expected)} states were expected")
    for number, (one, other) in enumerate(zip(got, expected, strict=True)):
        check(isinstance(one, Tensor) and one.shape == other.shape, f"state {number} has another shape")
        close(one[mask], other.detach()[mask], tolerance=STATES, what=f"state {number}")


@hidden_states.test(
    points=1.5,
    says="the states are not those that are asked for: the embeddings first, then what each layer returns, in order, in a list with one entry more than there are layers",
)
def one_state_more_than_layers(student: Student, draw: Draw) -> None:
    for layers in (1, draw.integer(2, 3)):
        settings, state, ours, tokens, _ = model_and_batch(student, draw, layers)
        mask = torch.ones_like(tokens, dtype=torch.bool)
        found = student.states_of(settings, state, tokens, mask)
        close_where_real(found["states"], reference.hidden_states(ours, tokens, mask), mask)
        check(found["list"] is True, "the states do not come in a list")


@hidden_states.test(
    points=1.5,
    says="padding is looked at: the mask, (batch, length), True for a real token, must reach every layer as a mask over the keys, (batch, 1, 1, length). In each state the real tokens must be the same whatever stands on the padding",
)
def nobody_looks_at_padding(student: Student, draw: Draw) -> None:
    settings, state, ours, tokens, mask = model_and_batch(student, draw, 3)
    expected = reference.hidden_states(ours, tokens, mask)
    close_where_real(student.states_of(settings, state, tokens, mask)["states"], expected, mask)
    other = torch.where(mask, tokens, (tokens + draw.integer(1, 7)) % settings["tokens"])
    close_where_real(student.states_of(settings, state, other, mask)["states"], expected, mask)


@hidden_states.test(
    points=1,
    says="padding may stand before a text as well as behind it, and texts of one batch have different padding: use the mask of each text as it is",
)
def padding_may_stand_anywhere(student: Student, draw: Draw) -> None:
    settings, state, ours, tokens, mask = model_and_batch(student, draw, 2)
    mask = mask.flip(1)
    expected = reference.hidden_states(ours, tokens, mask)
    close_where_real(student.states_of(settings, state, tokens, mask)["states"], expected, mask)


@hidden_states.test(
    points=1,
    says="texts of a batch influence each other, or a single text, or one of a single token, is treated in another way",
)
def texts_do_not_mix(student: Student, draw: Draw) -> None:
    settings, state, ours, tokens, mask = model_and_batch(student, draw, 2)
    expected = reference.hidden_states(ours, tokens, mask)
    for rows, columns in ((slice(-1, None), slice(None)), (slice(0, 1), slice(0, 1))):
        some, seen = tokens[rows, columns], mask[rows, columns]
        wanted = reference.hidden_states(ours, some, seen)
        close_where_real(student.states_of(settings, state, some, seen)["states"], wanted, seen)
    close_where_real(student.states_of(settings, state, draw.strided(tokens), mask)["states"], expected, mask)


@hidden_states.test(
    points=0.5,
    says="gradients do not flow: no detach and no no_grad, for the next chapter trains through these states",
)
def gradients_flow_through_the_states(student: Student, draw: Draw) -> None:
    settings, state, ours, tokens, mask = model_and_batch(student, draw, 2)
    states = reference.hidden_states(ours, tokens, mask)
    upstream = [draw.normal(*value.shape, dtype=torch.float32) * mask[..., None] for value in states]
    torch.stack([(value * grad).sum() for value, grad in zip(states, upstream, strict=True)]).sum().backward()
    expected = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    got = student.gradients_of(settings, state, tokens, mask, upstream)
    check(isinstance(got, dict) and got.keys() == expected.keys(), "not the same parameters have gradients")
    for name, value in expected.items():  # sums over all tokens and three layers: room for many roundings
        close(got[name], value, tolerance=1e-3, what=f"the gradient of {name}")


@hidden_states.test(
    points=0.5,
    says="the function changes what it is given: the mode of the model (train or eval), the tokens and the mask must be as they were",
)
def model_and_inputs_are_left_alone(student: Student, draw: Draw) -> None:
    settings, state, ours, tokens, mask = model_and_batch(student, draw, 2)
    expected = reference.hidden_states(ours, tokens, mask)
    for training in (True, False):
        found = student.mode_and_inputs_after(settings, state, tokens, mask, training)
        close_where_real(found["states"], expected, mask)  # dropout is 0, so the mode changes no number
        check(all(one is training for one in found["training"]), "the mode of the model is another one")
        close(found["inputs"], [tokens, mask], what="the inputs after the call")


mean_pool = Exercise("mean_pool")


def hidden_and_mask(draw: Draw) -> tuple[Tensor, Tensor]:
    """Vectors and a mask: the padding at the end, one text without any."""
    batch, length, width = draw.primes(3)
    lengths = torch.tensor([length, *(draw.integer(1, length) for _ in range(batch - 1))])
    return draw.normal(batch, length, width) + 1, torch.arange(length) < lengths[:, None]


@mean_pool.test(
    points=1,
    says="the mean is wrong even without padding: one vector for each text, the mean over the length, neither a sum nor a maximum, and not made of length 1",
)
def mean_over_the_length(student: Student, draw: Draw) -> None:
    batch, length, width = draw.primes(3)
    for shape in ((batch, length, width), (1, length, 1), (batch, 1, width)):
        hidden = draw.normal(*shape) + 1
        mask = torch.ones(shape[:2], dtype=torch.bool)
        close(student.mean_pool(hidden, mask), hidden.mean(dim=1))


@mean_pool.test(
    points=1.5,
    says="padding counts: it must be left out of the sum and out of the number that the sum is divided by, for each text by its own number of real tokens. What the padding holds changes nothing",
)
def padding_does_not_count(student: Student, draw: Draw) -> None:
    hidden, mask = hidden_and_mask(draw)
    mask[-1, 1:] = False
    hidden = torch.where(mask[..., None], hidden, 1000 * hidden)
    close(student.mean_pool(hidden, mask), reference.mean_pool(hidden, mask))


@mean_pool.test(
    points=1,
    says="a text of no tokens must give zeros, and its gradients must be zeros too: neither NaN nor infinity",
)
def nothing_gives_zeros(student: Student, draw: Draw) -> None:
    hidden, mask = hidden_and_mask(draw)
    mask[-1] = False
    value, grads = student.gradients("mean_pool", hidden, mask)
    close(value, reference.mean_pool(hidden, mask))
    leaf = hidden.clone().requires_grad_()
    reference.mean_pool(leaf, mask).sum().backward()
    assert leaf.grad is not None
    close(grads, [leaf.grad], what="the gradients")


@mean_pool.test(
    points=0.5,
    says="the mask says which tokens are real, wherever they stand: padding may come first, and there may be holes",
)
def real_tokens_may_stand_anywhere(student: Student, draw: Draw) -> None:
    hidden, _ = hidden_and_mask(draw)
    mask = draw.uniform(*hidden.shape[:2]) < 0.5
    mask[0, 0], mask[0, -1] = False, True
    close(student.mean_pool(hidden, mask), reference.mean_pool(hidden, mask))


@mean_pool.test(
    points=0.5,
    says="the inputs were changed, texts of a batch influence each other, or the gradient is wrong: each real token gets its share of the gradient of its own text",
)
def inputs_are_left_alone_and_gradients_are_shares(student: Student, draw: Draw) -> None:
    hidden, mask = hidden_and_mask(draw)
    expected = reference.mean_pool(hidden, mask)
    probe = student.probe("mean_pool", draw.strided(hidden), draw.strided(mask))
    close(probe.value, expected)
    close(list(probe.args), [hidden, mask], tolerance=0.0, what="the arguments after the call")
    close(student.mean_pool(hidden[-1:], mask[-1:]), expected[-1:], what="the last text alone")
    upstream = draw.normal(*expected.shape)
    _, grads = student.gradients("mean_pool", hidden, mask, upstream=upstream)
    shares = mask[..., None] * (upstream / mask.sum(dim=1, keepdim=True))[:, None]
    close(grads, [shares], what="the gradients")


@mean_pool.test(
    points=0.5,
    says="the result must have the dtype of the hidden states: float32 stays float32, float64 keeps its digits",
)
def dtype_is_that_of_the_states(student: Student, draw: Draw) -> None:
    hidden, mask = hidden_and_mask(draw)
    for dtype in (torch.float32, torch.float64):
        close(student.mean_pool(hidden.to(dtype), mask), reference.mean_pool(hidden.to(dtype), mask))


QUESTIONS = [
    Question(
        "would_your_test_see_it",
        points=4,
        answer="eps 1e-5 and the tanh GELU change the states by some thousandths, so the cosine of a mean vector stays "
        "above 0.999; 16-bit weights too. 'No mask' passes as well, whatever it does to others: with one sentence "
        "there is no padding. The same is true of padding in the mean. A test that sees them all: a batch of several real "
        "texts of different lengths, so that there is padding, and random token ids besides; all hidden states compared, "
        "not only the last, number by number at the real tokens, with the largest difference below 1e-5 (float32; "
        "rounding gives about 3e-6, the smallest fault 1e-3). What still escapes: a tokenizer that cuts otherwise, since both "
        "sides get the same ids, so compare the pieces on hard texts too; positions beyond the longest text of the test; "
        "rows of the embedding for tokens that never occur in it; the behaviour in training mode (dropout, gradients).",
        rubric="1 point: two machines named with a reason (a small change in every number, or no padding in a single "
        "sentence). 1 point: inputs with padding, several texts. 1 point: all states, compared number by number, with a "
        "tolerance between rounding (1e-6) and the smallest fault (1e-3), and the reason for it. 1 point: something that "
        "escapes even so (tokenizer, long positions, unseen tokens, training mode).",
    )
]
