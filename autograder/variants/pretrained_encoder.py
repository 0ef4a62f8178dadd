"""Wrong and right solutions of chapter 12, `pretrained_encoder`."""

from autograder.variants.base import right, wrong

BLANKS = """
def split_words(text):
    kept = []
    for c in text:
        kind = unicodedata.category(c)
        if c in "\\t\\n\\r":
            kept.append(" ")
        elif c == "\\ufffd" or kind in ("Cc", "Cf", "Co", "Cs"):
            DROP
        elif is_chinese(c):
            kept.append(" " + c + " ")
        else:
            kept.append(c)
    text = "".join(c for c in unicodedata.normalize("NFD", "".join(kept)) if unicodedata.category(c) != "Mn")
    text = "".join(c.lower() for c in text)
    return "".join(" " + c + " " if is_punctuation(c) else c for c in text).split()
"""

WORDS = [
    wrong(
        "split_words",
        "plain_spaces_only",
        caught_by="words_end_at_white_space",
        because="parts the text at the space character alone",
        edit=("for c in lowered).split()", 'for c in lowered).split(" ")'),
    ),
    wrong(
        "split_words",
        "tabs_vanish",
        caught_by="words_end_at_white_space",
        because="tab and newline are of category Cc, and go with it",
        edit=('character in "\\t\\n\\r"', 'character in ""'),
    ),
    wrong(
        "split_words",
        "invisible_to_spaces",
        caught_by="invisible_characters_vanish",
        because="puts a space where a control character was",
        body=BLANKS.replace("DROP", 'kept.append(" ")'),
    ),
    wrong(
        "split_words",
        "unassigned_vanish",
        caught_by="invisible_characters_vanish",
        because="drops all of category C, with it the code points that stand for nothing",
        edit=(
            'unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs")',
            'not unicodedata.category(character).startswith("C")',
        ),
    ),
    wrong(
        "split_words",
        "only_control_vanishes",
        caught_by="invisible_characters_vanish",
        because="keeps soft hyphens and joiners",
        edit=('("Cc", "Cf", "Co", "Cs")', '("Cc",)'),
    ),
    wrong(
        "split_words",
        "replacement_stays",
        caught_by="invisible_characters_vanish",
        because="keeps U+FFFD, which is a symbol to Unicode",
        edit=('character != "\\ufffd" and ', ""),
    ),
    wrong(
        "split_words",
        "accents_stay",
        caught_by="accents_come_off",
        because="does not take letters apart",
        edit=('unicodedata.normalize("NFD", "".join(kept))', '"".join(kept)'),
    ),
    wrong(
        "split_words",
        "compatibility_form",
        caught_by="accents_come_off",
        because="NFKD also rewrites ligatures, exponents and wide letters",
        edit=('"NFD"', '"NFKD"'),
    ),
    wrong(
        "split_words",
        "all_marks_dropped",
        caught_by="accents_come_off",
        because="drops the spacing marks too, which are vowels in Indian scripts",
        edit=('unicodedata.category(c) != "Mn"', 'not unicodedata.category(c).startswith("M")'),
    ),
    wrong(
        "split_words",
        "combining_class_for_category",
        caught_by="accents_come_off",
        because="asks for the combining class, which is 0 for many marks of category Mn",
        edit=('unicodedata.category(c) != "Mn"', "not unicodedata.combining(c)"),
    ),
    wrong(
        "split_words",
        "composed_again",
        caught_by="accents_come_off",
        because="ends in NFC, which puts Korean syllables together again",
        edit=(
            'lowered = "".join(character.lower() for character in bare)',
            'lowered = unicodedata.normalize("NFC", "".join(c.lower() for c in bare))',
        ),
    ),
    wrong(
        "split_words",
        "ascii_only",
        caught_by="accents_come_off",
        because="throws away what is not ASCII",
        edit=('if unicodedata.category(c) != "Mn"', "if c.isascii() or is_chinese(c)"),
    ),
    wrong(
        "split_words",
        "lower_as_a_whole",
        caught_by="each_character_is_lowered_alone",
        because="lower() of a text knows the final sigma",
        edit=('"".join(character.lower() for character in bare)', '"".join(bare).lower()'),
    ),
    wrong(
        "split_words",
        "casefold",
        caught_by="each_character_is_lowered_alone",
        because="folding turns ß into ss",
        edit=("character.lower() for", "character.casefold() for"),
    ),
    wrong(
        "split_words",
        "case_stays",
        caught_by="each_character_is_lowered_alone",
        because="is the tokenizer of a cased model",
        edit=("character.lower() for", "character for"),
    ),
    wrong(
        "split_words",
        "chinese_as_letters",
        caught_by="chinese_characters_stand_alone",
        because="leaves runs of Chinese characters together",
        edit=('f" {character} "', "character"),
    ),
    wrong(
        "split_words",
        "east_asian_all_alike",
        caught_by="chinese_characters_stand_alone",
        because="parts kana and hangul too",
        edit=(
            "is_chinese(character)",
            'unicodedata.east_asian_width(character) == "W" and character != "\\u3000"',
        ),
    ),
    wrong(
        "split_words",
        "punctuation_stays_on",
        caught_by="punctuation_stands_alone",
        because="parts at white space only",
        edit=('f" {c} " if is_punctuation(c) else c', "c"),
    ),
    wrong(
        "split_words",
        "punctuation_dropped",
        caught_by="punctuation_stands_alone",
        because="takes punctuation for white space",
        edit=('f" {c} " if', '" " if'),
    ),
    wrong(
        "split_words",
        "symbols_too",
        caught_by="punctuation_stands_alone",
        because="parts at every symbol, such as € and emoji",
        edit=("if is_punctuation(c)", 'if is_punctuation(c) or unicodedata.category(c)[0] == "S"'),
    ),
    wrong(
        "split_words",
        "ascii_punctuation",
        caught_by="punctuation_stands_alone",
        because="knows the marks of the keyboard only",
        edit=("if is_punctuation(c)", "if is_punctuation(c) and c.isascii()"),
    ),
    wrong(
        "split_words",
        "punctuation_before_accents",
        caught_by="steps_follow_each_other",
        because="looks for punctuation while accents still hide it",
        body="""
def split_words(text):
    kept = []
    for c in text:
        if c in "\\t\\n\\r":
            kept.append(" ")
        elif is_chinese(c) or is_punctuation(c):
            kept.append(f" {c} ")
        elif c != "\\ufffd" and unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs"):
            kept.append(c)
    bare = [c for c in unicodedata.normalize("NFD", "".join(kept)) if unicodedata.category(c) != "Mn"]
    return "".join(c.lower() for c in bare).split()
""",
    ),
    wrong(
        "split_words",
        "nothing",
        caught_by="everything_at_once",
        because="a list without words",
        body="""
def split_words(text):
    return []
""",
    ),
    right(
        "split_words",
        "word_by_word",
        because="collects words by hand; lower case before the accents go",
        body="""
def split_words(text):
    lowered = "".join(c.lower() for c in text if c in "\\t\\n\\r" or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs"))
    words, current = [], ""
    for original in lowered.replace("\\ufffd", ""):
        alone = is_chinese(original)
        if alone and current:
            words.append(current)
            current = ""
        for c in unicodedata.normalize("NFD", original).lower():
            if unicodedata.category(c) == "Mn":
                continue
            if c.isspace() or is_punctuation(c):
                if current:
                    words.append(current)
                current = ""
                if not c.isspace():
                    words.append(c)
            else:
                current += c
        if alone and current:
            words.append(current)
            current = ""
    return words + [current] * bool(current)
""",
    ),
    right(
        "split_words",
        "by_a_regular_expression",
        because="marks what is to vanish, then finds the words with re",
        body="""
def split_words(text):
    gone = {"Cc": "", "Cf": "", "Co": "", "Cs": ""}
    clean = re.sub("[\\t\\n\\r]", " ", text).replace("\\ufffd", "")
    clean = "".join(gone.get(unicodedata.category(c), c) for c in clean)
    clean = "".join(f" {c} " if is_chinese(c) else c for c in clean)
    decomposed = unicodedata.normalize("NFD", clean)
    stripped = re.sub(".", lambda m: "" if unicodedata.category(m[0]) == "Mn" else m[0].lower(), decomposed, flags=re.S)
    spaced = re.sub(".", lambda m: f" {m[0]} " if is_punctuation(m[0]) else m[0], stripped, flags=re.S)
    return [piece for piece in re.split("\\\\s+", spaced) if piece]
""",
    ),
]

