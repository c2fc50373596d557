"""Tiny models with real shapes, built on the spot from our own text: for tests and for the scale ``ci``.

They answer nonsense, but every path that a real model takes is taken: tokenizer, chat marks, safetensors, pooling.
"""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.errors import DataError
from searchtune.files import read_json, read_text, write_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BERT_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
T5_MARKS = ("<pad>", "</s>", "<unk>")
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def read_texts(paths: list[Path]) -> list[str]:
    """Return the texts of files and folders, in sorted order: the strings of JSON values, the lines of other files."""
    files = sorted(
        {
            f
            for path in paths
            for f in ([path] if path.is_file() else path.rglob("*"))
            if f.is_file() and ".prov.json" not in f.name
        }
    )
    texts = [text for file in files for text in _texts_of(file)]
    if not texts:
        raise DataError(f"no text in {', '.join(map(str, paths)) or 'the inputs'}; a tokenizer is trained on some")
    return texts


def _texts_of(file: Path) -> list[str]:
    try:
        lines = read_text(file).splitlines()
    except DataError:
        return []  # pictures and archives hold no text for a tokenizer
    suffixes = file.suffixes[-2:]
    if ".json" in suffixes:
        return _strings(json.loads("\n".join(lines)))
    if ".jsonl" in suffixes:
        return [text for line in lines if line.strip() for text in _strings(json.loads(line))]
    return [line for line in lines if line.strip()]


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.strip() else []
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in values for text in _strings(item)]


def byte_tokenizer(texts: list[str], vocabulary: int, marks: tuple[str, ...]) -> "Tokenizer":
    """Return a byte-level BPE of ``vocabulary`` tokens trained on ``texts``; its first ids are the ``marks``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=list(marks), initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer


def build_lm(
    texts: list[str],
    target: Path,
    seed: int = 0,
    *,
    vocabulary: int = 1024,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 2,
    max_length: int = 2048,
) -> None:
    """Write a Llama of ``layers`` layers with a byte-level BPE and ChatML marks; the same input gives the same bytes.

    Its shape follows SmolLM2: tied embeddings, grouped key-value heads, <|im_end|> as end and padding token. A head
    is 32 wide, the least that vLLM's CPU attention takes.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(texts, vocabulary, CHATML),
        bos_token=CHATML[1],
        eos_token=CHATML[2],
        pad_token=CHATML[2],
        unk_token=CHATML[0],
        model_max_length=max_length,
    )
    fast.chat_template = CHAT_TEMPLATE
    torch.manual_seed(seed)
    marks: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    # the rows are padded to a multiple of 64, as published models do; those ids are never produced by the tokenizer
    config = LlamaConfig(
        vocab_size=-(-len(fast) // 64) * 64,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        initializer_range=0.1,
        **marks,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(**marks)
    model.save_pretrained(target, safe_serialization=True)
    fast.save_pretrained(target)


def build_seq2seq(
    texts: list[str],
    target: Path,
    seed: int = 0,
    *,
    vocabulary: int = 1024,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 2,
    max_length: int = 512,
) -> None:
    """Write a T5 of ``layers`` layers on either side with a byte-level BPE; the same input gives the same bytes.

    Its shape follows Flan-T5: gated feed-forward layers, an output layer apart from the embedding, answers that start
    with the padding token, texts that end with </s>. The tokenizer differs: Flan-T5's makes line breaks blanks.
    """
    import torch
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    tokenizer = byte_tokenizer(texts, vocabulary, T5_MARKS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=T5_MARKS[0],
        eos_token=T5_MARKS[1],
        unk_token=T5_MARKS[2],
        model_max_length=max_length,
    )
    torch.manual_seed(seed)
    marks: dict[str, Any] = {
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "tie_word_embeddings": False,
    }
    config = T5Config(
        vocab_size=-(-len(fast) // 64) * 64,
        d_model=hidden,
        d_kv=hidden // heads,
        d_ff=2 * hidden,
        num_layers=layers,
        num_heads=heads,
        feed_forward_proj="gated-gelu",
        **marks,
    )
    model = T5ForConditionalGeneration(config)
    # the library ties what the configuration keeps apart until weights that differ are there
    model.lm_head.weight = torch.nn.Parameter(torch.randn(config.vocab_size, hidden) * 0.2)
    model.save_pretrained(target, safe_serialization=True)
    # it also writes down that they were tied; the published folders say that they are not, and no more
    settings = read_json(target / "config.json") | {"tie_word_embeddings": False}
    del settings["scale_decoder_outputs"]
    write_json(target / "config.json", settings)
    fast.save_pretrained(target)


def build_encoder(
    texts: list[str],
    target: Path,
    seed: int = 0,
    *,
    vocabulary: int = 1024,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    max_length: int = 256,
) -> None:
    """Write a BERT of ``layers`` layers with a WordPiece tokenizer as a sentence-transformers folder (mean pooling)."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    # the tokenizer adds the [CLS] and [SEP] of single texts and pairs
    pieces = {piece: i for i, piece in enumerate(word_pieces(texts, vocabulary))}
    fast = BertTokenizer(vocab=pieces, do_lower_case=True, model_max_length=512)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        initializer_range=0.1,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=512,
        pad_token_id=fast.pad_token_id,
    )
    BertModel(config).save_pretrained(target, safe_serialization=True)
    fast.save_pretrained(target)
    _write_sentence_modules(target, hidden, max_length)


def word_pieces(texts: list[str], size: int) -> list[str]:
    """Return a WordPiece vocabulary: marks, characters alone and inside words, then the most frequent words.

    The library's trainer orders its alphabet by chance, so two runs would differ; this one has a fixed order.
    """
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters = sorted({letter for word in counts for letter in word})
    pieces = [*BERT_MARKS, *letters, *(f"##{letter}" for letter in letters)]
    words = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    return pieces + words[: max(0, size - len(pieces))]


def _write_sentence_modules(target: Path, hidden: int, max_length: int) -> None:
    """Write the files that make a BERT folder a sentence encoder: mean pooling, then unit length."""
    names = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    write_json(
        target / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(names)
        ],
    )
    write_json(target / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    (target / "2_Normalize").mkdir()
    write_json(
        target / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
