"""Prompt forms, templates and length budgets."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from searchtune.errors import ConfigError, DataError, ModelError
from searchtune.prompts.budget import count_tokens, first_words, fit_pieces, fit_tokens, load_tokenizer
from searchtune.prompts.chat import unwrap, wrap
from searchtune.prompts.templates import Template, TemplateSet, lint_templates, load_templates, placeholders, render

SOUND = """
about: a test file
sets:
  ask:
    description: Write one question.
    fields: [passage, query]
    required: [passage]
    templates:
      - {id: short, prompt: "Question for: {passage}", completion: "{query}"}
      - {id: json, prompt: 'Return {"q": "..."} for {passage}', completion: "{query}"}
constants:
  examples: [a, b]
"""


def write(tmp_path, text):
    path = tmp_path / "templates.yaml"
    path.write_text(text)
    return path


def test_chatml_wrap_is_golden():
    assert wrap("Hello {x}", "chatml") == "<|im_start|>user\nHello {x}<|im_end|>\n<|im_start|>assistant\n"


def test_plain_wrap_is_the_prompt_and_unwrap_inverts_both():
    assert wrap("a b", "plain") == "a b"
    assert unwrap(wrap("a b", "chatml")) == "a b"
    assert unwrap("a b") == "a b"


def test_unknown_form_names_the_nearest():
    with pytest.raises(ConfigError, match=r"prompt form 'chatlm' is unknown; did you mean 'chatml'\?"):
        wrap("x", "chatlm")


def test_render_is_one_plain_substitution():
    text = render('{a} and {b}, not {A} nor {"k": 1}', {"a": "{b}", "b": "}{"})
    assert text == '{b} and }{, not {A} nor {"k": 1}'


def test_render_names_template_and_missing_field():
    with pytest.raises(DataError, match=r"ask/short: placeholder \{passage\} has no value; did you mean 'passages'\?"):
        render("Read {passage}", {"passages": "x"}, "ask/short")


def test_render_refuses_values_that_are_not_text():
    with pytest.raises(DataError, match="field 'n' is int, expected text"):
        render("{n}", {"n": 3})


def test_placeholders_once_in_order():
    assert placeholders("{b} {a} {b} {} {B} {a b}") == ["b", "a"]


def test_load_templates(tmp_path):
    file = load_templates(write(tmp_path, SOUND))
    assert list(file) == ["ask"]
    assert file["ask"]["json"].prompt == 'Return {"q": "..."} for {passage}'
    assert file.constants == {"examples": ["a", "b"]}
    with pytest.raises(DataError, match=r"no template set 'asks'; did you mean 'ask'\?"):
        file["asks"]
    with pytest.raises(DataError, match=r"'ask' has no template 'shrt'; did you mean 'short'\?"):
        file["ask"]["shrt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('{passage}", compl', '{pasage}", compl'), r"ask/short: unknown placeholder \{pasage\}; did you mean 'pa"),
        (("id: json", "id: short"), "ask: id 'short' appears 2 times"),
        (("Question for: {passage}", "Question?"), r"ask/short: the prompt lacks the required placeholder \{passage\}"),
        (("[passage, query]", "[passage, query, title]"), "ask: field 'title' is declared but never used"),
        (("templates:\n", "template:\n"), "ask: unknown key 'template'; did you mean 'templates'"),
        (("id: json, prompt:", "id: json, promt:"), "unknown key 'promt'; did you mean 'prompt'"),
        (("sets:", "set:"), "unknown key 'set'; did you mean 'sets'"),
        (("about: a test file", "about: [a"), "is not valid YAML"),
    ],
)
def test_faulty_template_files_are_refused(tmp_path, change, message):
    assert change[0] in SOUND
    with pytest.raises(DataError, match=message):
        load_templates(write(tmp_path, SOUND.replace(*change, 1)))


def test_lint_counts_templates_and_finds_repeated_prompts():
    one = TemplateSet("s", ("x",), (Template("a", "Say {x}"), Template("b", "say  {x}")))
    assert lint_templates({"s": one}, minimum=4) == [
        "s: 2 templates, at least 4 expected",
        "s: prompt 'say {x}' appears 2 times",
    ]


def test_first_words_keeps_inner_spacing():
    assert first_words("  one  two\nthree four", 3) == "  one  two\nthree"
    assert first_words("one two", 5) == "one two"
    assert first_words("one two", 0) == ""
    with pytest.raises(ConfigError, match="-1 words"):
        first_words("one", -1)


@pytest.fixture
def words(tmp_path):
    """A tokenizer with one token a word, saved with a truncation that must not survive loading."""
    vocab = {word: i for i, word in enumerate(["[UNK]", "a", "b", "c", "d", "."])}
    tokenizer = Tokenizer(models.WordLevel(vocab, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return load_tokenizer(tmp_path)


def test_token_budgets(words):
    assert count_tokens(words, "a b c d.") == 5
    assert fit_tokens(words, "a  b c d.", 3) == "a  b c"
    assert fit_tokens(words, "a b", 3) == "a b"
    assert fit_tokens(words, "a b", 0) == ""
    assert fit_pieces(words, ["a b", "c", "d d d", "a"], 4) == ["a b", "c"]


def test_a_folder_without_tokenizer_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"holds no tokenizer\.json"):
        load_tokenizer(tmp_path)