CUT = """
def wordpiece(text, vocabulary):
    pieces = []
    for word in split_words(text):
        if len(word) > LONGEST_WORD:
            pieces.append(UNKNOWN)
            continue
        cut, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            for end in ENDS:
                if mark + word[start:end] in vocabulary:
                    break
            else:
                FAIL
            cut.append(mark + word[start:end])
            start = end
        pieces.extend(cut)
    return pieces
"""
DOWN = "range(len(word), start, -1)"
WHOLE = """cut = [UNKNOWN]
                break"""


def cutter(ends: str = DOWN, fail: str = WHOLE) -> str:
    """The cutting with its loop over the ends, and what happens where nothing fits, written out."""
    return CUT.replace("ENDS", ends).replace("FAIL", fail)


PIECES = [
    wrong(
        "wordpiece",
        "each_word_once",
        caught_by="known_words_stay_whole",
        because="gives every piece once, as a set would",
        edit=("    return pieces\n", "    return list(dict.fromkeys(pieces))\n"),
    ),
    wrong(
        "wordpiece",
        "letters",
        caught_by="known_words_stay_whole",
        because="cuts into single characters",
        edit=("range(len(rest), 0, -1)", "range(1, 0, -1)"),
    ),
    wrong(
        "wordpiece",
        "no_mark",
        caught_by="later_pieces_carry_the_mark",
        because="looks up later pieces as if they were first ones",
        edit=('mark = "##" if cut else ""', 'mark = ""'),
    ),
    wrong(
        "wordpiece",
        "mark_forgotten_in_the_answer",
        caught_by="later_pieces_carry_the_mark",
        because="looks pieces up with ## and gives them back without",
        edit=("cut.append(mark + rest[:longest])", "cut.append(rest[:longest])"),
    ),
    wrong(
        "wordpiece",
        "first_piece_may_carry_the_mark",
        caught_by="later_pieces_carry_the_mark",
        because="takes a ## piece for the start of a word when there is no other",
        edit=(
            "if mark + rest[:n] in vocabulary), 0)",
            "if mark + rest[:n] in vocabulary), 0)\n            if not longest and not cut:\n"
            '                mark = "##"\n                longest = next((n for n in lengths if mark + rest[:n] in vocabulary), 0)',
        ),
    ),
    wrong(
        "wordpiece",
        "shortest_first",
        caught_by="longest_piece_first",
        because="tries short pieces before long ones",
        edit=("range(len(rest), 0, -1)", "range(1, len(rest) + 1)"),
    ),
    wrong(
        "wordpiece",
        "fewest_pieces",
        caught_by="longest_piece_first",
        because="looks for the cut with the fewest pieces instead of the greedy one",
        body="""
def wordpiece(text, vocabulary):
    pieces = []
    for word in split_words(text):
        best = {0: []}
        for end in range(1, len(word) + 1):
            for start in range(end):
                piece = ("##" if start else "") + word[start:end]
                if start in best and piece in vocabulary:
                    if end not in best or len(best[start]) + 1 < len(best[end]):
                        best[end] = best[start] + [piece]
        pieces += best.get(len(word), [UNKNOWN]) if len(word) <= LONGEST_WORD else [UNKNOWN]
    return pieces
""",
    ),
    wrong(
        "wordpiece",
        "from_the_right",
        caught_by="longest_piece_first",
        because="eats the word from its end",
        body="""
def wordpiece(text, vocabulary):
    pieces = []
    for word in split_words(text):
        cut, end = [], len(word) if len(word) <= LONGEST_WORD else 0
        while end > 0:
            found = [s for s in range(end) if ("##" if s else "") + word[s:end] in vocabulary]
            if not found:
                cut = []
                break
            cut.insert(0, ("##" if found[0] else "") + word[found[0]:end])
            end = found[0]
        pieces += cut or [UNKNOWN]
    return pieces
""",
    ),
    wrong(
        "wordpiece",
        "what_was_cut_stays",
        caught_by="unknown_words_are_unknown_as_a_whole",
        because="keeps the pieces before the one that does not fit",
        body=cutter(fail="cut.append(UNKNOWN)\n                break"),
    ),
    wrong(
        "wordpiece",
        "skips_a_letter",
        caught_by="unknown_words_are_unknown_as_a_whole",
        because="goes on behind the letter that does not fit",
        body=cutter(fail="start += 1\n                continue"),
    ),
    wrong(
        "wordpiece",
        "unknown_dropped",
        caught_by="unknown_words_are_unknown_as_a_whole",
        because="leaves unknown words out",
        body=cutter(fail="cut = []\n                break"),
    ),
    wrong(
        "wordpiece",
        "stops_at_the_first_unknown",
        caught_by="unknown_words_are_unknown_as_a_whole",
        because="gives up the rest of the text with the word",
        body=cutter(fail="return pieces + [UNKNOWN]"),
    ),
    wrong(
        "wordpiece",
        "tries_other_cuts",
        caught_by="unknown_words_are_unknown_as_a_whole",
        because="goes back and tries a shorter piece where greedy ends in nothing",
        body="""
def wordpiece(text, vocabulary):
    def cut(word, start):
        if start == len(word):
            return []
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                rest = cut(word, end)
                if rest is not None:
                    return [piece, *rest]
        return None

    pieces = []
    for word in split_words(text):
        found = cut(word, 0) if len(word) <= LONGEST_WORD else None
        pieces += [UNKNOWN] if found is None else found
    return pieces
""",
    ),
    wrong(
        "wordpiece",
        "no_limit",
        caught_by="very_long_words_are_not_cut",
        because="cuts words of any length",
        edit=(" and len(word) <= LONGEST_WORD", ""),
    ),
    wrong(
        "wordpiece",
        "limit_off_by_one",
        caught_by="very_long_words_are_not_cut",
        because="refuses words of exactly 100 characters",
        edit=("len(word) <= LONGEST_WORD", "len(word) < LONGEST_WORD"),
    ),
    wrong(
        "wordpiece",
        "limit_of_the_text",
        caught_by="very_long_words_are_not_cut",
        because="measures the text",
        edit=("len(word) <= LONGEST_WORD", "len(text) <= LONGEST_WORD"),
    ),
    wrong(
        "wordpiece",
        "cut_down_to_the_limit",
        caught_by="very_long_words_are_not_cut",
        because="cuts the first 100 characters of a longer word",
        edit=(
            "        rest = word\n        while rest and len(word) <= LONGEST_WORD:",
            "        rest = word[:LONGEST_WORD]\n        while rest:",
        ),
    ),
    wrong(
        "wordpiece",
        "spaces_only",
        caught_by="words_are_those_of_split_words",
        because="parts the text at its spaces",
        edit=("split_words(text)", "text.split()"),
    ),
    wrong(
        "wordpiece",
        "lower_only",
        caught_by="words_are_those_of_split_words",
        because="lowers, and leaves accents and punctuation",
        edit=("split_words(text)", "text.lower().split()"),
    ),
    wrong(
        "wordpiece",
        "teaches_the_vocabulary",
        caught_by="vocabulary_is_only_looked_into",
        because="adds unknown words to the vocabulary",
        edit=(
            "        pieces += [UNKNOWN] if rest else cut",
            "        pieces += [UNKNOWN] if rest else cut\n        vocabulary.setdefault(word, 1)",
        ),
    ),
    wrong(
        "wordpiece",
        "never_empty",
        caught_by="vocabulary_is_only_looked_into",
        because="says [UNK] to an empty text",
        edit=("    return pieces\n", "    return pieces or [UNKNOWN]\n"),
    ),
    right(
        "wordpiece",
        "for_else",
        because="ends and a for with an else",
        body=cutter(),
    ),
    right(
        "wordpiece",
        "by_recursion",
        because="greedy by a function that calls itself",
        body="""
def wordpiece(text, vocabulary):
    def cut(rest, mark):
        if not rest:
            return []
        fits = [n for n in range(1, len(rest) + 1) if mark + rest[:n] in vocabulary]
        if not fits:
            return None
        others = cut(rest[fits[-1]:], "##")
        return None if others is None else [mark + rest[:fits[-1]]] + others

    return [
        piece
        for word in split_words(text)
        for piece in ((cut(word, "") if len(word) <= LONGEST_WORD else None) or [UNKNOWN])
    ]
""",
    ),
]

