"""The two forms in which a prompt reaches a language model: plain text, or one ChatML user turn."""

from searchtune.errors import ConfigError, nearest

# what a completion ends with in training text; "plain" ends with the model's own end-of-sequence token
END = {"chatml": "<|im_end|>", "plain": ""}
CHATML_START = "<|im_start|>user\n"
CHATML_CUE = "<|im_end|>\n<|im_start|>assistant\n"


def check_form(form: str) -> str:
    """Return ``form`` if it is known; otherwise raise ConfigError with the nearest name."""
    if form not in END:
        raise ConfigError(f"prompt form {form!r} is unknown{nearest(form, END)}")
    return form


def wrap(prompt: str, form: str) -> str:
    """Return the text that the model reads for ``prompt``.

    ``chatml`` is one user turn and the opening of the assistant's turn, with no system turn, as
    SmolLM2-Instruct and the Qwen models were trained; ``plain`` is the prompt itself. Raises
    ConfigError for an unknown form.
    """
    return f"{CHATML_START}{prompt}{CHATML_CUE}" if check_form(form) == "chatml" else prompt


def unwrap(text: str) -> str:
    """Return the prompt inside :func:`wrap`'s ChatML turn; any other text is returned as it is."""
    if text.startswith(CHATML_START) and text.endswith(CHATML_CUE):
        return text[len(CHATML_START) : -len(CHATML_CUE)]
    return text
