"""Writes test/fixtures/tokenizers: what the Python library `tokenizers` makes of odd strings, for tokenizer.jsons of many kinds.

Usage: record_tokenizers.py GPT2 QWEN3, the published tokenizer.jsons of both (MIT and Apache 2.0). Of these only what the strings
can meet is kept, with the same ids; the others are trained here, with the rules of Llama 2 and 3, Gemma 3 and others.
strings.json holds the strings; NAME.json a tokenizer, the ids of each string (null where Python fails) and the text of those ids
(null where it is the string).
"""

import json
import random
import re
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).parent
OUT = HERE.parent / "fixtures" / "tokenizers"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ATOMS = [
    *[" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\x85", "\ufeff", "\xa0", "\u2003", "\u3000", "\u2028", "\u200b"],
    *["\u200d", "\u180e", "\v", "\f", "\0", "\x1f", "\x7f", " \n ", " \t", "\n ", "  a", "a  ", "a", "the", " the"],
    *["The quick", "naïve", " café", "E\u0301", "É", "ﬁ", "ſ", "'ſ", "'s", "'S", "'LL", "’s", "don't", "I'M", "ΟΔΟΣ", "Σ"],
    *["İ", "ß", "Ǆ", "1", "12", "123", "12345", "3.14", "½", "²", "Ⅻ", "٣٤", "１２", "〇", "한국어", "日本語", "𠀀", "𠮷野"],
    *["ไทย", "हिन्दी", "עברית", "العربية", "\u0652", "é\u0302", "x\u0327", "😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "\ufffd", "_", "__init__"],
    *["snake_case", "camelCase", "\\n", "{}", "()", "[];", "->", "==", "!!!", "...", "…", "—", "--", "<", "|", "<|", "|>"],
    *["<pad>", "</s>", "<s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<m>", "<mask>", "<sp>", "<0x0A>", "▁", "▁▁", "Ġ"],
    *["##ing", "$", "$&", "$1", "^", "`", "~", "+", "€", "©", "𝟙", "\U000e0041", "\u0378", "\ue000", "quick", "snake"],
]


def odd_strings(count=330):
    rng = random.Random(17)
    strings = ["", "Hello world", "The quick brown fox jumps over the lazy dog.", *ATOMS]
    while len(strings) < count:
        strings.append("".join(rng.choices(ATOMS, k=rng.randint(2, 10))))
    # Long ones without a space, as those are cut before they are encoded.
    letters = [atom for atom in ATOMS if not atom.isspace()]
    return strings + ["".join(rng.choices(letters, k=60)) for _ in range(3)]


def excerpt(path, strings):
    full = json.loads(Path(path).read_text())
    tokenizer = Tokenizer.from_file(path)
    normalize = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    seen = " ".join(word for s in strings for word, _ in words(use_regex=False).pre_tokenize_str(normalize(s)))
    model = full["model"]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    model["merges"] = [" ".join(pair) for pair in pairs if "".join(pair) in seen]
    kept = {part for merge in model["merges"] for part in [*merge.split(" "), merge.replace(" ", "")]}
    # Python numbers anew what is not in the vocabulary.
    added = {token["content"]: token["id"] for token in full["added_tokens"]}
    model["vocab"] = {t: i for t, i in {**model["vocab"], **added}.items() if t in kept or t in added or len(t) == 1}
    return full


BYTE_LEVEL = {"decoder": decoders.ByteLevel(), "alphabet": pre_tokenizers.ByteLevel.alphabet()}
BYTES = [f"<0x{i:02X}>" for i in range(256)]
MARKS = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def byte_level(pre_tokenizer, normalizer=None):
    return {"model": models.BPE(), "pre_tokenizer": pre_tokenizer, "normalizer": normalizer, **BYTE_LEVEL}


def words(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})


def cut(pattern, behavior, invert=False):
    split = pre_tokenizers.Split(Regex(pattern), behavior, invert)
    return byte_level(pre_tokenizers.Sequence([split, words(use_regex=False)]))


def pieces(pre_tokenizer, normalizer=None, decoder=None, fallback=True, fuse=True):
    return {
        "model": models.BPE(unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback),
        "pre_tokenizer": pre_tokenizer,
        "normalizer": normalizer and normalizers.Sequence(normalizer),
        "decoder": decoder or decoders.Sequence([*MARKS, decoders.Strip(" ", 1, 0)]),
        "special": ["<unk>", "<s>", "</s>"] + (BYTES if fallback else []),
    }


def bert(**options):
    return {
        "model": models.WordPiece(unk_token="[UNK]"),
        "pre_tokenizer": pre_tokenizers.BertPreTokenizer(),
        "normalizer": normalizers.BertNormalizer(**options),
        "decoder": decoders.WordPiece(),
        "special": ["[UNK]"],
    }