CHAIN = """
def map_parameter_name(name):
    plain = name.removeprefix("bert.")
    if plain.startswith(("pooler.", "cls.")) or plain == "embeddings.position_ids":
        return None
    for theirs, ours in [
        ("word_embeddings", "word"), ("position_embeddings", "position"), ("token_type_embeddings", "token_type"),
        ("encoder.layer.", "encoder.layers."), ("attention.self.", "attention."),
        TABLE
        ("LayerNorm", "norm"),
    ]:
        plain = plain.replace(theirs, ours)
    CHECK
    return plain
"""
GOOD = """("attention.output.dense", "attention.output"), ("attention.output.LayerNorm", "attention_norm"),
        ("intermediate.dense", "feed_forward.expand"), ("output.dense", "feed_forward.contract"),
        ("output.LayerNorm", "feed_forward_norm"),"""
CHECK = r"""place = r"(embeddings\.(word|position|token_type)\.weight|embeddings\.norm\.(weight|bias)"
    place += r"|encoder\.layers\.\d+\.(attention\.(query|key|value|output)|feed_forward\.(expand|contract)"
    place += r"|attention_norm|feed_forward_norm)\.(weight|bias))"
    if not re.fullmatch(place, plain) or "feed_forward." in name or "attention_norm" in name:
        raise ValueError(f"unknown: {name}")"""


def chain(table: str = GOOD, check: str = CHECK) -> str:
    """A chain of replacements and a check of what comes out."""
    return CHAIN.replace("TABLE", table).replace("CHECK", check)


NAMES = [
    wrong(
        "map_parameter_name",
        "types_as_words",
        caught_by="embeddings_find_their_places",
        because="token_type_embeddings has no place of its own",
        edit=('"token_type.weight"', '"word.weight"'),
    ),
    wrong(
        "map_parameter_name",
        "norm_of_the_embeddings_forgotten",
        caught_by="embeddings_find_their_places",
        because="leaves the norm of the embeddings out",
        edit=(
            "    embedding = plain",
            '    if plain.startswith("embeddings.LayerNorm."):\n        return None\n    embedding = plain',
        ),
    ),
    wrong(
        "map_parameter_name",
        "query_for_key",
        caught_by="parts_of_a_layer_find_their_places",
        because="a slip that no shape gives away",
        edit=('"attention.self.query": "attention.query"', '"attention.self.query": "attention.key"'),
    ),
    wrong(
        "map_parameter_name",
        "norms_swapped",
        caught_by="parts_of_a_layer_find_their_places",
        because="takes the two norms of a layer for each other",
        edit=('"output.LayerNorm": "feed_forward_norm"', '"output.LayerNorm": "attention_norm"'),
    ),
    wrong(
        "map_parameter_name",
        "output_before_attention_output",
        caught_by="parts_of_a_layer_find_their_places",
        because="replaces output.dense first, and finds it inside attention.output.dense",
        body=chain(
            """("output.dense", "feed_forward.contract"), ("attention.output.dense", "attention.output"),
        ("attention.output.LayerNorm", "attention_norm"), ("intermediate.dense", "feed_forward.expand"),
        ("output.LayerNorm", "feed_forward_norm"),""",
            "",
        ),
    ),
    wrong(
        "map_parameter_name",
        "biases_forgotten",
        caught_by="parts_of_a_layer_find_their_places",
        because="sends every kind to weight",
        edit=("{of_layers[layer[2]]}.{layer[3]}", "{of_layers[layer[2]]}.weight"),
    ),
    wrong(
        "map_parameter_name",
        "one_digit",
        caught_by="layers_keep_their_number",
        because="knows ten layers",
        edit=(r"layer\.(\d+)\.", r"layer\.(\d)\."),
    ),
    wrong(
        "map_parameter_name",
        "counted_from_one",
        caught_by="layers_keep_their_number",
        because="takes the first layer for number 1",
        edit=("encoder.layers.{layer[1]}", "encoder.layers.{max(0, int(layer[1]) - 1)}"),
    ),
    wrong(
        "map_parameter_name",
        "no_prefix",
        caught_by="prefix_is_taken_off",
        because="does not know the names of a whole BERT",
        edit=('name.removeprefix("bert.")', "name"),
    ),
    wrong(
        "map_parameter_name",
        "prefix_only",
        caught_by="prefix_is_taken_off",
        because="takes off five characters whatever they are",
        edit=('name.removeprefix("bert.")', 'name[5:] if name.startswith("bert.e") else name'),
    ),
    wrong(
        "map_parameter_name",
        "pooler_refused",
        caught_by="what_has_no_place_is_none",
        because="refuses what is only left out",
        edit=('plain.startswith(("pooler.", "cls."))', 'plain.startswith("cls.")'),
    ),
    wrong(
        "map_parameter_name",
        "position_ids_refused",
        caught_by="what_has_no_place_is_none",
        because="takes the table of positions for a parameter",
        edit=('plain == "embeddings.position_ids" or ', ""),
    ),
    wrong(
        "map_parameter_name",
        "none_for_all_that_is_unknown",
        caught_by="unknown_names_are_refused_by_name",
        because="drops in silence what it does not know",
        edit=(
            '    raise ValueError(f"no parameter of the encoder belongs to {name!r}")\n',
            "    return None\n",
        ),
    ),
    wrong(
        "map_parameter_name",
        "refuses_without_a_name",
        caught_by="unknown_names_are_refused_by_name",
        because="says that something is wrong and not what",
        edit=('f"no parameter of the encoder belongs to {name!r}"', '"unknown parameter"'),
    ),
    wrong(
        "map_parameter_name",
        "key_error",
        caught_by="unknown_names_are_refused_by_name",
        because="lets the table complain, with a KeyError",
        edit=("    if layer and layer[2] in of_layers:", "    if layer:"),
    ),
    wrong(
        "map_parameter_name",
        "unchecked_chain",
        caught_by="unknown_names_are_refused_by_name",
        because="replaces what it knows and hands on the rest",
        body=chain(check=""),
    ),
    wrong(
        "map_parameter_name",
        "same_name",
        caught_by="parts_of_a_layer_find_their_places",
        because="gives the name back",
        body="""
def map_parameter_name(name):
    return name
""",
    ),
    right(
        "map_parameter_name",
        "checked_chain",
        because="replaces in order, then checks the result",
        body=chain(),
    ),
    right(
        "map_parameter_name",
        "taken_apart",
        because="splits at the dots",
        body="""
def map_parameter_name(name):
    words = name.split(".")
    if words[0] == "bert":
        words = words[1:]
    if words and words[0] in ("pooler", "cls") and len(words) > 1 or words == ["embeddings", "position_ids"]:
        return None
    if len(words) == 3 and words[0] == "embeddings":
        if words[1] == "LayerNorm" and words[2] in ("weight", "bias"):
            return f"embeddings.norm.{words[2]}"
        if words[1] in ("word_embeddings", "position_embeddings", "token_type_embeddings") and words[2] == "weight":
            return f"embeddings.{words[1][:-len('_embeddings')]}.weight"
    if len(words) > 5 - 1 and words[:2] == ["encoder", "layer"] and words[2].isdigit() and words[-1] in ("weight", "bias"):
        match words[3:-1]:
            case ["attention", "self", ("query" | "key" | "value") as part]:
                middle = f"attention.{part}"
            case ["attention", "output", "dense"]:
                middle = "attention.output"
            case ["attention", "output", "LayerNorm"]:
                middle = "attention_norm"
            case ["intermediate", "dense"]:
                middle = "feed_forward.expand"
            case ["output", "dense"]:
                middle = "feed_forward.contract"
            case ["output", "LayerNorm"]:
                middle = "feed_forward_norm"
            case _:
                raise ValueError(name)
        return f"encoder.layers.{words[2]}.{middle}.{words[-1]}"
    raise ValueError(f"not known: {name}")
""",
    ),
]