SPACES = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
P = pre_tokenizers
KINDS = {
    "llama3": cut(LLAMA3, "isolated"),
    "llama2": pieces(None, SPACES),
    "gemma3": pieces(P.Split(" ", "merged_with_previous"), SPACES[1:], decoders.Sequence(MARKS)),
    "unknown-fused": pieces(None, SPACES, fallback=False),
    "unknown-apart": pieces(None, SPACES, fallback=False, fuse=False),
    "prefix-space": byte_level(words(add_prefix_space=True)),
    "removed-invert": cut(LLAMA3, "removed", True),
    "removed": cut(r"(\s)", "removed"),
    "contiguous": cut(r"\s", "contiguous"),
    "with-previous": cut(r"\s", "merged_with_previous"),
    "with-next": cut(r"\d", "merged_with_next"),
    "with-previous-invert": cut(r"\w", "merged_with_previous", True),
    "posix": cut(r"[[:alpha:]]+|\h{2}|[\w&&[^a-f]]+|\b", "isolated"),
    "digits": byte_level(P.Sequence([P.Digits(True), words()])),
    "punctuation": byte_level(P.Sequence([P.Punctuation("contiguous"), P.Digits(False), words(use_regex=False)])),
    "fixed-length": byte_level(P.Sequence([P.FixedLength(5), words(use_regex=False)])),
    "whitespace": pieces(P.Whitespace()),
    "metaspace": pieces(P.Metaspace()),
    "metaspace-first": pieces(P.Sequence([P.WhitespaceSplit(), P.Metaspace(prepend_scheme="first")])),
    "metaspace-never": pieces(
        P.Metaspace(prepend_scheme="never"), decoder=decoders.Metaspace(prepend_scheme="never")
    ),
    "lowercase": pieces(None, [normalizers.Strip(), normalizers.Lowercase(), *SPACES]),
    "accents": pieces(None, [normalizers.Strip(True, False), normalizers.NFKD(), normalizers.StripAccents()]),
    "replace": pieces(None, [normalizers.Strip(False, True), normalizers.Replace(Regex(r"\s"), "$&"), normalizers.NFC()]),
    "bert": bert(),
    "bert-cased": bert(lowercase=False, clean_text=False),
}
ADDED = [
    *["<pad>", "snake", AddedToken("the", single_word=True, normalized=False), AddedToken("<mask>", lstrip=True)],
    *[AddedToken("<m>", rstrip=True, special=True), AddedToken("<sp>", lstrip=True, rstrip=True, special=True)],
    AddedToken("quick", single_word=True, lstrip=True, normalized=False),
]


def trained(kind, strings, added):
    tokenizer = Tokenizer(kind["model"])
    for part in ["pre_tokenizer", "normalizer", "decoder"]:
        if kind[part]:
            setattr(tokenizer, part, kind[part])
    special = kind.get("special", ["<|endoftext|>"])
    alphabet = kind.get("alphabet", [])
    options = {"special_tokens": special, "initial_alphabet": alphabet, "limit_alphabet": max(60, len(alphabet))}
    word_piece = isinstance(kind["model"], models.WordPiece)
    trainer = (trainers.WordPieceTrainer if word_piece else trainers.BpeTrainer)(
        vocab_size=len(special) + max(60, len(alphabet)) + 150, show_progress=False, **options
    )
    tokenizer.train_from_iterator([*strings, *(HERE.parents[1] / "LICENSE").read_text().split("\n")], trainer)
    tokenizer.add_tokens(added)
    json_of = json.loads(tokenizer.to_str())
    # The bytes were special only to be in the vocabulary.
    json_of["added_tokens"] = [token for token in json_of["added_tokens"] if not re.match("<0x", token["content"])]
    return json_of


def encoded(tokenizer, string):
    try:
        return tokenizer.encode(string, add_special_tokens=False).ids
    except BaseException:  # A panic of the Python library: an added token that takes the white space another has taken.
        return None


def record(name, json_of, strings, full=None):
    tokenizer = Tokenizer.from_str(json.dumps(json_of))
    ids = [encoded(tokenizer, s) for s in strings]
    if full is not None:
        assert ids == [encoded(full, s) for s in strings], name
    texts = [None if i is None or tokenizer.decode(i) == s else tokenizer.decode(i) for s, i in zip(strings, ids)]
    case = {"tokenizer": json_of, "ids": ids, "texts": texts}
    (OUT / f"{name}.json").write_text(json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    strings = odd_strings()
    (OUT / "strings.json").write_text(json.dumps(strings, separators=(",", ":")) + "\n")
    for name, path in zip(["gpt2", "qwen3"], sys.argv[1:]):
        record(name, excerpt(path, strings), strings, Tokenizer.from_file(path))
    for name, kind in KINDS.items():
        record(name, trained(kind, strings, []), strings)
    for name in ["prefix-space", "llama2", "gemma3", "bert-cased"]:
        record(f"{name}-added", trained(KINDS[name], strings, ADDED), strings)


main()