LOADS = [
    wrong(
        "load_pretrained",
        "strict_is_false",
        caught_by="missing_tensors_are_refused_by_name",
        because="lets what does not fit fall on the floor",
        body="""
def load_pretrained(model, weights):
    mapped = {map_parameter_name(name): value for name, value in weights.items()}
    mapped.pop(None, None)
    try:
        model.load_state_dict(mapped, strict=False)
    except RuntimeError as problem:
        raise ValueError(str(problem)) from problem
""",
    ),
    wrong(
        "load_pretrained",
        "strict_is_true",
        caught_by="two_for_one_place_are_refused",
        because="load_state_dict complains in its own class, and a dictionary keeps the last of two entries",
        body="""
def load_pretrained(model, weights):
    mapped = {map_parameter_name(name): value for name, value in weights.items()}
    mapped.pop(None, None)
    model.load_state_dict(mapped)
""",
    ),
    wrong(
        "load_pretrained",
        "copies_as_it_goes",
        caught_by="missing_tensors_are_refused_by_name",
        because="changes the model before it knows that all is there",
        body="""
def load_pretrained(model, weights):
    parameters = dict(model.named_parameters())
    seen = set()
    for name, value in weights.items():
        ours = map_parameter_name(name)
        if ours is None:
            continue
        if ours not in parameters or ours in seen:
            raise ValueError(f"no place for {name}")
        if parameters[ours].shape != value.shape:
            raise ValueError(f"{name} has another shape")
        parameters[ours].data.copy_(value)
        seen.add(ours)
    if parameters.keys() - seen:
        raise ValueError(f"nothing for {sorted(parameters.keys() - seen)}")
""",
    ),
    wrong(
        "load_pretrained",
        "missing_allowed",
        caught_by="missing_tensors_are_refused_by_name",
        because="asks whether every entry has a place, not whether every place has an entry",
        edit=(
            "    missing = [name for name in parameters if name not in mapped]",
            "    mapped = dict(model.state_dict()) | mapped\n    missing = [name for name in parameters if name not in mapped]",
        ),
    ),
    wrong(
        "load_pretrained",
        "surplus_allowed",
        caught_by="surplus_tensors_are_refused_by_name",
        because="drops the layers that the model does not have",
        edit=(
            "        if ours not in parameters or ours in mapped:\n",
            "        if ours not in parameters:\n            continue\n        if ours in mapped:\n",
        ),
    ),
    wrong(
        "load_pretrained",
        "unknown_allowed",
        caught_by="surplus_tensors_are_refused_by_name",
        because="takes a refusal of the map for something to leave out",
        edit=(
            "        ours = map_parameter_name(name)\n",
            "        try:\n            ours = map_parameter_name(name)\n        except ValueError:\n            ours = None\n",
        ),
    ),
    wrong(
        "load_pretrained",
        "broadcasts",
        caught_by="other_shapes_are_refused_by_name",
        because="lets copy_ repeat a tensor until it fits",
        body="""
def load_pretrained(model, weights):
    parameters = dict(model.named_parameters())
    mapped = {}
    for name, value in weights.items():
        ours = map_parameter_name(name)
        if ours is None:
            continue
        if ours not in parameters or ours in mapped:
            raise ValueError(f"no place for {name}")
        try:
            mapped[ours] = value.expand(parameters[ours].shape)
        except RuntimeError:
            raise ValueError(f"{name} does not fit") from None
    missing = parameters.keys() - mapped.keys()
    if missing:
        raise ValueError(f"nothing for {sorted(missing)}")
    model.load_state_dict(mapped)
""",
    ),
    wrong(
        "load_pretrained",
        "reshapes",
        caught_by="other_shapes_are_refused_by_name",
        because="takes a tensor with as many numbers for the right one",
        edit=(
            "elif value.shape != parameters[ours].shape:",
            "elif value.numel() != parameters[ours].numel():",
        ),
    ),
    wrong(
        "load_pretrained",
        "shapes_without_names",
        caught_by="other_shapes_are_refused_by_name",
        because="says that a shape differs and not whose",
        edit=(
            'misshapen.append(f"{name} {tuple(value.shape)} for {tuple(parameters[ours].shape)}")',
            'misshapen.append(f"{tuple(value.shape)}")',
        ),
    ),
    wrong(
        "load_pretrained",
        "names_the_first_only",
        caught_by="missing_tensors_are_refused_by_name",
        because="complains at the first fault: the reader mends one name at a time",
        edit=("{', '.join(names)}", "{names[0]}"),
    ),
    wrong(
        "load_pretrained",
        "last_one_wins",
        caught_by="two_for_one_place_are_refused",
        because="lets a second entry take the place of the first",
        edit=(" or ours in mapped:", ":"),
    ),
    wrong(
        "load_pretrained",
        "leftovers_refused",
        caught_by="known_leftovers_are_left_out",
        because="refuses the pooler",
        edit=("            continue\n", '            raise ValueError(f"no place for {name}")\n'),
    ),
    wrong(
        "load_pretrained",
        "points_to_the_file",
        caught_by="values_are_copied",
        because="shares the memory of the file's tensors",
        edit=(
            "    model.load_state_dict(mapped)\n",
            "    for name, value in mapped.items():\n        parameters[name].data = value\n",
        ),
    ),
    wrong(
        "load_pretrained",
        "new_parameters",
        caught_by="values_are_copied",
        because="puts new objects into the model, of which an optimiser knows nothing",
        edit=(
            "    model.load_state_dict(mapped)\n",
            "    model.load_state_dict({name: value.float().clone() for name, value in mapped.items()}, assign=True)\n",
        ),
    ),
    wrong(
        "load_pretrained",
        "frozen",
        caught_by="values_are_copied",
        because="leaves parameters that cannot be trained",
        edit=(
            "    model.load_state_dict(mapped)\n",
            "    model.load_state_dict(mapped)\n    for parameter in model.parameters():\n        parameter.requires_grad_(False)\n",
        ),
    ),
    wrong(
        "load_pretrained",
        "empties_the_file",
        caught_by="values_are_copied",
        because="takes out of the dictionary what it has used",
        edit=(
            "    model.load_state_dict(mapped)\n",
            "    model.load_state_dict(mapped)\n    weights.clear()\n",
        ),
    ),
    wrong(
        "load_pretrained",
        "first_layer_only",
        caught_by="every_tensor_arrives",
        because="loads the embeddings and one layer",
        edit=(
            "    model.load_state_dict(mapped)\n",
            '    kept = {name: value for name, value in mapped.items() if ".layers." not in name or ".layers.0." in name}\n    model.load_state_dict(kept, strict=False)\n',
        ),
    ),
    wrong(
        "load_pretrained",
        "zeros",
        caught_by="every_tensor_arrives",
        because="fills the model with zeros",
        edit=(
            "    model.load_state_dict(mapped)\n",
            "    model.load_state_dict({name: 0 * value for name, value in mapped.items()})\n",
        ),
    ),
    wrong(
        "load_pretrained",
        "nothing",
        caught_by="every_tensor_arrives",
        because="checks everything and copies nothing",
        edit=("    model.load_state_dict(mapped)\n", "    return None\n"),
    ),
    right(
        "load_pretrained",
        "by_sets",
        because="compares sets of names, copies under no_grad",
        body="""
def load_pretrained(model, weights):
    places = dict(model.named_parameters())
    pairs = [(map_parameter_name(name), name) for name in weights]
    pairs = [(ours, name) for ours, name in pairs if ours is not None]
    taken = [ours for ours, _ in pairs]
    complaints = [name for ours, name in pairs if ours not in places or taken.count(ours) > 1]
    complaints += [ours for ours in places if ours not in taken]
    complaints += [name for ours, name in pairs if ours in places and weights[name].shape != places[ours].shape]
    if complaints:
        raise ValueError("these do not fit: " + ", ".join(complaints))
    with torch.no_grad():
        for ours, name in pairs:
            places[ours].copy_(weights[name])
""",
    ),
    right(
        "load_pretrained",
        "strict_and_translated",
        because="a dry run on shapes, then load_state_dict with its own complaints translated",
        body="""
def load_pretrained(model, weights):
    mapped = {}
    for name, value in weights.items():
        ours = map_parameter_name(name)
        if ours in mapped:
            raise ValueError(f"{name}: its place {ours} is taken")
        if ours is not None:
            mapped[ours] = value
    wanted = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    given = {name: tuple(value.shape) for name, value in mapped.items()}
    if wanted != given:
        names = {name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name)}
        raise ValueError(f"missing, surplus or misshapen: {sorted(names)}")
    model.load_state_dict(mapped, strict=True)
""",
    ),
]

STATES = """
def hidden_states(model, tokens, mask):
    may_look = mask[:, None, None, :]
    x = model.embeddings(tokens)
    states = [x]
    for i, layer in enumerate(model.encoder.layers):
        BODY
    return states
"""


def loop(body: str) -> str:
    """The loop over the layers with this body."""
    return STATES.replace("BODY", body)


HIDDEN = [
    wrong(
        "hidden_states",
        "without_the_embeddings",
        caught_by="one_state_more_than_layers",
        because="begins with the first layer",
        edit=("    return states\n", "    return states[1:]\n"),
    ),
    wrong(
        "hidden_states",
        "embeddings_not_normed",
        caught_by="one_state_more_than_layers",
        because="looks words up and stops there",
        edit=("[model.embeddings(tokens)]", "[model.embeddings.word(tokens)]"),
    ),
    wrong(
        "hidden_states",
        "every_layer_reads_the_embeddings",
        caught_by="one_state_more_than_layers",
        because="sends each layer the same input",
        edit=("layer(states[-1], may_look)", "layer(states[0], may_look)"),
    ),
    wrong(
        "hidden_states",
        "last_first",
        caught_by="one_state_more_than_layers",
        because="gives the states from the top down",
        edit=("    return states\n", "    return states[::-1]\n"),
    ),
    wrong(
        "hidden_states",
        "one_tensor",
        caught_by="one_state_more_than_layers",
        because="stacks the states",
        edit=("    return states\n", "    return torch.stack(states)\n"),
    ),
    wrong(
        "hidden_states",
        "last_state_twice",
        caught_by="one_state_more_than_layers",
        because="puts the model's result behind the states",
        edit=("    return states\n", "    return [*states, model(tokens, mask)]\n"),
    ),
    wrong(
        "hidden_states",
        "no_mask",
        caught_by="nobody_looks_at_padding",
        because="forgets the padding",
        edit=("layer(states[-1], may_look)", "layer(states[-1], None)"),
    ),
    wrong(
        "hidden_states",
        "mask_in_the_first_layer",
        caught_by="nobody_looks_at_padding",
        because="hands the mask to one layer only",
        body=loop("x = layer(x, None if i else may_look)\n        states.append(x)"),
    ),
    wrong(
        "hidden_states",
        "mask_turned",
        caught_by="nobody_looks_at_padding",
        because="takes True for padding",
        edit=("mask[:, None, None, :]", "~mask[:, None, None, :]"),
    ),
    wrong(
        "hidden_states",
        "mask_over_queries",
        caught_by="nobody_looks_at_padding",
        because="hides queries instead of keys",
        edit=("mask[:, None, None, :]", "mask[:, None, :, None]"),
    ),
    wrong(
        "hidden_states",
        "multiplied_instead_of_masked",
        caught_by="nobody_looks_at_padding",
        because="sets the padded vectors to zero and lets everybody look at them",
        body=loop("x = layer(x * mask[..., None], None)\n        states.append(x)"),
    ),
    wrong(
        "hidden_states",
        "lengths_from_the_left",
        caught_by="padding_may_stand_anywhere",
        because="counts the real tokens and supposes that they come first",
        edit=(
            "mask[:, None, None, :]",
            "(torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True))[:, None, None, :]",
        ),
    ),
    wrong(
        "hidden_states",
        "mask_of_the_first_text",
        caught_by="padding_may_stand_anywhere",
        because="uses one mask for all texts",
        edit=("mask[:, None, None, :]", "mask[:1, None, None, :]"),
    ),
    wrong(
        "hidden_states",
        "first_text_only",
        caught_by="texts_do_not_mix",
        because="squeezes a batch of one away",
        edit=("    return states\n", "    return [state.squeeze(0) for state in states]\n"),
    ),
    wrong(
        "hidden_states",
        "no_gradient",
        caught_by="gradients_flow_through_the_states",
        because="runs under no_grad",
        body="""
@torch.no_grad()
def hidden_states(model, tokens, mask):
    states = [model.embeddings(tokens)]
    for layer in model.encoder.layers:
        states.append(layer(states[-1], mask[:, None, None, :]))
    return states
""",
    ),
    wrong(
        "hidden_states",
        "detached",
        caught_by="gradients_flow_through_the_states",
        because="cuts each state from the ones before",
        edit=("layer(states[-1], may_look)", "layer(states[-1].detach(), may_look)"),
    ),
    wrong(
        "hidden_states",
        "eval_for_good",
        caught_by="model_and_inputs_are_left_alone",
        because="puts the model into eval mode and leaves it there",
        edit=("    may_look = ", "    model.eval()\n    may_look = "),
    ),
    wrong(
        "hidden_states",
        "zeros",
        caught_by="one_state_more_than_layers",
        because="the right shapes and nothing in them",
        edit=("    return states\n", "    return [torch.zeros_like(state) for state in states]\n"),
    ),
    right(
        "hidden_states",
        "by_hooks",
        because="runs the model and listens at its layers",
        body="""
def hidden_states(model, tokens, mask):
    states = []
    listen = lambda module, args, result: states.append(result)
    hooks = [part.register_forward_hook(listen) for part in [model.embeddings, *model.encoder.layers]]
    try:
        model(tokens, mask)
    finally:
        for hook in hooks:
            hook.remove()
    return states
""",
    ),
    right(
        "hidden_states",
        "full_mask",
        because="a mask for every query, which also keeps padding from asking",
        body="""
def hidden_states(model, tokens, mask):
    keys = mask[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
    x = model.embeddings(tokens)
    states = [x]
    for layer in model.encoder.layers:
        x = layer(x, keys & mask[:, None, :, None])
        states.append(x)
    return states
""",
    ),
]

POOL = [
    wrong(
        "mean_pool",
        "sum",
        caught_by="mean_over_the_length",
        because="adds and does not divide",
        edit=("total / mask.sum(dim=1, keepdim=True).clamp(min=1)", "total"),
    ),
    wrong(
        "mean_pool",
        "first_token",
        caught_by="mean_over_the_length",
        because="takes the vector of [CLS]",
        body="""
def mean_pool(hidden, mask):
    return hidden[:, 0] * mask[:, :1]
""",
    ),
    wrong(
        "mean_pool",
        "maximum",
        caught_by="mean_over_the_length",
        because="takes the largest number of each feature",
        body="""
def mean_pool(hidden, mask):
    top = hidden.masked_fill(~mask[..., None], -1e9).amax(dim=1)
    return top * mask.any(dim=1, keepdim=True)
""",
    ),
    wrong(
        "mean_pool",
        "normalised",
        caught_by="mean_over_the_length",
        because="gives vectors of length 1",
        edit=(
            "    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)",
            "    mean = total / mask.sum(dim=1, keepdim=True).clamp(min=1)\n    return mean / mean.norm(dim=-1, keepdim=True).clamp(min=1e-12)",
        ),
    ),
    wrong(
        "mean_pool",
        "padding_counted",
        caught_by="padding_does_not_count",
        because="takes the mean over the length of the batch",
        body="""
def mean_pool(hidden, mask):
    return hidden.mean(dim=1)
""",
    ),
    wrong(
        "mean_pool",
        "divided_by_the_length",
        caught_by="padding_does_not_count",
        because="leaves padding out of the sum and not out of the count",
        edit=("mask.sum(dim=1, keepdim=True).clamp(min=1)", "mask.shape[1]"),
    ),
    wrong(
        "mean_pool",
        "padding_summed",
        caught_by="padding_does_not_count",
        because="leaves padding out of the count and not out of the sum",
        edit=("torch.where(mask[..., None], hidden, 0.0).sum(dim=1)", "hidden.sum(dim=1)"),
    ),
    wrong(
        "mean_pool",
        "count_of_the_batch",
        caught_by="padding_does_not_count",
        because="divides by the mean number of tokens",
        edit=(
            "mask.sum(dim=1, keepdim=True).clamp(min=1)",
            "mask.sum(dim=1).to(hidden.dtype).mean().clamp(min=1)",
        ),
    ),
    wrong(
        "mean_pool",
        "nothing_by_nothing",
        caught_by="nothing_gives_zeros",
        because="divides by 0 where there is no token",
        edit=(".clamp(min=1)", ""),
    ),
    wrong(
        "mean_pool",
        "lengths_from_the_left",
        caught_by="real_tokens_may_stand_anywhere",
        because="supposes that the real tokens come first",
        edit=(
            "    total = ",
            "    mask = torch.arange(mask.shape[1]) < mask.sum(dim=1, keepdim=True)\n    total = ",
        ),
    ),
    wrong(
        "mean_pool",
        "zeroes_in_place",
        caught_by="inputs_are_left_alone_and_gradients_are_shares",
        because="writes zeros into the states it was given",
        body="""
def mean_pool(hidden, mask):
    if not hidden.requires_grad:
        hidden[~mask] = 0.0
    total = hidden.masked_fill(~mask[..., None], 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)
""",
    ),
    wrong(
        "mean_pool",
        "no_gradient",
        caught_by="inputs_are_left_alone_and_gradients_are_shares",
        because="cuts the vector from the states",
        edit=("    return total", "    total = total.detach()\n    return total"),
    ),
    wrong(
        "mean_pool",
        "always_float32",
        caught_by="dtype_is_that_of_the_states",
        because="loses the digits of float64",
        edit=("    return total", "    total = total.float()\n    return total"),
    ),
    wrong(
        "mean_pool",
        "always_float64",
        caught_by="dtype_is_that_of_the_states",
        because="multiplies by a mask of doubles",
        edit=("    return total", "    total = total.double()\n    return total"),
    ),
    wrong(
        "mean_pool",
        "zeros",
        caught_by="mean_over_the_length",
        because="the right shape and nothing in it",
        body="""
def mean_pool(hidden, mask):
    return 0 * hidden.sum(dim=1)
""",
    ),
    right(
        "mean_pool",
        "weights",
        because="a row of weights times the states",
        body="""
def mean_pool(hidden, mask):
    weights = mask.to(hidden.dtype)
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.einsum("bl,blw->bw", weights, hidden)
""",
    ),
    right(
        "mean_pool",
        "text_by_text",
        because="picks the real tokens of each text",
        body="""
def mean_pool(hidden, mask):
    rows = [states[seen].sum(dim=0) / max(1, int(seen.sum())) for states, seen in zip(hidden, mask)]
    return torch.stack(rows)
""",
    ),
]

VARIANTS = WORDS + PIECES + NAMES + LOADS + HIDDEN + POOL
